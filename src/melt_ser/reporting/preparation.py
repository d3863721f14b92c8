"""Summarise a corpus in a preparation report; show it on the terminal, as a page, as JSON, and its tables as CSV."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table

from melt_ser.config import LabelsConfig
from melt_ser.core import files
from melt_ser.core.console import show
from melt_ser.core.errors import one_line
from melt_ser.core.package import cache_folder
from melt_ser.corpora.corpus import Corpus
from melt_ser.corpora.fold_split import group_warnings
from melt_ser.corpora.labels import LabelSpace
from melt_ser.corpora.load import report_folder
from melt_ser.corpora.table import SPLITS
from melt_ser.corpora.verification import is_clipped
from melt_ser.reporting.pages import render
from melt_ser.reporting.speakers import as_frame, cells_of, columns_of, speakers_of, terminal_table

SCHEMA_VERSION = 1
BIN_WIDTHS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)  # seconds, for the histogram
MOST_BINS = 24
LISTED = 20  # the most skipped rows and speakers that the terminal shows; the page folds longer tables of speakers
LISTED_ON_PAGE = 200  # the most rows of a table on the page, which also names the CSV with all rows

Summary = dict[str, Any]


def summarise(corpus: Corpus, labels: LabelsConfig) -> Summary:
    """Return the preparation report of a corpus under a label space, in plain JSON values.

    `found` counts the rows of the release, `used` the rows that no rule refuses; `expected` is the number that the
    source of the corpus states (None: unknown). `problems` lists the clips that are refused or cannot be read, with
    their reasons; `not_used` counts utterances without a class, by reason.
    """
    native = labels.classes is None
    space = LabelSpace.native(corpus.emotions) if native else LabelSpace(labels.name, labels.classes or {})
    usable, left_out = corpus.usable(space)
    clips, config = corpus.clips, corpus.config
    summary: Summary = {
        "schema_version": SCHEMA_VERSION,
        "corpus": corpus.name,
        "root": str(corpus.root.resolve()),
        "language": config.language,
        "licence": config.licence,
        "access": config.access,
        "facts": config.facts,
        "digest": corpus.digest,
        "rules": corpus.rules,
        "found": len(clips),
        "used": len(corpus.table),
        "hours": round(float(corpus.table["duration"].sum()) / 3600, 4),
        "speakers": {"expected": config.speakers, "found": int(_known(clips["speaker"]).nunique())},
        "sampling_rates": {
            "expected": config.sampling_rate,
            "found": {str(rate): int(count) for rate, count in _rates(clips).items()},
        },
        "splits": _splits(corpus),
        "labels": _labels(corpus),
        "classes": _classes(usable, space),
        "by_speaker": speakers_of(corpus.table, usable, list(space.classes)),
        "not_used": dict(left_out),
        "durations": _durations(corpus.table["duration"].to_numpy()),
        "refused": clips["reason"].dropna().str.split(":").str[0].value_counts().to_dict(),  # by rule
        "not_read": len(corpus.dropped) - int(clips["reason"].notna().sum()),  # missing, extra or with an unknown name
        "problems": corpus.dropped.to_dict("records"),
        "clipped": [
            {"utterance": utterance, "audio": audio, "percent": round(100 * share, 2)}
            for utterance, audio, share in clips.loc[
                is_clipped(clips) & clips["reason"].isna(), ["utterance", "audio", "clipped"]
            ].itertuples(index=False)
        ],
        "duplicates": [
            group[["utterance", "audio", "split", "speaker", "label"]].to_dict("records")
            for _, group in corpus.duplicates.groupby("content_hash", sort=False)
        ],
        "notes": [*corpus.notes, *group_warnings(usable, config)],
    }
    return {**summary, "differences": _differences(summary)}


def _known(values: pd.Series) -> pd.Series:
    return values[values != ""]


def _rates(clips: pd.DataFrame) -> pd.Series:
    return clips["sample_rate"][clips["sample_rate"] > 0].value_counts().sort_index()


def _splits(corpus: Corpus) -> list[dict[str, Any]]:
    """Return one row for each split, and one for the whole corpus ("all")."""
    expected = corpus.config.expected
    found, used = corpus.clips["split"], corpus.table["split"]
    names = [name for name in SPLITS if name and (name in expected or (found == name).any())]
    rows = [{"split": name, "found": int((found == name).sum()), "used": int((used == name).sum())} for name in names]
    rows.append({"split": "all", "found": len(found), "used": len(used)})
    known = {"all": sum(expected.values()), **expected} if expected else {}
    return [{**row, "expected": known.get(str(row["split"]))} for row in rows]


def _labels(corpus: Corpus) -> list[dict[str, Any]]:
    """Return one row for each raw label, the most frequent first, with its emotion."""
    found, used = (Counter(table["label"].tolist()) for table in (corpus.clips, corpus.table))
    emotions = dict(zip(corpus.table["label"], corpus.table["emotion"], strict=True))
    expected = corpus.config.expected_labels if corpus.config.label_file is None else {}
    return [
        {
            "label": label,
            "emotion": emotions.get(label),
            "expected": expected.get(label),
            "found": found[label],
            "used": used[label],
        }
        for label in sorted({**expected, **found}, key=lambda label: (-found[label], label))
    ]


def _classes(usable: pd.DataFrame, space: LabelSpace) -> dict[str, Any]:
    """Count utterances by class of the label space and split ("all" if the corpus has no split)."""
    splits = [split for split in SPLITS if (usable["split"] == split).any()]
    counts = usable.groupby(["class", "split"]).size()
    return {
        "space": space.name,
        "splits": [split or "all" for split in splits],
        "counts": {name: [int(counts.get((name, split), 0)) for split in splits] for name in space.classes},
    }


def _durations(seconds: np.ndarray) -> dict[str, Any]:
    longest = float(seconds.max())
    width = next((width for width in BIN_WIDTHS if longest <= MOST_BINS * width), longest / MOST_BINS)
    counts = np.bincount(np.minimum(seconds // width, MOST_BINS - 1).astype(int))
    return {
        "shortest": float(seconds.min()),
        "median": float(np.median(seconds)),
        "longest": longest,
        "bin_seconds": width,
        "histogram": counts.tolist(),  # utterances of 0 to 1, 1 to 2, ... times `bin_seconds`
    }


def _differences(summary: Summary) -> list[str]:
    """Return a sentence for each difference between the release and the numbers of its source."""
    pairs: Iterable[tuple[str, int | None, int]] = [
        *((f"split {row['split']}", row["expected"], row["found"]) for row in summary["splits"]),
        *((f"label '{row['label']}'", row["expected"], row["found"]) for row in summary["labels"]),
    ]
    sentences = [
        f"{name}: {found} clips found, {expected} expected"
        for name, expected, found in pairs
        if expected is not None and found != expected
    ]
    speakers, rates = summary["speakers"], summary["sampling_rates"]
    if speakers["expected"] is not None and speakers["found"] != speakers["expected"]:
        sentences.append(f"speakers: {speakers['found']} found, {speakers['expected']} expected")
    others = {rate: count for rate, count in rates["found"].items() if rate != str(rates["expected"])}
    if rates["expected"] is not None and others:
        counts = ", ".join(f"{count} at {rate} Hz" for rate, count in others.items())
        sentences.append(f"sampling rate: {counts}; {rates['expected']} Hz expected")
    return sentences


def write_report(corpus: Corpus, summary: Summary) -> Path:
    """Write report.html, report.json, table.csv, clips.csv, dropped.csv and speakers.csv; return their folder.

    Without known speakers there is no speakers.csv.
    """
    folder = report_folder(corpus.config)
    speakers = summary["by_speaker"]
    columns = columns_of(speakers) if speakers else []
    with files.replacing_folder(folder) as temporary:
        files.write_csv(temporary / "table.csv", corpus.table)
        files.write_csv(temporary / "clips.csv", corpus.clips)
        files.write_csv(temporary / "dropped.csv", corpus.dropped)
        files.write_json(temporary / "report.json", summary)
        if speakers:
            files.write_csv(temporary / "speakers.csv", as_frame(speakers))
        page = render(
            "preparation.html",
            summary=summary,
            listed=LISTED_ON_PAGE,
            folded=LISTED,
            speaker_columns=columns,
            speakers=[cells_of(one, columns) for one in speakers],
        )
        files.write_text(temporary / "report.html", page)
    return folder


def read_reports(name: str) -> list[Summary]:
    """Return the reports on corpora of this name, the newest first; ignore damaged reports and other versions."""
    reports = []
    paths = cache_folder().glob(f"corpora/{name}-*/report.json")
    for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        try:
            report = files.read_json(path)
        except (OSError, ValueError):
            continue
        if isinstance(report, dict) and (report.get("schema_version"), report.get("corpus")) == (SCHEMA_VERSION, name):
            reports.append(report)
    return reports


def print_report(summary: Summary) -> None:
    """Print the counts, the differences from the source, and everything that is not used, with its reason."""
    show(_class_table(summary))
    if summary["by_speaker"]:
        show(terminal_table(summary["corpus"], summary["by_speaker"], LISTED))
    for line in _lines(summary):
        print(one_line(line))


def print_files(folder: Path) -> None:
    """Print the paths of the report and its tables."""
    for name in ("table.csv", "clips.csv", "dropped.csv", "speakers.csv", "report.json", "report.html"):
        if (folder / name).is_file():
            print(f"{name.removesuffix('.csv')}: {folder / name}")


def _lines(summary: Summary) -> Iterator[str]:
    yield (
        f"{summary['used']} clips verified, {summary['hours']:.2f} hours, "
        f"{summary['speakers']['found']} speakers; table digest {summary['digest'][:16]}"
    )
    rates = ", ".join(f"{rate} Hz ({count})" for rate, count in summary["sampling_rates"]["found"].items())
    durations = summary["durations"]
    yield (
        f"sampling rates: {rates}; seconds: {durations['shortest']:.2f} to {durations['longest']:.2f}, "
        f"median {durations['median']:.2f}"
    )
    for split in summary["splits"]:
        if split["expected"] == split["found"]:
            yield f"{split['split']}: {split['found']} clips, as expected"
    yield from (f"differs: {sentence}" for sentence in summary["differences"])
    yield from (f"not used: {count} utterances, {reason}" for reason, count in summary["not_used"].items())
    yield from (f"note: {sentence}" for sentence in summary["notes"])
    if summary["clipped"]:
        yield f"clipped: {len(summary['clipped'])} clips with 0.1 % or more of their samples at full scale, in use"
    for group in summary["duplicates"][:LISTED]:
        yield f"identical audio: {', '.join(row['audio'] for row in group)}"
    if len(summary["duplicates"]) > LISTED:
        yield f"  … and {len(summary['duplicates']) - LISTED} more groups of identical audio"
    yield f"dropped: {len(summary['problems'])}"
    for skipped in summary["problems"][:LISTED]:
        yield f"  {skipped['audio'] or skipped['utterance']}: {skipped['reason']}"
    if len(summary["problems"]) > LISTED:
        yield f"  … and {len(summary['problems']) - LISTED} more"
    yield f"rules: version {summary['rules']['version']}, listed in the report"


def _class_table(summary: Summary) -> Table:
    classes = summary["classes"]
    table = Table(title=f"{summary['corpus']}: utterances, label space {classes['space']}", box=SIMPLE_HEAD)
    table.add_column("class")
    for split in classes["splits"]:
        table.add_column(split, justify="right")
    for name, counts in classes["counts"].items():
        table.add_row(name, *map(str, counts))
    table.add_row("total", *(str(sum(column)) for column in zip(*classes["counts"].values(), strict=True)))
    return table
