"""What runs answered: the tables beside their results."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from melt_ser.errors import InputError
from melt_ser.reporting.collect import Evaluation, Run

TYPES = {"utterance": str, "reference": str, "prediction": str, "group": str}


def read_predictions(run: Run, row: Evaluation) -> pd.DataFrame:
    """The predictions of a result row; InputError where they are not there or not sound."""
    return _read(run.folder / row["predictions"], ["utterance", "reference", *row["classes"]])


def read_groups(run: Run, row: Evaluation, utterances: pd.Series) -> pd.Series:
    """What is resampled as a whole with each utterance: its speaker, or itself where the result knows no groups."""
    if not row.get("groups"):
        return utterances
    table = _read(run.folder / row["groups"], ["utterance", "group"])
    return utterances.map(table.set_index("utterance")["group"])


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=TYPES, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise InputError(f"{path} has no column '{missing[0]}'")
    return table
