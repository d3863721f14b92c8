"""Write rows of labels one by one: CSV, JSON, JSON Lines or a table for people."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from typing import NamedTuple, Protocol, TextIO

from melt_ser.core.errors import one_line
from melt_ser.core.files import csv_quoting
from melt_ser.core.spreadsheet import guarded
from melt_ser.evaluation.labelling import Row


class Layout(NamedTuple):
    """What the rows have.

    columns: of an answer: the label and the classes, if the model has classes, and its attributes.
    place: the columns that place a row in its file: none, or start and end in seconds, and perhaps speaker.
    names: the files to come, for the width of a table's first column.
    attributes: those among the columns, which a table for people shows.
    """

    columns: Sequence[str]
    place: Sequence[str] = ()
    names: Sequence[str] = ()
    attributes: Sequence[str] = ()


class RowWriter(Protocol):
    """Write rows: `add` writes a row at once; call `end` after the last."""

    def __init__(self, stream: TextIO, layout: Layout) -> None: ...

    def add(self, row: Row) -> None: ...

    def end(self) -> None: ...


WIDEST_NAME = 60  # characters; the columns after a longer file name move to the right


class CsvRows:
    """A line for each row, with a probability for each class and a number for each attribute."""

    def __init__(self, stream: TextIO, layout: Layout) -> None:
        self.stream = stream
        self.columns = ["file", *layout.place, *layout.columns, "error"]
        self._write(dict(zip(self.columns, self.columns, strict=True)))

    def add(self, row: Row) -> None:
        self._write(row)

    def end(self) -> None:
        """Nothing follows the last row."""

    def _write(self, row: Row) -> None:
        quoting = csv_quoting([str(row.get("file", "")), str(row.get("error", ""))])
        cells = {name: guarded(value) if isinstance(value, str) else value for name, value in row.items()}
        csv.DictWriter(self.stream, self.columns, restval="", lineterminator="\n", quoting=quoting).writerow(cells)
        self.stream.flush()


class JsonRows:
    """A JSON array with an object for each row."""

    def __init__(self, stream: TextIO, layout: Layout) -> None:
        self.stream, self.separator = stream, "[\n"

    def add(self, row: Row) -> None:
        self.stream.write(f"{self.separator}  {json.dumps(row, ensure_ascii=False)}")
        self.stream.flush()
        self.separator = ",\n"

    def end(self) -> None:
        self.stream.write("[]\n" if self.separator == "[\n" else "\n]\n")


class JsonLines:
    """A JSON object on a line for each row."""

    def __init__(self, stream: TextIO, layout: Layout) -> None:
        self.stream = stream

    def add(self, row: Row) -> None:
        self.stream.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.stream.flush()

    def end(self) -> None:
        """Nothing follows the last row."""


class TableRows:
    """A line for people for each row: the label with its probability and the attributes, or the reason for none."""

    def __init__(self, stream: TextIO, layout: Layout) -> None:
        from rich.cells import cell_len  # letters of some scripts are two columns wide

        self.stream, self.place, self.length = stream, layout.place, cell_len
        self.name_width = min(max([cell_len(one_line(name)) for name in layout.names], default=4), WIDEST_NAME)
        self.label_width = max(cell_len(name) for name in layout.columns)
        self.has_label, self.attributes = "label" in layout.columns, layout.attributes
        label = [self._label("label"), "probability"] if self.has_label else []
        self._write(
            "file", *(f"{name:>8}" for name in self.place), *label, *(f"{name:>11}" for name in self.attributes)
        )

    def add(self, row: Row) -> None:
        if "error" in row:
            self._write(row["file"], f"– {one_line(row['error'])}")
            return
        cells = (row[name] for name in self.place)
        place = [f"{one_line(cell):>8}" if isinstance(cell, str) else f"{cell:8.2f}" for cell in cells]
        label = [self._label(row["label"]), f"{row[row['label']]:<11.3f}"] if self.has_label else []
        self._write(row["file"], *place, *label, *(f"{row[name]:11.3f}" for name in self.attributes))

    def end(self) -> None:
        """Nothing follows the last row."""

    def _label(self, name: str) -> str:
        return name + " " * (self.label_width - self.length(name))

    def _write(self, file: str, *cells: str) -> None:
        name = one_line(file)
        padding = " " * max(0, self.name_width - self.length(name))
        self.stream.write("  ".join([name + padding, *cells]).rstrip() + "\n")
        self.stream.flush()


FORMATS: dict[str, type[RowWriter]] = {"table": TableRows, "csv": CsvRows, "json": JsonRows, "jsonl": JsonLines}


def row_writer(form: str, stream: TextIO, layout: Layout) -> RowWriter:
    """Return a writer of rows into a stream; `form` is a key of FORMATS."""
    return FORMATS[form](stream, layout)
