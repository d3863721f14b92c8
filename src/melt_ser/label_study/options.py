"""Add the options that the verbs of a label study share; no heavy import, for a fast `--help`."""

from __future__ import annotations

import argparse

from melt_ser.cli.verb import names


def add_pair_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the columns and keys that pair labels."""
    parser.add_argument(
        "--first-column", metavar="COLUMN", help="(default: label or Emotion; of two files llm_label first)"
    )
    parser.add_argument(
        "--second-column", metavar="COLUMN", help="(default: llm_label; of two files also label or Emotion)"
    )
    parser.add_argument(
        "--keys",
        type=names,
        metavar="COLUMNS",
        help="columns that identify an utterance in two files: Dialogue_ID,Utterance_ID (default) or a=b",
    )
