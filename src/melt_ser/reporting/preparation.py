"""Summarise a corpus for its preparation report: one plain value that the terminal, the page and the JSON show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from melt_ser.config import LabelsConfig
from melt_ser.corpora.corpus import Corpus
from melt_ser.corpora.fold_split import group_warnings
from melt_ser.corpora.labels import LabelSpace
from melt_ser.corpora.table import SPLITS
from melt_ser.corpora.verification import is_clipped

SCHEMA_VERSION = 1
BIN_WIDTHS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)  # seconds, for the histogram
MOST_BINS = 24

Summary = dict[str, Any]


def summarise(corpus: Corpus, labels: LabelsConfig) -> Summary:
    """Return the preparation report of a corpus under a label space, in values that JSON knows.

    `found` counts the rows of the release, `used` the rows that no rule refuses; `expected` is the number that the
    source of the corpus states (None: unknown). `problems` lists everything that is not used, with its reason.
    """
    native = labels.classes is None
    space = LabelSpace.native(corpus.table["emotion"]) if native else LabelSpace(labels.name, labels.classes or {})
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
    """Return one sentence for each difference between the release and the numbers of its source."""
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
        found = ", ".join(f"{count} at {rate} Hz" for rate, count in others.items())
        sentences.append(f"sampling rate: {found}; {rates['expected']} Hz expected")
    return sentences
