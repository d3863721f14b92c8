"""Draw the figures of a run, `figures/` in its folder, from its result and its epochs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from itertools import product
from pathlib import Path

from melt_ser.config import FigureFormat
from melt_ser.core import files
from melt_ser.evaluation.rating_scores import DISTRIBUTION
from melt_ser.evaluation.results import RERUN_HINT, Evaluation, RatingScore, Result
from melt_ser.runs.figures import confusion_figure, training_curve_figure
from melt_ser.runs.folder import read_epochs
from melt_ser.runs.rating_figures import attributes_figure, shares_figure
from melt_ser.runs.table import fold_text


def draw_figures(
    folder: Path,
    result: Result,
    form: FigureFormat,
    corpora: Collection[str] | None = None,
    into: Path | None = None,
) -> None:
    """Draw the training curve, if there are epochs, and for each corpus a confusion matrix and its ratings.

    The confusion matrices are those of the answer set closed; their files are named after the predictions. In a run
    with several folds, a single fold has none.

    Args:
        folder: the run folder.
        result: its result.
        form: the format of the files.
        corpora: those with new scores; their old figures are deleted in every format. Figures that are there then
            stay. None: draw all.
        into: the folder for the files; None: `figures` in the run folder.
    """
    into = into or folder / "figures"
    if corpora is not None:
        scored: list[Evaluation | RatingScore] = [*result.evals, *result.ratings]
        _delete_figures(into, {Path(row.predictions).stem for row in scored if row.corpus in corpora})
    rows = [row for row in result.evals if len(result.train.folds) == 1 or not isinstance(row.fold, int)]
    for row in rows:
        path = into / f"confusion_{Path(row.predictions).stem}.{form.value}"
        if row.answer_set == "closed" and (corpora is None or not path.exists()):
            confusion_figure(row, title_of(row), path)
    _draw_ratings(folder, result, form, corpora is None, into)
    path = into / f"training_curve.{form.value}"
    is_probe = any(info.chosen for info in result.train.folds)  # without epochs, like a published classifier
    if not (is_probe or result.is_published) and (corpora is None or not path.exists()):
        epochs = [(info.fold, read_epochs(folder / info.folder)) for info in result.train.folds]
        training_curve_figure(epochs, path, result.train.dev_metric)


def _delete_figures(folder: Path, names: Collection[str]) -> None:
    """Delete the figures of files of predictions, in every format."""
    for kind, name, form in product(("confusion", "ratings", "attributes"), names, FigureFormat):
        (folder / f"{kind}_{name}.{form.value}").unlink(missing_ok=True)


def _draw_ratings(folder: Path, result: Result, form: FigureFormat, anew: bool, into: Path) -> None:
    """Draw a figure of the attributes and one of the shares of votes for each corpus; `anew`: also if it is there."""
    of_file: dict[str, list[RatingScore]] = defaultdict(list)
    for row in result.whole_ratings():
        of_file[row.predictions].append(row)
    for name, rows in of_file.items():
        path = into / f"ratings_{Path(name).stem}.{form.value}"
        if path.exists() and not anew:
            continue
        predictions = files.read_csv(folder / name, {}, RERUN_HINT)
        title = f"{rows[0].corpus}, n = {rows[0].n:,}"
        if rows[0].of == DISTRIBUTION:
            shares_figure(rows[0], predictions, title, path)
            rows, path = rows[1:], into / f"attributes_{Path(name).stem}.{form.value}"
        if rows:
            attributes_figure(rows, predictions, title, path)


def title_of(row: Evaluation) -> str:
    """Return what a confusion matrix shows: "urdu, test, fold 1; answer set closed; n = 96"."""
    part = ", ".join(filter(None, [row.corpus, row.split if row.split != "all" else "whole corpus", fold_text(row)]))
    return f"{part}; answer set {row.answer_set}; n = {row.n:,}"
