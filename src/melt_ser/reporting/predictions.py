"""What runs answered: the tables beside their results."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from melt_ser.core.errors import InputError
from melt_ser.reporting.collect import Evaluation, Run


def read_predictions(run: Run, row: Evaluation) -> pd.DataFrame:
    """The predictions of a result row; InputError where they are not there or not sound."""
    columns: dict[str, type] = {"utterance": str, "reference": str} | dict.fromkeys(row["classes"], float)
    return _read(run.folder / row["predictions"], columns)


def read_groups(run: Run, row: Evaluation, utterances: pd.Series) -> pd.Series:
    """What is resampled as a whole with each utterance: its speaker, or itself where the result knows no groups."""
    if not row.get("groups"):
        return utterances
    path = run.folder / row["groups"]
    table = _read(path, {"utterance": str, "group": str})
    if not table["utterance"].is_unique or not utterances.isin(table["utterance"]).all():
        raise InputError(f"{path} does not have each utterance once")
    return utterances.map(table.set_index("utterance")["group"])


def _read(path: Path, columns: dict[str, type]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=columns | {"prediction": str}, keep_default_na=False)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"{path} cannot be read: {reason}") from None
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise InputError(f"{path} has no column '{missing[0]}'")
    return table
