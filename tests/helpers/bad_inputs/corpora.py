"""The corpus that bad inputs damage (24 tones of 4 speakers and 3 classes, with a table), and commands on it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

from bad_inputs import Expected
from small_runs import corpus, small

GOOD_CLIPS = 24
Row = dict[str, str]


def typed(root: Path, *more: str) -> list[str]:
    """Return the dataset's part of a command."""
    return ["dataset=csv", f"dataset.root={root}", "dataset.table=table.csv", *more]


def prepare(root: Path, *more: str) -> list[str]:
    return ["prepare", *typed(root, *more)]


def train(root: Path, *more: str) -> list[str]:
    return ["train", *small(*more), f"out={root.parent / 'runs'}", *typed(root, *more)]


def corpus_of(folder: Path, change: Callable[[int, Row], Row | None] = lambda number, row: row) -> Path:
    """Write a corpus into `folder` and return it; `change` gives each row of its table (None: left out)."""
    root = corpus(folder / "corpus")
    with (root / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = [change(number, row) for number, row in enumerate(csv.DictReader(file))]
    write_rows(root, [row for row in rows if row is not None])
    return root


def with_text(folder: Path, change: Callable[[bytes], bytes]) -> Path:
    """Return a corpus after a change of its table's bytes."""
    root = corpus(folder / "corpus")
    (root / "table.csv").write_bytes(change((root / "table.csv").read_bytes()))
    return root


def write_rows(root: Path, rows: list[Row]) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with (root / "table.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def add_row(root: Path, **row: str) -> None:
    """Add a row at the end of the table."""
    with (root / "table.csv").open(encoding="utf-8", newline="") as file:
        write_rows(root, [*csv.DictReader(file), row])


def refused(command: list[str], *says: str, code: int = 1) -> Expected:
    """Expect that the command ends with a sentence and writes no result."""
    out = next((Path(word.removeprefix("out=")) for word in command if word.startswith("out=")), None)

    def no_result() -> None:
        assert out is None or not list(out.rglob("result.json"))

    return Expected(command, code, list(says), no_result)


def used(root: Path, dropped: int = 0, clips: int = GOOD_CLIPS, *says: str) -> Expected:
    """Expect that the corpus is prepared, with the numbers of dropped and used clips."""
    return Expected(prepare(root), 0, [f"{clips} clips verified", f"dropped: {dropped}\n", *says])
