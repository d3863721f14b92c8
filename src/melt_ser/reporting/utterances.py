"""Read the utterances of runs: their predictions, and their recordings if the corpus is at hand.

Predictions lie next to the results. For recordings, only the index of the corpus is read; no audio is decoded. If the
corpus is no longer in the folder that the run used, the report says that it has no audio.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pandas as pd

from melt_ser.config import DatasetConfig
from melt_ser.core import files
from melt_ser.core.errors import InputError, MeltSerError
from melt_ser.evaluation.results import MEAN, RERUN_HINT, EvaluationFields, Fold
from melt_ser.reporting.collect import Run
from melt_ser.runs.predictions import read_prediction_table


def read_predictions(run: Run, row: EvaluationFields) -> pd.DataFrame:
    """Read the predictions of a result row; InputError if they are missing or not sound."""
    return read_prediction_table(run.folder / row.predictions, row.classes, row.fold)


def read_answers(run: Run, row: EvaluationFields) -> list[pd.DataFrame]:
    """Return the predictions of a result row, a table for each model, with the speaker of each (`group`).

    If a speaker is not known, `group` is empty, and the utterance is the recording, which several models may answer.
    Raises InputError if a file is missing or not sound.
    """
    table = read_predictions(run, row)
    units, are_speakers = _units(run, row, table)
    tables = by_model(table.assign(group=units), row.fold)
    return tables if are_speakers else [table.assign(utterance=table["group"], group="") for table in tables]


def by_model(table: pd.DataFrame, fold: Fold) -> list[pd.DataFrame]:
    """Return the table of each model of a row with this fold, from its predictions; each has an utterance once."""
    if fold == MEAN:
        return [of_model.reset_index(drop=True) for _, of_model in table.groupby("fold", sort=False)]
    if "fold" in table and table["utterance"].duplicated().any():  # parts of EmoBox's folds may share utterances
        table["utterance"] += "#" + table["fold"].astype(str)
    return [table]


def _units(run: Run, row: EvaluationFields, table: pd.DataFrame) -> tuple[pd.Series, bool]:
    """Return the speaker of each prediction and true if all are known, otherwise the recording and false.

    Older results have a file with one of the two.
    """
    utterances = table["utterance"]
    if not row.groups:
        known = "speaker" in table and not table["speaker"].eq("").any()
        return table["speaker"] if known else utterances, known
    path = run.folder / row.groups
    groups = files.read_csv(path, {"utterance": str, "group": str}, RERUN_HINT)
    if not groups["utterance"].is_unique or not utterances.isin(groups["utterance"]).all():
        raise InputError(f"{path} does not have each utterance once; {RERUN_HINT}.")
    return utterances.map(groups.set_index("utterance")["group"]), row.ci_unit == "speaker"


class Clip(NamedTuple):
    """An utterance: `audio` is relative to the root, `start` and `end` are seconds (NaN: the beginning, the end)."""

    audio: str
    start: float
    end: float
    speaker: str
    text: str


@dataclass
class Recordings:
    """A corpus at hand: the folder of its audio, and the clip of each utterance."""

    root: Path
    clips: dict[str, Clip]

    def clip(self, utterance: str) -> Clip | None:
        """Return the clip of an utterance; in older results, a name ends with #<fold> if several models answered it."""
        return self.clips.get(utterance) or self.clips.get(utterance.rpartition("#")[0])


class Corpora:
    """The test corpora of runs; each is read once."""

    def __init__(self) -> None:
        self._by_settings: dict[tuple[str, str], Recordings | None] = {}

    def of(self, run: Run, corpus: str) -> Recordings | None:
        """Return the recordings of a corpus as a run used it; None if they are not at hand."""
        config = run.result.config
        own = corpus == run.result.train.corpus
        settings = config["dataset"] if own else {"root": config["eval"].get("roots", {}).get(corpus)}
        key = (corpus, repr(sorted(settings.items())))
        if key not in self._by_settings:
            self._by_settings[key] = _read_recordings(corpus, settings, own)
        return self._by_settings[key]


def _read_recordings(corpus: str, settings: dict[str, Any], own: bool) -> Recordings | None:
    from melt_ser.corpora.load import read_release
    from melt_ser.corpora.reader import is_in_package

    try:
        config = _typed(settings) if own else _named(corpus, settings["root"])
        if config.repository is not None and config.root is None:
            return None  # reading it might download it from the hub
        if own and not all(is_in_package(one.reader) for one in (config, *config.member_settings.values())):
            return None  # a colleague's result must not import a module by its name
        root, release = read_release(config)
    except (MeltSerError, OSError, ValueError):
        return None
    clips = release.table[list(Clip._fields)].itertuples(index=False, name=None)
    return Recordings(
        root, {utterance: Clip(*clip) for utterance, clip in zip(release.table["utterance"], clips, strict=True)}
    )


def _typed(settings: dict[str, Any]) -> DatasetConfig:
    """Return the dataset settings of a result; ValueError if one is of another type, unknown ones are ignored."""
    needless = ("download", "protocols", "group")
    typed: DatasetConfig = msgspec.convert(
        {key: value for key, value in settings.items() if key not in needless}, DatasetConfig
    )
    return typed


def _named(corpus: str, root: str | None) -> DatasetConfig:
    """Return the settings of the corpus with this name."""
    from hydra.errors import HydraException

    from melt_ser.cli.compose import load_dataset
    from melt_ser.core.errors import SetupError

    try:
        config = load_dataset(corpus)
    except HydraException as error:
        raise SetupError(f"There is no corpus '{corpus}' among the settings.") from error
    config.root = root or config.root
    return config
