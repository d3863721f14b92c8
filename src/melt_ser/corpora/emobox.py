"""Read EmoBox's fold lists from the user's own checkout; nothing of EmoBox is copied here.

`<checkout>/data/<corpus>/fold_<k>/<corpus>_{train,valid,test}_fold_<k>.jsonl` has one JSON object per line, with the
path of a clip under `wav` (older lists: `.json`, one object that holds such objects). The lists only say which
utterances are train, dev and test. Labels come from our reader, since EmoBox's label maps have gaps. Paths are matched
by the `NAMING` of the corpus' reader (see `file_names`), so that `JE_n23.wav` is SAVEE's `JE/n23.wav`; if the reader
has none, by the stem of the file name.
Source: Ma et al., EmoBox: Multilingual Multi-corpus Speech Emotion Recognition Toolkit and Benchmark, Interspeech 2024,
and its repository.
"""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath

import pandas as pd

from melt_ser.config import DatasetConfig
from melt_ser.core.counting import counted
from melt_ser.core.errors import InputError, SetupError, did_you_mean
from melt_ser.core.package import expanded
from melt_ser.corpora.reader import find_reader
from melt_ser.corpora.readers.file_names import Naming
from melt_ser.corpora.readers.release import Unused

EMOBOX = "emobox"  # the value of dataset.folds
PARTS = {"train": "train", "valid": "dev", "test": "test"}  # EmoBox's words and ours


def number_of_folds(config: DatasetConfig) -> int:
    """Return the number of folds in EmoBox for a corpus; raise SetupError if the checkout or the corpus is missing."""
    return len([path for path in _corpus_folder(config).glob("fold_*") if path.is_dir()])


def emobox_parts(table: pd.DataFrame, config: DatasetConfig, number: int) -> tuple[pd.Series, tuple[str, ...]]:
    """Return the part of each row in fold `number` (train, dev, test, or "": in no list), and notes on mismatches.

    Raises InputError if a list is damaged, or a name is in two parts or fits several files; SetupError if a list is
    missing.
    """
    naming: Naming | None = getattr(find_reader(config.reader), "NAMING", None)
    part_of_name = _part_of_name(_corpus_folder(config), number, naming)
    names = table["utterance"] if naming else table["audio"].map(lambda audio: PurePosixPath(audio).stem)
    names = names.str.casefold()
    parts = names.map(part_of_name).fillna("").astype(str)
    files = table["audio"][parts != ""].groupby(names).nunique()
    ambiguous = files.index[files > 1]
    if len(ambiguous):
        raise InputError(
            f"{_utterances(len(ambiguous))} of EmoBox's fold {number} each fit several files of '{config.name}' (such "
            f"as '{ambiguous[0]}', {files[ambiguous[0]]} files): give the files names of their own, or choose another "
            f"dataset.protocol."
        )
    fold = f"fold {number} of EmoBox"
    notes = []
    unknown = sorted(part_of_name.keys() - set(names))
    if unknown:
        notes.append(
            f"{len(unknown)} of the {len(part_of_name)} utterances in {fold} are not among those of '{config.name}' "
            f"that are used here (such as {unknown[0]})."
        )
    unlisted = table.loc[parts == "", "utterance"]
    if len(unlisted):
        notes.append(
            f"'{config.name}' leaves out {_utterances(len(unlisted))} that no list of {fold} names "
            f"(such as {unlisted.min()})."
        )
    return parts, tuple(notes)


def _part_of_name(folder: Path, number: int, naming: Naming | None) -> dict[str, str]:
    """Return the part of each name (in lower case) that the lists of a fold have."""
    part_of_name: dict[str, str] = {}
    repeated: list[str] = []
    for word, part in PARTS.items():
        for path in _listed(folder / f"fold_{number}", f"{folder.name}_{word}_fold_{number}", part):
            name = _name(path, naming).casefold()
            if part_of_name.setdefault(name, part) != part:
                repeated.append(f"'{name}' in both {part_of_name[name]} and {part}")
    if repeated:
        raise InputError(
            f"EmoBox's lists in {folder / f'fold_{number}'} have {_utterances(len(repeated))} in two parts (such as "
            f"{repeated[0]}); names that are not unique cannot be matched: choose another dataset.protocol."
        )
    return part_of_name


def _name(path: PurePosixPath, naming: Naming | None) -> str:
    """Return our reader's utterance name for one of EmoBox's paths; the whole path if our reader would not use it."""
    if naming is None:
        return path.stem
    try:
        understood = naming.understand(path)
    except Unused:
        understood = None
    return understood["utterance"] if understood else str(path)


def _utterances(number: int) -> str:
    return counted(number, "utterance")


def _corpus_folder(config: DatasetConfig) -> Path:
    if config.emobox is None:
        raise SetupError("EmoBox's folds need its lists: set dataset.emobox=<a checkout of github.com/emo-box/EmoBox>.")
    data = expanded(config.emobox) / "data"
    name = re.sub(r"[^a-z0-9]", "", config.name.lower())  # EmoBox calls crema_d cremad
    if not data.is_dir():
        raise SetupError(f"There is no folder {data}; set dataset.emobox to the top folder of an EmoBox checkout.")
    if not (data / name / "fold_1").is_dir():
        corpora = [path.parent.name for path in data.glob("*/fold_1")]
        raise SetupError(f"EmoBox in {data} has no folds of '{name}'; {did_you_mean(name, corpora)}")
    return data / name


def _listed(folder: Path, name: str, part: str) -> list[PurePosixPath]:
    """Return the paths of one list; EmoBox may have no dev list."""
    lines, mapping = folder / f"{name}.jsonl", folder / f"{name}.json"
    path = lines if lines.is_file() else mapping
    if not path.is_file():
        if part == "dev":
            return []
        raise SetupError(f"EmoBox's list {lines} is missing; check that the checkout is whole.")
    try:
        text = path.read_text(encoding="utf-8")
        if path == lines:
            records = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            records = list(json.loads(text).values())
        return [PurePosixPath(record["wav"]) for record in records]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not a list of EmoBox ({type(error).__name__}: {error}); check out the EmoBox repository again."
        ) from None
