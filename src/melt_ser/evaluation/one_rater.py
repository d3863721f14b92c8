"""The scores of one rater against the others: the ceiling that people set for a system.

Each rating is scored against the other ratings of its utterance: a label against the class that most of the others
chose (no score if that is a tie), a number against their mean. A system that is as good as one rater scores as much
against the raters together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from melt_ser.evaluation.metrics import confusion_matrix, unweighted_accuracy, weighted_accuracy
from melt_ser.evaluation.rating_metrics import ATTRIBUTE_METRICS

LEAST_RATERS = 3  # of an utterance: with fewer, the others are one rater


def score_labels(single: pd.DataFrame, classes: Sequence[str]) -> tuple[dict[str, float | None], int]:
    """Return UA and WA of one rater against the others, and the number of utterances.

    single: a row for each rating, with the columns utterance and class ("" or None: no class of these).
    """
    rated = single[single["class"].isin(list(classes))]
    votes = pd.crosstab(rated["utterance"], rated["class"]).reindex(columns=list(classes), fill_value=0)
    votes = votes[votes.sum(axis=1) >= LEAST_RATERS]
    rated = rated[rated["utterance"].isin(votes.index)]
    if rated.empty:
        return {"ua": None, "wa": None}, 0
    own = rated["class"].map({name: number for number, name in enumerate(classes)}).to_numpy()
    others = votes.loc[rated["utterance"]].to_numpy().copy()
    others[np.arange(len(others)), own] -= 1
    decided = (others == others.max(axis=1, keepdims=True)).sum(axis=1) == 1
    if not decided.any():
        return {"ua": None, "wa": None}, 0
    names = np.array(list(classes), dtype=object)
    confusion = confusion_matrix(list(names[others.argmax(axis=1)[decided]]), list(names[own[decided]]), list(classes))
    values: dict[str, float | None] = {
        "ua": float(unweighted_accuracy(confusion)),
        "wa": float(weighted_accuracy(confusion)),
    }
    return values, int(rated["utterance"][decided].nunique())


def score_numbers(single: pd.DataFrame, attribute: str) -> tuple[dict[str, float | None], int]:
    """Return the metrics of one rater's numbers against the mean of the others, and the number of utterances.

    single: a row for each rating, with the columns utterance and the attribute (NaN: not rated).
    """
    rated = single[single[attribute].notna()]
    groups = rated.groupby("utterance")[attribute]
    rated = rated.assign(count=groups.transform("count"), total=groups.transform("sum"))
    rated = rated[rated["count"] >= LEAST_RATERS]
    if rated.empty:
        return dict.fromkeys(ATTRIBUTE_METRICS), 0
    own = rated[attribute].to_numpy(dtype=np.float64)
    others = (rated["total"].to_numpy(dtype=np.float64) - own) / (rated["count"].to_numpy() - 1)
    values: dict[str, float | None] = {}
    for name, metric in ATTRIBUTE_METRICS.items():
        value = float(metric.value(metric.terms(others, own).sum(axis=0)))
        values[name] = None if np.isnan(value) else value
    return values, int(rated["utterance"].nunique())
