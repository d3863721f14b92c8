"""The predictions of runs: the tables next to their results."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from melt_ser.core.errors import InputError
from melt_ser.evaluation.results import EvaluationFields
from melt_ser.reporting.collect import Run


def read_predictions(run: Run, row: EvaluationFields) -> pd.DataFrame:
    """Read the predictions of a result row; InputError if they are missing or not sound."""
    columns: dict[str, type] = {"utterance": str, "reference": str} | dict.fromkeys(row.classes, float)
    return _read(run.folder / row.predictions, columns)


def read_groups(run: Run, row: EvaluationFields, utterances: pd.Series) -> pd.Series:
    """Return the unit of resampling of each utterance: its speaker, or itself if the result has no groups."""
    if not row.groups:
        return utterances
    path = run.folder / row.groups
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
