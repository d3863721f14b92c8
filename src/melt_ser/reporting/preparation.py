"""What `prepare` prints: counts by split and class, the numbers expected, and everything that is not used, with why."""

from __future__ import annotations

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table

from melt_ser.config import LabelsConfig
from melt_ser.console import show
from melt_ser.corpora.corpus import Corpus
from melt_ser.corpora.splits import group_warnings
from melt_ser.errors import one_line
from melt_ser.labels import LabelSpace

LISTED = 20  # problems shown one by one; the file that is named holds all of them


def print_report(corpus: Corpus, labels: LabelsConfig) -> None:
    """Print the preparation report of a corpus under a label space."""
    native = LabelSpace.native(corpus.table["emotion"])
    space = native if labels.classes is None else LabelSpace(labels.name, labels.classes)
    usable, left_out = corpus.usable(space)
    show(_counts(usable, list(space.classes), f"{corpus.name}: utterances, label space {space.name}"))
    hours = corpus.table["duration"].sum() / 3600
    speakers = corpus.table["speaker"][corpus.table["speaker"] != ""].nunique()
    print(
        f"{len(corpus.table)} clips verified, {hours:.2f} hours, {speakers} speakers; table digest {corpus.digest[:16]}"
    )
    for sentence in _against_expected(corpus):
        print(sentence)
    for reason, count in left_out.items():
        print(one_line(f"not used: {count} utterances, {reason}"))
    for sentence in (*corpus.notes, *group_warnings(usable, corpus.config)):
        print(one_line(f"note: {sentence}"))
    print(f"dropped: {len(corpus.dropped)}")
    for utterance, audio, reason in corpus.dropped.head(LISTED).itertuples(index=False, name=None):
        print(one_line(f"  {audio or utterance}: {reason}"))
    if len(corpus.dropped) > LISTED:
        print(f"  … and {len(corpus.dropped) - LISTED} more")
    print(f"table: {corpus.folder / 'table.csv'}")
    print(f"dropped list: {corpus.folder / 'dropped.csv'}")


def _counts(usable: pd.DataFrame, classes: list[str], title: str) -> Table:
    splits = [split for split in ("train", "dev", "test") if (usable["split"] == split).any()] or [""]
    table = Table(title=title, box=SIMPLE_HEAD)
    table.add_column("class")
    for split in splits:
        table.add_column(split or "all", justify="right")
    for name in [*classes, "total"]:
        rows = usable if name == "total" else usable[usable["class"] == name]
        table.add_row(name, *(str(int((rows["split"] == split).sum())) for split in splits))
    return table


def _against_expected(corpus: Corpus) -> list[str]:
    """How the release's rows compare with what its source says it has."""
    sentences = []
    for split, expected in corpus.config.expected.items():
        rows = corpus.table if split == "all" else corpus.table[corpus.table["split"] == split]
        verdict = "as expected" if len(rows) == expected else f"expected {expected}"
        sentences.append(f"{split}: {len(rows)} usable clips ({verdict})")
    return sentences
