"""Add the options that the verbs of a label study share; no heavy import, for a fast `--help`."""

from __future__ import annotations

import argparse

from melt_ser.cli.verb import given_path, names, whole_number


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


def add_page_options(parser: argparse._ActionsContainer) -> None:
    """Add the options for the words of a page and its questions about the rater."""
    parser.add_argument(
        "--words", default="en", metavar="LANGUAGE", help="of the page: en, de or a YAML of yours (default: en)"
    )
    parser.add_argument(
        "--questions", type=given_path, metavar="YAML", help="questions about the rater, asked at the start"
    )


def add_review_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `annotate` for a review by people."""
    people = parser.add_argument_group("people")
    people.add_argument(
        "--review",
        type=whole_number(1),
        metavar="N",
        help="the tables are labels files: write a page with their N least certain or most disputed lines",
    )
    people.add_argument("--reviewed", action="store_true", help="the tables are a review's key.json and its answers")
    people.add_argument("--root", type=given_path, metavar="FOLDER", help="of the audio, so that the review has clips")
    add_page_options(people)
