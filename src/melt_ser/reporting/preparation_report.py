"""Write the preparation report: on the terminal, as a page for people, as JSON for programs, its tables as CSV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from melt_ser.core import files
from melt_ser.core.console import show
from melt_ser.core.errors import one_line
from melt_ser.core.package import cache_folder
from melt_ser.corpora.corpus import Corpus
from melt_ser.corpora.load import report_folder
from melt_ser.reporting.pages import render
from melt_ser.reporting.preparation import SCHEMA_VERSION, Summary

LISTED = 20  # the most skipped rows that the terminal shows
LISTED_ON_PAGE = 200  # the most rows that the page shows of a table; it names the CSV with all of them


def write_report(corpus: Corpus, summary: Summary) -> Path:
    """Write report.html, report.json, table.csv, clips.csv and dropped.csv; return their folder."""
    folder = report_folder(corpus.config)
    with files.replacing_folder(folder) as temporary:
        files.write_csv(temporary / "table.csv", corpus.table)
        files.write_csv(temporary / "clips.csv", corpus.clips)
        files.write_csv(temporary / "dropped.csv", corpus.dropped)
        files.write_json(temporary / "report.json", summary)
        page = render("preparation.html", summary=summary, listed=LISTED_ON_PAGE)
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
    for line in _lines(summary):
        print(one_line(line))


def print_files(folder: Path) -> None:
    """Print the paths of the report and its tables."""
    for name in ("table.csv", "clips.csv", "dropped.csv", "report.json", "report.html"):
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
