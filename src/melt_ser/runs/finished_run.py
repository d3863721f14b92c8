"""A finished run in Python: its result, its predictions as tables, and its model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import pandas as pd

from melt_ser.config import ScorePrecision
from melt_ser.core.console import say
from melt_ser.core.errors import SetupError, did_you_mean
from melt_ser.core.vocabulary import reads_words
from melt_ser.evaluation.labelling import Model
from melt_ser.evaluation.results import ENSEMBLE, Evaluation, RatingScore
from melt_ser.models.checkpoint_files import CONFIG, DESCRIPTION
from melt_ser.models.hub_model import fetch_models, is_on_hub
from melt_ser.runs.folder import model_folders, read_result
from melt_ser.runs.predictions import read_prediction_table

Row = TypeVar("Row", Evaluation, RatingScore)


class Run:
    """A finished run: its `folder`, and its `result`, the content of `result.json` (see docs/results.md).

    The methods give tables of one evaluation: of the test corpus `corpus` (by default the first that was scored), and
    of one `fold`: a number, or by default all folds together. On another corpus than its own, a run with several folds
    has a mean over their models by default, and "ensemble" is the mean of their probabilities. Answers are chosen among
    the classes of the test corpus (closed). The methods raise SetupError for an unknown corpus or fold.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Read a run; raises SetupError if `folder` holds no finished run, InputError if the result is damaged."""
        self.folder = Path(folder)
        self.result = read_result(self.folder)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def warnings(self) -> list[str]:
        """Return sentences to know before quoting the numbers."""
        return self.result.warnings

    @property
    def classes(self) -> list[str]:
        """Return the classes that the model answers."""
        return self.result.train.classes

    @property
    def corpora(self) -> list[str]:
        """Return the test corpora that were scored."""
        scored = [row.corpus for row in self.result.evals] + [row.corpus for row in self.result.ratings]
        return list(dict.fromkeys(scored))

    def predictions(self, corpus: str | None = None, fold: int | str | None = None) -> pd.DataFrame:
        """Return a row for each test utterance; with a mean over models, one for each utterance and model.

        The columns are utterance, file, speaker, fold (of the model), reference, prediction, correct, and a probability
        for each class; files of older runs lack file, speaker, fold and correct. `prediction` is the most probable
        class of those in the test corpus. A model without classes has no reference, prediction and correct; attributes
        have the columns <attribute>_reference and <attribute>. Raises InputError if the file is damaged.
        """
        if not self.classes:
            rated = self._row(self.result.ratings, corpus, fold)
            return read_prediction_table(self.folder / rated.predictions, [])
        row = self._evaluation(corpus, fold)
        table = read_prediction_table(self.folder / row.predictions, [*self.classes, *row.classes])
        table["prediction"] = table[row.classes].idxmax(axis="columns")
        if "correct" in table:
            table["correct"] = table["prediction"] == table["reference"]
        return table

    def confusion(self, corpus: str | None = None, fold: int | str | None = None) -> pd.DataFrame:
        """Return the number of utterances by reference (rows) and prediction (columns), or its mean over models."""
        row = self._evaluation(corpus, fold)
        table = pd.DataFrame(row.confusion, index=row.classes, columns=row.classes)
        return table.rename_axis(index="reference", columns="prediction")

    def calibration(self, corpus: str | None = None, fold: int | str | None = None) -> pd.DataFrame:
        """Return the calibration curve: mean confidence, accuracy (both 0 to 1) and number n of each bin of answers."""
        calibration = self._evaluation(corpus, fold).calibration
        points = [] if calibration is None else msgspec.to_builtins(calibration.curve)
        return pd.DataFrame(points, columns=["confidence", "accuracy", "n"])

    def slices(self, corpus: str | None = None, fold: int | str | None = None) -> pd.DataFrame:
        """Return n, UA and WA (0 to 1) by speaker, gender and the like."""
        slices = msgspec.to_builtins(self._evaluation(corpus, fold).slices or [])
        return pd.DataFrame(slices, columns=["by", "value", "n", "ua", "wa"])

    def _evaluation(self, corpus: str | None, fold: int | str | None) -> Evaluation:
        """Return the first matching row of the result; rows over all folds stand before those of single folds."""
        return self._row(self.result.evals, corpus, fold)

    def _row(self, rows: Sequence[Row], corpus: str | None, fold: int | str | None) -> Row:
        """Return the first matching row of these; see `_evaluation`."""
        name = self.corpora[0] if corpus is None else corpus
        if name not in self.corpora:
            raise SetupError(f"{self.folder} was not scored on '{name}'; {did_you_mean(name, self.corpora)}")
        rows = [row for row in rows if row.corpus == name]
        if not rows:
            raise SetupError(f"{self.folder} has no scores of classes on '{name}'; its scores are in result.ratings.")
        for row in rows:
            if fold is None or row.fold == fold:
                return row
        folds = dict.fromkeys(row.fold for row in rows if isinstance(row.fold, int) or row.fold == ENSEMBLE)
        has = f"choose from: {', '.join(map(str, folds))}" if folds else "it has none"
        raise SetupError(f"{self.folder} has no fold {fold} of '{name}'; {has}.")


def load_model(
    folder: Path, fold: int | None = None, device: str = "auto", family: str | None = None, precision: str = "fp32"
) -> Model:
    """Load the model of a finished run, of one of its model folders, or of hub:<owner>/<name>, which `push` has filled.

    The model of a run with several folds answers with the mean of their probabilities. `fold` chooses one of them.
    `device` is auto, cpu, cuda or cuda:<number>. `family` is imported: the module of the user's own that the model was
    trained with. `precision` is the number format in which it computes: fp32, tf32 (on a CUDA GPU) or bf16. Raises
    SetupError if there is no such run, model, device, module or precision.
    """
    from melt_ser.evaluation.inference import computing_in  # imports torch
    from melt_ser.models.export import load_model as load_classifier
    from melt_ser.models.export import share_backbones
    from melt_ser.models.families import find_family
    from melt_ser.training.device import make_accelerator

    if precision not in list(ScorePrecision):
        raise SetupError(f"precision is {', '.join(ScorePrecision)}, not '{precision}'.")
    folders = _chosen_models(folder, fold)
    _refuse_words(folder, folders[0])
    if family is not None:
        find_family(family, "--family (family= in Python)")
    target = make_accelerator(device).device
    if len(folders) > 1:
        say(
            f"note: {folder} has {len(folders)} folds; each answer is the mean of the probabilities of their models. "
            "--fold (fold= in Python) chooses one. Each recording of the run's own corpus was in the training of all "
            "but one of them; the answers of the model that has not heard it are in predictions/ in the run folder."
        )
    with computing_in(ScorePrecision(precision), target):  # so that a device without it is told at once
        classifiers = share_backbones(load_classifier(one, target) for one in folders)
    return Model(classifiers, ScorePrecision(precision))


def _refuse_words(folder: Path, model: Path) -> None:
    """Raise SetupError if a model reads words: a recording alone does not give them."""
    from melt_ser.models.description import read_description  # imports torch

    if not (model / DESCRIPTION).is_file():
        return
    if reads_words(read_description(model)):
        raise SetupError(
            f"{folder} reads the words of an utterance, which a recording alone does not give; score it with evaluate, "
            "on a corpus whose table has a column text: python -m melt_ser.evaluate <run> dataset=<name>."
        )


def _chosen_models(folder: Path, fold: int | None) -> list[Path]:
    """Return the folders of the model of one fold, or of all models; SetupError if there is no such fold."""
    is_model = (folder / DESCRIPTION).is_file() or (folder / CONFIG).is_file()
    models: dict[int | None, Path] = {None: folder} if is_model else _models(folder)
    if fold is None:
        return list(models.values())
    if is_model or (is_on_hub(folder) and None in models):
        raise SetupError(f"{folder} holds one model; give the folder of its run, or leave out fold={fold}.")
    if fold not in models:
        numbers = ", ".join(str(number) for number in models if number is not None)
        raise SetupError(f"{folder} has no fold {fold}; {f'choose from: {numbers}' if numbers else 'it has none'}.")
    return [models[fold]]


def _models(folder: Path) -> dict[int | None, Path]:
    """Return the models of a run, here or on the hub, by the number of their fold."""
    return fetch_models(folder) if is_on_hub(folder) else dict(model_folders(folder, read_result(folder)))
