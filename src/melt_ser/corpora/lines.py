"""Read the transcripts to annotate: a corpus table, MELD's or MELT's annotation files, or a user's own table."""

from __future__ import annotations

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.readers.delimited import read_table
from melt_ser.corpora.readers.release import is_hidden
from melt_ser.corpora.table import SPLIT_WORDS, SPLITS

LABEL_COLUMN = "llm_label"  # MELT's own name, so that its files are labels files too
RELEASE_COLUMNS = (  # MELT's columns, in its order
    *("filename", "Sr_No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID"),
    *("Season", "Episode", "StartTime", "EndTime", LABEL_COLUMN),
)
SPELLINGS = {"sr no.": "Sr_No.", **{column.lower(): column for column in RELEASE_COLUMNS}}  # MELD writes "Sr No."
FOLDER_FILES = ("*_sent_emo.csv", "meld_*.csv")  # MELD's files hold every line, so they go before MELT's
SPLIT_IN_NAME = re.compile(r"(?:^|_)(train|dev|test)(?:_|$)")
CLOCK = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2})[,.](\d{1,3})")


@dataclass(frozen=True)
class Line:
    """One utterance of a transcript; a value that the input lacks is "" (duration: None)."""

    utterance: str  # the name in the corpus table, such as train_dia0_utt0
    text: str
    speaker: str
    season: str
    episode: str
    dialogue: str  # unique within a split, since each split numbers its dialogues anew
    position: int  # orders the lines of a dialogue
    duration: float | None  # seconds, from the annotated times
    split: str
    columns: Mapping[str, str]  # the input's row, by lower-case name; MELT's spelling if the table is like MELD's


def read_lines(paths: Path | Iterable[Path]) -> list[Line]:
    """Return the lines of one or more tables (CSV or parquet) in order; a folder stands for its MELD or MELT files.

    A table with the column `text` is a corpus table as `prepare` writes it: `utterance` (or `audio`) names the line,
    `session` is its dialogue; `season`, `episode` and `split` are optional. Any other table must be like MELD's:
    `Utterance` is the text, and `Dialogue_ID`, `Utterance_ID` and the split (from a column or the file's name) name the
    line. Raises InputError if a table is neither, or a name occurs twice; SetupError if a file is missing.
    """
    tables = [paths] if isinstance(paths, Path) else list(paths)
    files = [file for path in tables for file in files_of(path)]
    lines = [line for file in files for line in _read(file)]
    repeated = [name for name, count in Counter(line.utterance for line in lines).items() if count > 1]
    if repeated:
        raise InputError(
            f"{', '.join(map(str, files))}: the utterance '{repeated[0]}' occurs more than once ({len(repeated)} do); "
            f"give each a name of its own in the column utterance, or the split in a column split."
        )
    return lines


def earlier_lines(lines: Sequence[Line], many: int) -> dict[str, list[Line]]:
    """Return, for each utterance, up to `many` earlier lines of its dialogue, the earliest first."""
    dialogues: defaultdict[tuple[str, str], list[Line]] = defaultdict(list)
    for line in lines:
        if line.dialogue:
            dialogues[line.split, line.dialogue].append(line)
    earlier: dict[str, list[Line]] = {line.utterance: [] for line in lines}
    for dialogue in dialogues.values():
        dialogue.sort(key=lambda line: line.position)
        for number, line in enumerate(dialogue):
            earlier[line.utterance] = dialogue[max(number - many, 0) : number]
    return earlier


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


def _read(path: Path) -> list[Line]:
    if not path.is_file():
        raise SetupError(f"There is no table at {path}; give the path of a CSV or parquet file.")
    table = _parquet(path) if path.suffix == ".parquet" else read_table(path, ())
    if "text" in table:
        make, required = _corpus_line, ["utterance"] if "audio" not in table else []
    else:
        make, required = _meld_line, ["utterance", "speaker", "dialogue_id", "utterance_id"]
    missing = [column for column in required if column not in table]
    if missing:
        raise InputError(
            f"{path} lacks the column {', '.join(missing)}; a table needs text and utterance, "
            f"or as MELD's Utterance, Speaker, Dialogue_ID and Utterance_ID."
        )
    split = split_in_name(path)
    columns = [str(column) if make is _corpus_line else SPELLINGS.get(str(column), str(column)) for column in table]
    return [
        make(dict(zip(columns, row, strict=True)), f"{path}, row {number}", number, split)
        for number, row in enumerate(table.itertuples(index=False, name=None), start=1)
    ]


def _parquet(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a parquet file ({' '.join(str(error).split())}); write it again.") from None
    texts = {
        str(column).lower(): ["" if pd.isna(cell) else str(cell).strip() for cell in table[column]] for column in table
    }
    return pd.DataFrame(texts, dtype="str")


def split_in_name(path: Path) -> str:
    """Return the split in a file's name, such as train_sent_emo.csv; "" if it names none."""
    match = SPLIT_IN_NAME.search(path.stem.lower())
    return match[1] if match else ""


def _split_of(row: Mapping[str, str], where: str, otherwise: str) -> str:
    split = row.get("split", "").lower()
    if split not in SPLIT_WORDS:
        raise InputError(f"{where}: the split is '{row['split']}'; it must be train, dev, test or empty.")
    return SPLIT_WORDS[split] or otherwise


def _corpus_line(row: Mapping[str, str], where: str, number: int, split: str) -> Line:
    name = row.get("utterance") or posixpath.splitext(row.get("audio", ""))[0]
    if not name:
        raise InputError(f"{where}: the line has no name; fill in its utterance.")
    seconds = [_seconds(row.get(column, ""), where, column) for column in ("duration", "start", "end")]
    duration, start, end = seconds
    return Line(
        utterance=name,
        text=row["text"],
        speaker=row.get("speaker", ""),
        season=row.get("season", ""),
        episode=row.get("episode", ""),
        dialogue=row.get("dialogue") or row.get("session", ""),
        position=number,
        duration=end - (start or 0.0) if duration is None and end is not None else duration,
        split=_split_of(row, where, ""),
        columns=row,
    )


def _meld_line(row: Mapping[str, str], where: str, number: int, split: str) -> Line:
    for column in ("Dialogue_ID", "Utterance_ID"):
        if not re.fullmatch("[0-9]{1,9}", row[column]):
            raise InputError(f"{where}: {column} is '{row[column]}', which is no whole number; correct the table.")
    clip = f"dia{int(row['Dialogue_ID'])}_utt{int(row['Utterance_ID'])}"
    split = _split_of(row, where, split)
    start, end = (_clock(row.get(column, ""), where, column) for column in ("StartTime", "EndTime"))
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


def _seconds(text: str, where: str, column: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise InputError(f"{where}, {column}: '{text}' is no time in seconds (such as 1.5, or empty).") from None


def _clock(text: str, where: str, column: str) -> float | None:
    """Return the seconds of a subtitle's time, such as 00:16:16,059."""
    if not text:
        return None
    match = CLOCK.fullmatch(text)
    if not match:
        raise InputError(f"{where}, {column}: '{text}' is no time such as 00:16:16,059.")
    hours, minutes, seconds, milliseconds = match.groups()
    return 3600 * int(hours) + 60 * int(minutes) + int(seconds) + float(f"0.{milliseconds}")
