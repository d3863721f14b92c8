"""`python -m melt_ser.agreement A.csv [B.csv …]`: measure how far label sources agree, and where two of them differ."""

from __future__ import annotations

import argparse
import sys

from melt_ser.cli.verb import given_path, names, run, whole_number
from melt_ser.core.console import Progress, say
from melt_ser.label_study.options import add_pair_options
from melt_ser.reporting.small_report import add_output_options, write


def main(arguments: list[str] | None = None) -> int:
    """Compare columns of one file, or a column of each of several; return the exit code."""
    return run(lambda: _compare(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="melt-ser agreement",
        description="Compare two label sources: confusion, kappa, alpha, F1, shifts, by speaker, season and length. "
        "Of more than two, or with --columns or --level: alpha over all of them, and each pair.",
    )
    parser.add_argument(
        "first", type=given_path, metavar="A.csv", help="labels; of all sources, if it is the only file"
    )
    parser.add_argument("others", type=given_path, nargs="*", metavar="B.csv", help="labels of each further source")
    add_pair_options(parser)
    parser.add_argument(
        "--columns", type=names, metavar="COLUMNS", help="any number of sources: the columns of one file, or of each"
    )
    parser.add_argument(
        "--level", choices=("nominal", "ordinal", "interval"), help="of the labels; ordinal: --labels has their order"
    )
    parser.add_argument(
        "--labels",
        type=names,
        metavar="LABELS",
        help="the label set (default: MELD's seven emotions, or all labels if most are others or of more sources)",
    )
    parser.add_argument(
        "--by", type=names, metavar="COLUMNS", help="divide the utterances by these (default: speaker,season,length)"
    )
    parser.add_argument("--seed", type=whole_number(0), default=0, help="of the bootstrap (default: 0)")
    add_output_options(parser)
    parser.add_argument("--html", type=given_path, metavar="PAGE", help="write a page too")
    return parser


def _compare(options: argparse.Namespace) -> int:
    if len(options.others) > 1 or options.columns or options.level:
        return _compare_all(options)
    return _compare_two(options)


def _compare_all(options: argparse.Namespace) -> int:
    """Compare any number of sources. Raises SetupError for an option of the comparison of two."""
    import msgspec

    from melt_ser.core import files
    from melt_ser.core.errors import SetupError
    from melt_ser.label_study.label_sources import read_sources
    from melt_ser.label_study.source_agreement import source_agreement
    from melt_ser.label_study.source_report import sections, source_page

    for option in ("first_column", "second_column", "by"):
        if getattr(options, option) is not None:
            raise SetupError(
                f"--{option.replace('_', '-')} is for two sources without --columns and --level; leave it out, or name "
                f"the labels of each source with --columns."
            )
    table = read_sources([options.first, *options.others], options.columns, options.keys)
    with Progress("comparing the labels"):
        result = source_agreement(table, options.labels, options.level or "nominal", seed=options.seed)
    write(options, sections(result), msgspec.to_builtins(result))
    if options.html is not None:
        files.write_text(options.html, source_page(result))
        say(f"page: {options.html}")
    return 0


def _compare_two(options: argparse.Namespace) -> int:
    import msgspec

    from melt_ser.core import files
    from melt_ser.label_study.agreement import agreement
    from melt_ser.label_study.agreement_report import agreement_page, sections
    from melt_ser.label_study.label_pairs import read_pairs

    second = options.others[0] if options.others else None
    pairs = read_pairs(options.first, second, options.first_column, options.second_column, options.keys)
    with Progress("comparing the labels"):
        result = agreement(pairs, options.labels, options.by, seed=options.seed)
    write(options, sections(result), msgspec.to_builtins(result))
    if options.html is not None:
        files.write_text(options.html, agreement_page(result))
        say(f"page: {options.html}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
