"""EmoBox's fold lists, read from the user's own checkout; none of EmoBox is copied here.

`<checkout>/data/<corpus>/fold_<k>/<corpus>_{train,valid,test}_fold_<k>.jsonl` has a JSON object a line whose
`wav` is the path of a clip (older lists: `.json`, one object of such objects). Only which utterance is in which part
is taken from there: a path is understood as our reader of the corpus understands those of the release, so that
`JE_n23.wav` is SAVEE's `JE/n23.wav`, and else by the stem of the file name. Labels are our reader's, since EmoBox's
label maps have gaps. Source: Ma et al., EmoBox: Multilingual Multi-corpus Speech Emotion Recognition Toolkit and
Benchmark, Interspeech 2024, and its repository.
"""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path, PurePosixPath

import pandas as pd

from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError, SetupError, did_you_mean
from melt_ser.corpora.readers.file_names import Naming
from melt_ser.corpora.readers.release import Unused

EMOBOX = "emobox"  # the value of dataset.folds
PARTS = {"train": "train", "valid": "dev", "test": "test"}  # EmoBox's word: ours


def number_of_folds(config: DatasetConfig) -> int:
    """How many folds EmoBox has for a corpus; SetupError where the checkout or the corpus is not there."""
    return len([path for path in _corpus_folder(config).glob("fold_*") if path.is_dir()])


def assign(table: pd.DataFrame, config: DatasetConfig, number: int) -> tuple[pd.Series, tuple[str, ...]]:
    """The part of each row in fold `number` (train, dev, test, or "": in no list), and what did not match."""
    folder = _corpus_folder(config)
    naming = getattr(importlib.import_module(f"melt_ser.corpora.readers.{config.reader}"), "NAMING", None)
    part_of: dict[str, str] = {}
    twice: list[str] = []
    for word, part in PARTS.items():
        for path in _listed(folder / f"fold_{number}", f"{folder.name}_{word}_fold_{number}", part):
            name = _name(path, naming).casefold()
            if part_of.setdefault(name, part) != part:
                twice.append(f"'{name}' in both {part_of[name]} and {part}")
    if twice:
        raise InputError(
            f"EmoBox's lists in {folder / f'fold_{number}'} have {_utterances(len(twice))} in two parts (such as "
            f"{twice[0]}); names that are not unique cannot be matched: choose another dataset.protocol."
        )
    names = table["utterance"] if naming else table["audio"].map(lambda audio: PurePosixPath(audio).stem)
    names = names.str.casefold()
    parts = names.map(part_of).fillna("").astype(str)
    files = table["audio"][parts != ""].groupby(names).nunique()
    alike = files.index[files > 1]
    if len(alike):
        raise InputError(
            f"{_utterances(len(alike))} of EmoBox's fold {number} each fit several files of '{config.name}' (such as "
            f"'{alike[0]}', {files[alike[0]]} files): give the files names of their own, or choose another "
            f"dataset.protocol."
        )
    where = f"fold {number} of EmoBox"
    notes = []
    unknown = sorted(part_of.keys() - set(names))
    if unknown:
        notes.append(
            f"{len(unknown)} of the {len(part_of)} utterances in {where} are not among those of '{config.name}' that "
            f"are used here (such as {unknown[0]})."
        )
    unlisted = table.loc[parts == "", "utterance"]
    if len(unlisted):
        notes.append(
            f"{len(unlisted)} utterances of '{config.name}' are in no list of {where} and are left out of it "
            f"(such as {unlisted.min()})."
        )
    return parts, tuple(notes)


def _name(path: PurePosixPath, naming: Naming | None) -> str:
    """The utterance that our reader makes of one of EmoBox's paths; the whole path where it would not use it."""
    if naming is None:
        return path.stem
    try:
        understood = naming.understand(path)
    except Unused:
        understood = None
    return understood["utterance"] if understood else str(path)


def _utterances(number: int) -> str:
    return f"{number} utterance{'s' if number > 1 else ''}"


def _corpus_folder(config: DatasetConfig) -> Path:
    if config.emobox is None:
        raise SetupError("EmoBox's folds need its lists: set dataset.emobox=<a checkout of github.com/emo-box/EmoBox>.")
    data = Path(config.emobox).expanduser() / "data"
    name = re.sub(r"[^a-z0-9]", "", config.name.lower())  # crema_d is cremad there
    if not data.is_dir():
        raise SetupError(f"There is no folder {data}: dataset.emobox is the top folder of an EmoBox checkout.")
    if not (data / name / "fold_1").is_dir():
        corpora = [path.parent.name for path in data.glob("*/fold_1")]
        raise SetupError(f"EmoBox in {data} has no folds of '{name}'; {did_you_mean(name, corpora)}")
    return data / name


def _listed(folder: Path, name: str, part: str) -> list[PurePosixPath]:
    """The paths of one list; none where EmoBox has no dev list."""
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
        raise InputError(f"{path} is not a list of EmoBox ({type(error).__name__}: {error}).") from None
