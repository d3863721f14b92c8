"""Command-line options that the verbs of a label study share. Light, since `--help` needs it."""

from __future__ import annotations

import argparse

from melt_ser.cli.arguments import names


def add_pair_options(parser: argparse.ArgumentParser) -> None:
    """The options that say which labels of the files are paired."""
    parser.add_argument(
        "--first-column", metavar="COLUMN", help="(default: label, else Emotion; of two files llm_label before)"
    )
    parser.add_argument(
        "--second-column", metavar="COLUMN", help="(default: llm_label; of two files else label or Emotion)"
    )
    parser.add_argument(
        "--keys",
        type=names,
        metavar="COLUMNS",
        help="what names an utterance in two files, such as Dialogue_ID,Utterance_ID (default) or utterance=filename",
    )
