"""The labels of an interrupted `predict --out`: a line for each finished file, in `<out>.unfinished`.

The first line identifies the model and the window or turns. The same command continues from the file; with others it
starts again. A recording that had no label, or has changed since, is labelled again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from melt_ser.core import files
from melt_ser.core.console import say
from melt_ser.core.locks import exclusive_lock
from melt_ser.core.places import neighbour, stamp_of
from melt_ser.evaluation.labelling import Model, Row


@contextmanager
def journal_of(out: Path, model: Model, settings: dict[str, Any]) -> Iterator[LabelJournal]:
    """Lock and open the journal of `out` for this process; delete it if the block succeeds.

    settings: the settings that the labels depend on, as plain JSON values.
    """
    with exclusive_lock(out):
        journal = LabelJournal(out, {"weights": model.digest(), "classes": model.classes}, settings)
        try:
            yield journal
        finally:
            journal.close()
        journal.path.unlink(missing_ok=True)


class LabelJournal:
    """The finished files of one `--out`.

    model, settings: the things that decide the labels, as plain JSON values.
    """

    def __init__(self, out: Path, model: dict[str, Any], settings: dict[str, Any]) -> None:
        self.path = neighbour(out, "", ".unfinished")
        self.made_with = json.loads(json.dumps({**model, **settings}))
        self.differing = " or ".join(["model", *settings])
        self.finished: dict[str, int] = {}  # the position of a file's line, in bytes
        kept = self._read()
        with files.telling_failed_writes(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._stream: TextIO = self.path.open("r+" if kept else "w+", encoding="utf-8")
            if kept:
                self._stream.truncate(kept)  # drop the line that a kill has cut
                self._stream.seek(kept)
            else:
                self._write(self.made_with)

    def add(self, file: Path, rows: Sequence[Row]) -> None:
        """Keep the rows of a file."""
        place = self._stream.tell()
        self._write({"file": str(file), "state": _state(file), "rows": rows})
        self.finished[str(file)] = place

    def rows(self, names: Sequence[str]) -> Iterator[Row]:
        """Yield the rows of the files, in the given order."""
        self._stream.flush()
        with self.path.open("rb") as lines:
            for name in names:
                lines.seek(self.finished[name])
                yield from json.loads(lines.readline())["rows"]

    def close(self) -> None:
        self._stream.close()

    def _write(self, value: dict[str, Any]) -> None:
        with files.telling_failed_writes(self.path):
            self._stream.write(json.dumps(value) + "\n")
            self._stream.flush()

    def _read(self) -> int:
        """Find the finished files of an earlier command; return the number of bytes to keep."""
        place = 0
        try:
            with self.path.open("rb") as lines:
                for number, line in enumerate(lines):
                    value = json.loads(line) if line.endswith(b"\n") else None
                    if number == 0 and value != self.made_with:
                        say(f"note: {self.path} is from another {self.differing}; labelling starts again.")
                        return 0
                    if not isinstance(value, dict):
                        break
                    if number and _is_done(value):
                        self.finished[value["file"]] = place
                    place += len(line)
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, KeyError, TypeError):  # the end of a damaged file is labelled again
            pass
        return place


def _is_done(entry: dict[str, Any]) -> bool:
    """Return whether a file has labels and has not changed since."""
    labelled = all("error" not in row for row in entry["rows"])
    return labelled and entry["state"] == _state(Path(entry["file"]))


def _state(file: Path) -> list[int]:
    """Return the stamp that shows whether a file has changed; an empty list if it is missing."""
    try:
        return list(stamp_of(file))
    except (OSError, ValueError):
        return []
