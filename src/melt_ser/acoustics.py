"""`python -m melt_ser.acoustics LABELS.csv [TABLE.csv] --root FOLDER`: check described against measured voices."""

from __future__ import annotations

import argparse
import sys

from melt_ser.cli.verb import given_path, names, run, whole_number
from melt_ser.core.console import Progress, say
from melt_ser.reporting.small_report import add_output_options, write


def main(arguments: list[str] | None = None) -> int:
    """Check the descriptions; return 1 if some audio could not be measured (the rest is checked)."""
    parser = argparse.ArgumentParser(
        prog="melt-ser acoustics", description="Check described loudness and pitch against eGeMAPS of the audio."
    )
    parser.add_argument(
        "labels", type=given_path, help="a CSV with the columns loudness and pitch, as annotate writes it"
    )
    parser.add_argument("table", type=given_path, nargs="?", help="a corpus table with audio, if the labels lack it")
    parser.add_argument("--root", type=given_path, required=True, help="the folder of the table's audio")
    parser.add_argument("--keys", type=names, help="columns that identify an utterance, as for agreement")
    parser.add_argument(
        "--within", metavar="COLUMN", help="bin the values of each speaker (or of another column) by themselves"
    )
    parser.add_argument("--seed", type=whole_number(0), default=0, help="of the bootstrap (default: 0)")
    add_output_options(parser)
    return run(lambda: _check(parser.parse_args(arguments)))


def _check(options: argparse.Namespace) -> int:
    import msgspec

    from melt_ser.label_study.acoustics import acoustic_check, egemaps, measure_all, sections
    from melt_ser.label_study.label_pairs import joined, read_labels, require

    table = read_labels(options.labels)
    left_out: dict[str, int] = {}
    if options.table is not None:
        other = read_labels(options.table)
        table, left_out = joined(table, other, options.keys, options.labels, options.table)
    require(table, "audio", options.table or options.labels)
    within = options.within.lower() if options.within else None
    if within is not None:
        require(table, within, options.labels)  # before all audio is measured
    measured, skipped = measure_all(table, options.root, egemaps())
    for clip in skipped:
        say(f"not measured: {clip.reason}")
    with Progress("comparing with the descriptions"):
        result = acoustic_check(table, measured, left_out, options.seed, within)
    write(options, sections(result), msgspec.to_builtins(result))
    return 1 if skipped else 0


if __name__ == "__main__":
    sys.exit(main())
