"""`python -m melt_ser.agreement A.csv [B.csv]`: measure how far two label sources agree, and where they differ."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from melt_ser.cli.verb import names, run, whole_number
from melt_ser.core.console import Progress, say
from melt_ser.label_study.options import add_pair_options
from melt_ser.reporting.small_report import add_output_options, write


def main(arguments: list[str] | None = None) -> int:
    """Compare two columns of one file, or a column of each of two; return the exit code."""
    return run(lambda: _compare(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="melt-ser agreement",
        description="Compare two label sources: confusion, kappa, alpha, F1, shifts, by speaker, season and length.",
    )
    parser.add_argument("first", type=Path, metavar="A.csv", help="labels; of both sources, if it is the only file")
    parser.add_argument("second", type=Path, nargs="?", metavar="B.csv", help="labels of the second source")
    add_pair_options(parser)
    parser.add_argument("--labels", type=names, metavar="LABELS", help="the label set (default: MELD's seven emotions)")
    parser.add_argument(
        "--by", type=names, metavar="COLUMNS", help="divide the utterances by these (default: speaker,season,length)"
    )
    parser.add_argument("--seed", type=whole_number(0), default=0, help="of the bootstrap (default: 0)")
    add_output_options(parser)
    parser.add_argument("--html", type=Path, metavar="PAGE", help="write a page too")
    return parser


def _compare(options: argparse.Namespace) -> int:
    import msgspec

    from melt_ser.core import files
    from melt_ser.label_study.agreement import LABELS, agreement
    from melt_ser.label_study.agreement_report import agreement_page, sections
    from melt_ser.label_study.label_pairs import read_pairs

    pairs = read_pairs(options.first, options.second, options.first_column, options.second_column, options.keys)
    with Progress("comparing the labels"):
        result = agreement(pairs, options.labels or LABELS, options.by, seed=options.seed)
    write(options, sections(result), msgspec.to_builtins(result))
    if options.html is not None:
        files.write_text(options.html, agreement_page(result))
        say(f"page: {options.html}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
