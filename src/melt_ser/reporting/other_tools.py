"""Read the results that nkululeko and EmoBox write; nothing of their code is here.

    nkululeko   <experiment>/results/run_<k>/pred_….csv has the truth and the prediction of each file; …_<epoch>.txt
                has scikit-learn's classification report as JSON, and is read if there is no pred_….csv beside it
    EmoBox      <output>/test_scores/epoch_<n>.txt has the scores of an epoch. Its recipe tests every epoch and chooses
                none, so the epoch with the best UA in valid_scores beside it counts; several folds have their mean

A prediction file gives our own metrics. The scores of EmoBox are its own: UA and WA are defined as ours, but its
macro-F1 is lower if a class is answered that the test part does not have.
Source: nkululeko/reporting/reporter.py of nkululeko 1.14; examples/sb/scoring_metric.py of EmoBox.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melt_ser.core import files
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.labels import common_label_map
from melt_ser.evaluation.metrics import METRICS, confusion_matrix

NKULULEKO, EMOBOX = "nkululeko", "EmoBox"
PREDICTIONS, TEST, VALID = "pred_*.csv", "test_scores", "valid_scores"
SCORE = re.compile(r"Sample \[(\d+)\], Overall (UA|WA|Macro-F1)\s+([\d.]+)")
NAMES = {"UA": "ua", "WA": "wa", "Macro-F1": "macro_f1"}
AGAIN = "give a file or folder as the tool wrote it"


@dataclass(frozen=True)
class OtherResult:
    """A result of another tool on a corpus.

    figures: fractions, by our name of the metric. n: the utterances that were tested. classes: their number, or None.
    answers: the class of each file's stem, if the files are known and each occurs once.
    """

    tool: str
    path: Path
    model: str
    corpus: str
    figures: dict[str, float]
    n: int
    classes: int | None = None
    answers: pd.Series | None = None
    note: str = ""


def read_other(corpus: str, path: Path) -> list[OtherResult]:
    """Return the results in a file, or below a folder, of another tool.

    Raises SetupError if the path is missing, InputError if it has no result that is known, or a damaged one.
    """
    if not path.exists():
        raise SetupError(f"There is no {path} (--beside); give a result file or folder of nkululeko or EmoBox.")
    found = list(_of_file(corpus, path) if path.is_file() else _of_folder(corpus, path))
    if not found:
        raise InputError(
            f"{path} has no result of nkululeko ({PREDICTIONS}, or a text with a classification report) or EmoBox "
            f"({TEST}/epoch_<n>.txt); {AGAIN}."
        )
    return found


def _of_file(corpus: str, path: Path) -> Iterator[OtherResult]:
    if path.suffix == ".csv":
        yield _nkululeko_predictions(corpus, path)
        return
    report = _classification_report(path)
    if report is not None:
        yield _nkululeko_report(corpus, path, report)
    elif SCORE.search(_text(path)):
        figures, n = _emobox_scores(path)
        yield OtherResult(EMOBOX, path, f"{path.parent.parent.name} {path.stem}".strip(), corpus, figures, n)


def _of_folder(corpus: str, folder: Path) -> Iterator[OtherResult]:
    predictions = sorted(folder.rglob(PREDICTIONS))
    yield from (_nkululeko_predictions(corpus, path) for path in predictions)
    read = {path.parent for path in predictions}
    for path in sorted(folder.rglob("*.txt")):
        report = _classification_report(path) if path.parent not in read else None
        if report is not None:
            yield _nkululeko_report(corpus, path, report)
    tests = sorted(one for one in [folder, *folder.rglob(TEST)] if one.name == TEST and one.is_dir())
    if tests:
        yield _emobox_folds(corpus, folder, tests)


def _nkululeko_predictions(corpus: str, path: Path) -> OtherResult:
    table = files.read_csv(path, {"truth": str, "predicted": str}, AGAIN, {"file": str})
    words = common_label_map(pd.concat([table["truth"], table["predicted"]]))
    truth, predicted = (table[column].map(lambda word: words.get(word) or word) for column in ("truth", "predicted"))
    confusion = confusion_matrix(truth, predicted, sorted({*truth, *predicted}))
    figures = {name: float(metric.function(confusion)) for name, metric in METRICS.items()}
    stems = stems_of(table["file"]) if "file" in table else pd.Series(dtype=str)
    answers = truth.set_axis(stems) if len(stems) and stems.is_unique else None
    model = path.stem.removeprefix("pred_")
    return OtherResult(NKULULEKO, path, model, corpus, figures, len(table), truth.nunique(), answers)


def stems_of(paths: pd.Series) -> pd.Series:
    """Return the name of each file without folder and suffix, in lower case."""
    return paths.str.replace("\\", "/").str.rpartition("/")[2].str.replace(r"\.[^.]*$", "", regex=True).str.casefold()


def _classification_report(path: Path) -> dict[str, Any] | None:
    """Return the report in the first line of a text; None if the text has none, like others that nkululeko writes."""
    first = _text(path).partition("\n")[0]
    if '"macro avg"' not in first:
        return None
    try:
        report: dict[str, Any] = json.loads(first)
    except ValueError as error:
        raise InputError(f"{path} has a damaged classification report ({error}); {AGAIN}.") from None
    if not isinstance(report, dict):
        raise InputError(f"{path} has a damaged classification report (no mapping of classes); {AGAIN}.")
    return report


def _nkululeko_report(corpus: str, path: Path, report: dict[str, Any]) -> OtherResult:
    try:
        classes = [value for name, value in report.items() if isinstance(value, dict) and not name.endswith(" avg")]
        occurring = [one for one in classes if one["support"] > 0]  # as in our metrics
        recalls, scores, support = (
            np.array([one[key] for one in occurring]) for key in ("recall", "f1-score", "support")
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} has a damaged classification report ({error}); {AGAIN}.") from None
    figures = {"ua": recalls.mean(), "wa": recalls @ support / support.sum(), "macro_f1": scores.mean()}
    numbers = {name: float(value) for name, value in figures.items()}
    return OtherResult(NKULULEKO, path, path.stem, corpus, numbers, int(support.sum()), len(occurring))


def _emobox_folds(corpus: str, folder: Path, tests: list[Path]) -> OtherResult:
    """Return the mean over the folds, each with the epoch that its dev part chose."""
    chosen = [_chosen_epoch(test) for test in tests]
    scores = [_emobox_scores(path) for path in chosen]
    figures = {name: float(np.mean([one[name] for one, _ in scores])) for name in scores[0][0]}
    n = sum(number for _, number in scores)
    epochs = ", ".join(path.stem.removeprefix("epoch_") for path in chosen)
    many = f"the mean of {len(tests)} folds, epochs" if len(tests) > 1 else "epoch"
    return OtherResult(EMOBOX, folder, folder.absolute().name, corpus, figures, n, note=f"{many} {epochs}")


def _chosen_epoch(test: Path) -> Path:
    """Return the scores of the epoch with the best UA on dev (the first of equals), or of the only epoch."""
    epochs = sorted(test.glob("epoch_*.txt"), key=lambda path: (len(path.name), path.name))
    if len(epochs) == 1:
        return epochs[0]
    on_dev = {path: test.with_name(VALID) / path.name for path in epochs}
    missing = [dev for dev in on_dev.values() if not dev.is_file()]
    if missing or not epochs:
        lacks = f"has {len(epochs)} epochs, and {missing[0]} is missing" if missing else "has no epoch_<n>.txt"
        raise InputError(f"{test} {lacks}; give the file of the epoch that the dev part has chosen.")
    return max(epochs, key=lambda path: _emobox_scores(on_dev[path])[0]["ua"])


def _emobox_scores(path: Path) -> tuple[dict[str, float], int]:
    """Return the figures of an epoch, and the number of utterances."""
    found = SCORE.findall(_text(path))
    figures = {NAMES[name]: float(value) for _, name, value in found}
    if len(figures) < len(NAMES):
        raise InputError(f"{path} lacks scores of EmoBox ({', '.join(NAMES)}); {AGAIN}.")
    return figures, int(found[0][0])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); {AGAIN}.") from None
