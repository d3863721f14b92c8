"""Find our columns in the header of a user's table: as `dataset.columns` says, by our names, or by common names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError, SetupError
from melt_ser.core.vocabulary import ATTRIBUTES, USED_COLUMNS, unknown_column
from melt_ser.corpora.readers.release import Row
from melt_ser.corpora.table import GENDER_WORDS

# Other names of our columns: lower-case letters and digits, so that "Speaker ID" and speaker_id are one name. Times are
# not among them: in tables of cut clips they often are times in the uncut recording.
COMMON_NAMES: dict[str, list[str]] = {
    "audio": ["file", "filename", "filepath", "path", "wav", "wavfile", "wavpath", "audiofile", "audiopath"],
    "label": ["labels", "emotion", "emotions", "emo", "emotionlabel"],
    "speaker": ["speakerid", "speakername", "spk", "spkid", "actor", "actorid", "subjectid"],
    "session": ["sessionid"],
    "split": ["partition"],
    "gender": ["sex"],
    "language": ["lang"],
    "text": ["transcript", "transcription"],
}
LISTED, LONGEST = 20, 40  # columns that an error names, and the characters of each


def columns_of(config: DatasetConfig) -> dict[str, str | None]:
    """Return `dataset.columns` without attributes; raise SetupError if the corpus table does not have such a column."""
    attributes = {*ATTRIBUTES, *config.attributes}
    for our in config.columns:
        if our not in USED_COLUMNS and our not in attributes:
            raise SetupError(unknown_column(our))
    return {our: their for our, their in config.columns.items() if our not in attributes}


def wanted_attributes(config: DatasetConfig) -> list[str]:
    """Return the attributes in `dataset.attributes`, or else the common ones, in one order however they are typed.

    The common ones come first. The order numbers a model's outputs, and settings in another order are the same run.
    """
    common = [name for name in ATTRIBUTES if name in config.attributes or not config.attributes]
    return common + sorted(set(config.attributes) - set(ATTRIBUTES))


def attribute_columns(config: DatasetConfig) -> dict[str, str]:
    """Return the column of each of the `wanted_attributes`, in lower case."""
    return {name: (config.columns.get(name) or name).lower() for name in wanted_attributes(config)}


def needs_label(config: DatasetConfig) -> bool:
    """Return whether the corpus' own labels are used: for training, or for the vote of its raters."""
    return config.label_file is None or config.rater_vote is not None


def find_columns(
    present: Sequence[str], mapping: Mapping[str, str | None], path: Path
) -> tuple[dict[str, str], list[str]]:
    """Return the table's column for each of ours that it has, and a note on the columns with other names.

    Raises InputError if a column of the mapping is missing, or if several columns may be the same one of ours.

    Args:
        present: the columns of the table, in lower case.
        mapping: the table's column for each of ours that the settings name; None: not read.
        path: the table, for the sentences of errors.
    """
    theirs = {column: column for column in present if column in USED_COLUMNS and column not in mapping}
    theirs |= {our: their.lower() for our, their in mapping.items() if their is not None}
    for our, their in theirs.items():
        if their not in present:
            raise InputError(
                f"{path} has no column '{their}' (dataset.columns.{our}); its columns are: {listed(present)}."
            )
    taken = set(theirs.values())
    understood = {}
    for our in COMMON_NAMES:
        candidates = [column for column in present if letters(column) in COMMON_NAMES[our] and column not in taken]
        if our in theirs or our in mapping or not candidates:
            continue
        if len(candidates) > 1:
            raise InputError(
                f"{path} has {len(candidates)} columns that may be the {our}: {listed(candidates)}; choose one with "
                f"+dataset.columns.{our}=<column>."
            )
        understood[our] = candidates[0]
    named = ", ".join(f"{our} from '{their}'" for our, their in understood.items())
    notes = [f"columns found by their names: {named} (dataset.columns changes this)"] if named else []
    return {**theirs, **understood}, notes


def with_our_genders(records: Iterable[Row]) -> tuple[list[Row], list[str]]:
    """Return rows of a data set with our words for genders, "" for any other word, and a note on the others."""
    words = [(record, record.get("gender", "")) for record in records]
    ours = [{**record, "gender": GENDER_WORDS.get(word.lower(), "")} for record, word in words]
    others = Counter(word for _, word in words if word.lower() not in GENDER_WORDS)
    counts = listed(f"{word} ({count})" for word, count in others.most_common())
    return ours, [f"genders that are neither female nor male count as not known: {counts}"] if others else []


def listed(columns: Iterable[str]) -> str:
    """Return the names of columns for a sentence: the first of many, and of a long name its beginning."""
    names = [name if len(name) <= LONGEST else f"{name[:LONGEST]}…" for name in columns]
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more if names else "none"


def letters(column: str) -> str:
    """Return the name of a column without case, spaces and signs."""
    return re.sub(r"[\W_]+", "", column.casefold())
