"""Read the transcripts to annotate: a corpus table, MELD's or MELT's annotation files, or a user's own table."""

from __future__ import annotations

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.line_columns import described, find_roles, is_like_meld, renamed
from melt_ser.corpora.readers.delimited import read_table
from melt_ser.corpora.readers.release import is_hidden
from melt_ser.corpora.spoken_times import clock_time, time_of
from melt_ser.corpora.table import SPLIT_WORDS, SPLITS

LABEL_COLUMN = "llm_label"  # MELT's own name, so that its files are labels files too
CONFIDENCE = "confidence_"  # prefix of the columns of a labels file with each label's share or probability
FIELD = "llm_"  # prefix of the columns of a labels file with the fields of an answer of the user's own
RELEASE_COLUMNS = (  # MELT's columns, in its order
    *("filename", "Sr_No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID"),
    *("Season", "Episode", "StartTime", "EndTime", LABEL_COLUMN),
)
SPELLINGS = {"sr no.": "Sr_No.", **{column.lower(): column for column in RELEASE_COLUMNS}}  # MELD writes "Sr No."
FOLDER_FILES = ("*_sent_emo.csv", "meld_*.csv")  # MELD's files hold every line, so they go before MELT's
SPLIT_IN_NAME = re.compile(r"(?:^|_)(train|dev|test)(?:_|$)")


@dataclass(frozen=True)
class Line:
    """One utterance of a transcript; a value that the input lacks is "" (times: None)."""

    utterance: str  # the name in the corpus table, such as train_dia0_utt0
    text: str
    speaker: str
    season: str
    episode: str
    dialogue: str  # unique within a split, since each split numbers its dialogues anew
    position: int  # orders the lines of a dialogue, unless each of them has a start
    duration: float | None  # seconds, from the annotated times
    split: str
    columns: Mapping[str, str]  # the input's row, by lower-case name; MELT's spelling if the table is like MELD's
    start: float | None = None  # seconds; None for a table like MELD's, whose numbers order the lines


def read_lines(
    paths: Path | Iterable[Path], chosen: Mapping[str, str] | None = None, tell: Callable[[str], None] | None = None
) -> list[Line]:
    """Return the lines of one or more tables (CSV or parquet) in order; a folder stands for its MELD or MELT files.

    A table like MELD's has its text in `Utterance`, and `Dialogue_ID`, `Utterance_ID` and the split (from a column or
    the file's name) name the line. Any other table needs a text; `line_columns.NAMES` has the names of its columns. A
    line without a name in `utterance` is called by its audio, by its dialogue and its number there, or by its row.

    Args:
        paths: the tables.
        chosen: the column for a role of `line_columns.NAMES`; such a table is never taken for one like MELD's.
        tell: gets a sentence that says what was taken for what, for each table that is not like MELD's.

    Raises InputError if a table has no text or a name occurs twice; SetupError if a file is missing.
    """
    tables = [paths] if isinstance(paths, Path) else list(paths)
    files = [file for path in tables for file in files_of(path)]
    read = [(file, line) for file in files for line in _read(file, chosen or {}, tell)]
    lines = [_apart(line, file) if len(files) > 1 else line for file, line in read]
    repeated = [name for name, count in Counter(line.utterance for line in lines).items() if count > 1]
    if repeated:
        raise InputError(
            f"{', '.join(map(str, files))}: the utterance '{repeated[0]}' occurs more than once ({len(repeated)} do); "
            f"give each a name of its own in the column utterance, or the split in a column split."
        )
    return lines


def _apart(line: Line, file: Path) -> Line:
    """Return a line whose dialogue is none of another table, since each numbers them anew; MELD's have their split."""
    own = line.dialogue and "Dialogue_ID" not in line.columns
    return replace(line, dialogue=f"{file}: {line.dialogue}") if own else line


def earlier_lines(lines: Sequence[Line], many: int) -> dict[str, list[Line]]:
    """Return, for each utterance, up to `many` earlier lines of its dialogue, the earliest first."""
    earlier: dict[str, list[Line]] = {line.utterance: [] for line in lines}
    for dialogue in _dialogues(lines):
        for number, line in enumerate(dialogue):
            earlier[line.utterance] = dialogue[max(number - many, 0) : number]
    return earlier


