"""Results by speaker, gender, session, language, intensity and length: where a model is good and where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from melt_ser.evaluation.metrics import class_indices, unweighted_accuracy, weighted_accuracy
from melt_ser.evaluation.statistics import Names, count_per_unit

COLUMNS = ("speaker", "gender", "session", "language", "intensity")
MOST_VALUES = 200  # of a kind; MELD has more dialogues


def slices(table: pd.DataFrame, reference: Names, prediction: Names, classes: Sequence[str]) -> list[dict[str, Any]]:
    """`{by, value, n, ua, wa}` for each value of each column that has two or more, largest first.

    `table` is the corpus table's rows that were scored, in the order of reference and prediction. Whatever has no
    value, and all but the 200 largest, is one slice with the value None, so that the `n` of each kind sum to all
    utterances. The UA of a slice is over the classes that occur in it.
    """
    cells = class_indices(reference, classes, "reference") * len(classes)
    cells += class_indices(prediction, classes, "predicted")
    kinds = {name: table[name].astype(object).where(table[name] != "") for name in COLUMNS}
    found = []
    for name, values in (kinds | {"duration": duration_thirds(table["duration"])}).items():
        counts = values.value_counts().sort_index(kind="stable").sort_values(ascending=False, kind="stable")
        if len(counts) < 2:
            continue
        kept = counts.index[:MOST_VALUES]
        of_row = pd.Index(kept).get_indexer(pd.Index(values))
        of_row = np.where(of_row < 0, len(kept), of_row).astype(np.int64)
        confusions = count_per_unit(cells, len(classes) ** 2, of_row)
        confusions = confusions.reshape(-1, len(classes), len(classes))
        accuracies = unweighted_accuracy(confusions), weighted_accuracy(confusions)
        for value, confusion, ua, wa in zip([*kept, None], confusions, *accuracies, strict=False):
            found.append({"by": name, "value": value, "n": int(confusion.sum()), "ua": float(ua), "wa": float(wa)})
    return found


def duration_thirds(seconds: pd.Series) -> pd.Series:
    """Each utterance's third by duration, named by its bounds; all in one where no length tells them apart."""
    low, high = seconds.quantile(1 / 3), seconds.quantile(2 / 3)
    third = 1 * (seconds > low).to_numpy() + (seconds > high).to_numpy()
    names = np.asarray([f"up to {low:.2f} s", f"{low:.2f} to {high:.2f} s", f"over {high:.2f} s"], dtype=object)
    return pd.Series(names[third], seconds.index).where(seconds.notna())
