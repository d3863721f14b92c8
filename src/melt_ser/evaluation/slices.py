"""Score a model by speaker, gender, session, language, intensity and length, to show its weaknesses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from melt_ser.evaluation.metrics import class_indices, unweighted_accuracy, weighted_accuracy
from melt_ser.evaluation.results import Slice
from melt_ser.evaluation.statistics import Names, count_per_unit

COLUMNS = ("speaker", "gender", "session", "language", "intensity")
MOST_VALUES = 200  # slices for one column; MELD has more dialogues


def slices(table: pd.DataFrame, reference: Names, prediction: Names, classes: Sequence[str]) -> list[Slice]:
    """Return a slice for each value of each column with two or more values, largest first.

    Rows without a value, and those beyond the 200 largest slices, form one slice with the value None. So the `n` of
    each column sum to all utterances. The UA of a slice is the mean over the classes that occur in it.

    table: the scored rows of the corpus table, in the order of reference and prediction.
    reference, prediction: names of classes, (utterances,).
    classes: all names.

    Raises InputError for a name that is not in `classes`.
    """
    cells = class_indices(reference, classes, "reference") * len(classes)
    cells += class_indices(prediction, classes, "predicted")
    kinds = {name: table[name].astype(object).where(table[name] != "") for name in COLUMNS}
    rows = []
    for name, values in (kinds | {"duration": duration_thirds(table["duration"])}).items():
        counts = values.value_counts().sort_index(kind="stable").sort_values(ascending=False, kind="stable")
        if len(counts) < 2:
            continue
        largest = counts.index[:MOST_VALUES]
        of_row = pd.Index(largest).get_indexer(pd.Index(values))
        of_row = np.where(of_row < 0, len(largest), of_row).astype(np.int64)
        confusions = count_per_unit(cells, len(classes) ** 2, of_row)
        confusions = confusions.reshape(-1, len(classes), len(classes))
        accuracies = unweighted_accuracy(confusions), weighted_accuracy(confusions)
        for value, confusion, ua, wa in zip([*largest, None], confusions, *accuracies, strict=False):
            rows.append(Slice(by=name, value=value, n=int(confusion.sum()), ua=float(ua), wa=float(wa)))
    return rows


def mean_slices(of_models: Sequence[list[Slice]]) -> list[Slice]:
    """Return the means of several models' slices; the models answered the same utterances."""
    means = []
    for alike in zip(*of_models, strict=True):
        ua, wa = np.mean([(part.ua, part.wa) for part in alike], axis=0).tolist()
        means.append(Slice(alike[0].by, alike[0].value, alike[0].n, ua, wa))
    return means


def duration_thirds(seconds: pd.Series) -> pd.Series:
    """Return the third of each utterance by duration, named by its bounds; one name if all durations are equal."""
    low, high = seconds.quantile(1 / 3), seconds.quantile(2 / 3)
    third = 1 * (seconds > low).to_numpy() + (seconds > high).to_numpy()
    names = np.asarray([f"up to {low:.2f} s", f"{low:.2f} to {high:.2f} s", f"over {high:.2f} s"], dtype=object)
    return pd.Series(names[third], seconds.index).where(seconds.notna())