def later_lines(lines: Sequence[Line], many: int) -> dict[str, list[Line]]:
    """Return, for each utterance, up to `many` later lines of its dialogue, the earliest first."""
    later: dict[str, list[Line]] = {line.utterance: [] for line in lines}
    for dialogue in _dialogues(lines):
        for number, line in enumerate(dialogue, start=1):
            later[line.utterance] = dialogue[number : number + many]
    return later


def _dialogues(lines: Sequence[Line]) -> Iterable[list[Line]]:
    """Return the lines of each dialogue: by their start if each has one, otherwise by their position."""
    dialogues: defaultdict[tuple[str, str], list[Line]] = defaultdict(list)
    for line in lines:
        if line.dialogue:
            dialogues[line.split, line.dialogue].append(line)
    for dialogue in dialogues.values():
        starts = [line.start for line in dialogue]
        dialogue.sort(key=lambda line: line.position if None in starts else line.start or 0.0)
    return dialogues.values()


def files_of(path: Path) -> list[Path]:
    """Return the files of a path: the path itself, or a folder's MELD or MELT files; SetupError if it has none."""
    if not path.is_dir():
        return [path]
    for pattern in FOLDER_FILES:
        visible = [file for file in path.glob(pattern) if not is_hidden(file.name)]
        files = sorted(visible, key=lambda file: SPLITS.index(split_in_name(file)))
        if files:
            return files
    raise SetupError(f"{path} holds neither MELD's files (*_sent_emo.csv) nor MELT's (meld_*.csv); name a table.")


def _read(path: Path, chosen: Mapping[str, str], tell: Callable[[str], None] | None) -> list[Line]:
    if not path.is_file():
        raise SetupError(f"There is no table at {path}; give the path of a CSV or parquet file.")
    table = read_csv_or_parquet(path)
    columns = [str(column) for column in table]
    rows = table.itertuples(index=False, name=None)
    if _is_melds(table, columns, chosen):
        spelled, split = [SPELLINGS.get(column, column) for column in columns], split_in_name(path)
        return [
            _meld_line(dict(zip(spelled, row, strict=True)), f"{path}, row {number}", split)
            for number, row in enumerate(rows, start=1)
        ]
    roles = find_roles(columns, chosen, path)
    if tell is not None:
        tell(f"{path}: {described(roles)}")
    numbers = table[roles["number"]] if "number" in roles else pd.Series(dtype="str")
    positions = numbers.astype(int) if len(numbers) and numbers.str.isdecimal().all() else range(len(table))
    names = renamed(columns, roles, chosen, path)
    roles = {role: names[columns.index(column)] for role, column in roles.items()}
    lines = [
        _own_line(dict(zip(names, row, strict=True)), roles, f"{path}, row {number}", position)
        for number, (row, position) in enumerate(zip(rows, positions, strict=True), start=1)
    ]
    return _with_names(lines, roles, path)


def _is_melds(table: pd.DataFrame, columns: Sequence[str], chosen: Mapping[str, str]) -> bool:
    """Return whether a table is read as MELD's: its numbers are whole, or it has MELD's serial numbers too."""
    if chosen or not is_like_meld(columns):
        return False
    whole = all(table[column].str.fullmatch("[0-9]{1,9}").all() for column in ("dialogue_id", "utterance_id"))
    return whole or bool({"sr no.", "sr_no."} & set(columns))


def read_csv_or_parquet(path: Path) -> pd.DataFrame:
    """Return a table of text with lower-case columns, of a CSV (see `delimited.read_table`) or a parquet file."""
    return _read_parquet(path) if path.suffix.lower() == ".parquet" else read_table(path, ())


def _read_parquet(path: Path) -> pd.DataFrame:
    """Return a parquet file as a table of text; InputError if it is none, or two columns of a name differ."""
    try:
        # In pandas' own types, whole numbers stay whole beside an empty cell.
        table = pd.read_parquet(path, dtype_backend="numpy_nullable")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a parquet file ({' '.join(str(error).split())}); write it again.") from None
    texts: dict[str, list[str]] = {}
    for column, cells in table.items():
        name, found = str(column).lower(), [_text(cell) for cell in cells]
        if texts.setdefault(name, found) != found:
            raise InputError(f"{path} has two different columns '{name}'; rename or delete one of them.")
    return pd.DataFrame(texts, dtype="str")


def _text(cell: Any) -> str:
    """Return a cell as text; "" if it is empty. It may be a list or an object."""
    return "" if pd.api.types.is_scalar(cell) and pd.isna(cell) else str(cell).strip()


def split_in_name(path: Path) -> str:
    """Return the split in a file's name, such as train_sent_emo.csv; "" if it names none."""
    match = SPLIT_IN_NAME.search(path.stem.lower())
    return match[1] if match else ""


def _split_of(row: Mapping[str, str], where: str, otherwise: str) -> str:
    split = row.get("split", "").lower()
    if split not in SPLIT_WORDS:
        raise InputError(f"{where}: the split is '{row['split']}'; it must be train, dev, test or empty.")
    return SPLIT_WORDS[split] or otherwise


def _own_line(row: Mapping[str, str], roles: Mapping[str, str], where: str, position: int) -> Line:
    """Return the line of a row of any table."""
    value = {role: row[column] for role, column in roles.items()}
    duration, start, end = (time_of(value.get(role, ""), where, role) for role in ("duration", "start", "end"))
    return Line(
        utterance=value.get("utterance", ""),
        text=value["text"],
        speaker=value.get("speaker", ""),
        season=value.get("season", ""),
        episode=value.get("episode", ""),
        dialogue=value.get("dialogue", ""),
        position=position,
        duration=end - (start or 0.0) if duration is None and end is not None else duration,
        split=_split_of({"split": value.get("split", "")}, where, ""),
        columns=row,
        start=start,
    )


def _with_names(lines: Sequence[Line], roles: Mapping[str, str], path: Path) -> list[Line]:
    """Return the lines with a name each, which is also in their column `utterance` if the table has none.

    A line without a name gets that of its audio (with #2, #3 and so on for the next segments, as a corpus table has
    them); without audio, that of its dialogue and its number there; without these, that of its row. Raises InputError
    if a cell of a column of names is empty.
    """
    named, taken = [], Counter[str]()
    for row, line in enumerate(lines, start=1):
        name, column = line.utterance, line.columns.get
        audio = column(roles.get("audio", ""), "")
        dialogue, number = column(roles.get("dialogue", ""), ""), column(roles.get("number", ""), "")
        if not name and audio:
            stem = posixpath.splitext(audio)[0]
            taken[stem] += 1
            name = f"{stem}#{taken[stem]}" if taken[stem] > 1 else stem
        elif not name and "utterance" in roles:
            raise InputError(f"{path}, row {row}: the line has no name; fill in its {roles['utterance']}.")
        elif not name and number:
            whole = dialogue.isdecimal() and number.isdecimal()  # then named as MELD's lines are
            parts = (f"dia{int(dialogue)}", f"utt{int(number)}") if whole else (dialogue, number)
            name = "_".join(part for part in (line.split, *parts) if part)
        name = name or f"{path.stem}_{row}"
        columns = line.columns if column("utterance") else {**line.columns, "utterance": name}
        named.append(replace(line, utterance=name, columns=columns))
    return named


def _meld_line(row: Mapping[str, str], where: str, split: str) -> Line:
    for column in ("Dialogue_ID", "Utterance_ID"):
        if not re.fullmatch("[0-9]{1,9}", row[column]):
            raise InputError(f"{where}: {column} is '{row[column]}', which is no whole number; correct the table.")
    clip = f"dia{int(row['Dialogue_ID'])}_utt{int(row['Utterance_ID'])}"
    split = _split_of(row, where, split)
    start, end = (clock_time(row.get(column, ""), where, column) for column in ("StartTime", "EndTime"))
    return Line(
        utterance=f"{split}_{clip}" if split else clip,
        text=row["Utterance"],
        speaker=row["Speaker"],
        season=row.get("Season", ""),
        episode=row.get("Episode", ""),
        dialogue=str(int(row["Dialogue_ID"])),
        position=int(row["Utterance_ID"]),
        duration=None if start is None or end is None else round(end - start, 3),
        split=split,
        columns=row,
    )
