"""melt_ser: fine-tune and benchmark speech emotion recognition models.

    import melt_ser

    run = melt_ser.train(dataset="emodb", backbone="wavlm", trainer={"epochs": 3})
    model = melt_ser.load_model(run)
    model.predict("clip.wav")

docs/library.md shows each function. A mistake raises `MeltSerError`; its text is one sentence with the fix. The
logger "melt_ser" reports progress; it is silent until the program configures `logging`. Importing this package is
cheap: torch, pandas and Hydra are imported by the function that needs them.
"""

from __future__ import annotations

import melt_ser.cli.early  # noqa: F401  # first: it watches for Ctrl-C while the rest is imported

# isort: split
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from melt_ser.core.errors import InputError, MeltSerError, OutputError, SetupError
from melt_ser.core.package import __version__

if TYPE_CHECKING:
    import pandas as pd

    from melt_ser.corpora.fold_split import FoldSplit
    from melt_ser.evaluation.labelling import Audio, Model
    from melt_ser.runs.finished_run import Run
    from melt_ser.runs.labelled_corpus import LabelledCorpus

__all__ = [
    "FoldSplit",
    "InputError",
    "LabelledCorpus",
    "MeltSerError",
    "Model",
    "OutputError",
    "Run",
    "SetupError",
    "__version__",
    "compare_runs",
    "load_corpus",
    "load_model",
    "predict",
    "read_runs",
    "train",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())


def train(settings: Mapping[str, Any] | None = None, /, **more: Any) -> Run:
    """Fine-tune a backbone, evaluate it and return the run, as `python -m melt_ser.train` does.

    Settings have the names and values of the command line, as keywords or in a mapping, which may have dotted names:

        train(backbone="wavlm", dataset="csv", seed=1, trainer={"epochs": 3})
        train({"backbone": "wavlm", "dataset": "emodb", "dataset.root": "/data/emodb", "trainer.epochs": 3})

    A text chooses a group's YAML (`dataset="emodb"`), a mapping sets keys of the group (`dataset={"fold": 2}`). The
    same settings are the same run: if it is finished, it is read and not repeated, unless `force=True`.
    Raises MeltSerError with the sentence that the command prints.
    """
    from melt_ser.cli.compose import compose_settings, sentences
    from melt_ser.runs.finished_run import Run
    from melt_ser.runs.run import run

    if not isinstance(settings, Mapping | None):
        raise SetupError(f"The settings are a mapping, such as {{'trainer.epochs': 3}}, not {settings!r}.")
    with sentences():
        return Run(run(compose_settings({**(settings or {}), **more})).parent)


def load_model(
    run: Run | str | os.PathLike[str],
    fold: int | None = None,
    device: str = "auto",
    family: str | None = None,
    precision: str = "fp32",
) -> Model:
    """Load the model of a finished run.

    Args:
        run: a `Run`, the folder of a finished run, one of its model folders, or "hub:owner/name" (docs/sharing.md).
        fold: the number of a fold; by default the models of all folds answer together, with their mean.
        device: auto, cpu, cuda or cuda:<number>.
        family: a module of your own that is the family of the run's backbone (`backbone.family`); it is imported. A
            family of melt_ser needs no name.
        precision: the number format in which the model computes: fp32, tf32 (on a CUDA GPU) or bf16.

    Raises SetupError if there is no such run, model, device, module or precision.
    """
    from melt_ser.runs.finished_run import Run
    from melt_ser.runs.finished_run import load_model as load

    return load(run.folder if isinstance(run, Run) else Path(run), fold, device, family, precision)


def predict(
    model: Model | Run | str | os.PathLike[str],
    audio: Audio,
    sampling_rate: int | None = None,
    window: float | None = None,
) -> pd.DataFrame:
    """Label a waveform, a file, a folder or a list of these with a model or a run; see `Model.predict`.

    Loading a run takes seconds: to label more than once, load its model first.
    """
    from melt_ser.evaluation.labelling import Model

    loaded = model if isinstance(model, Model) else load_model(model)
    return loaded.predict(audio, sampling_rate, window)


def load_corpus(
    name: str, root: str | os.PathLike[str] | None = None, labels: str | Mapping[str, Any] | None = None, **dataset: Any
) -> LabelledCorpus:
    """Read a corpus, verify its audio once, and return its table, its classes and its folds.

    Args:
        name: as in `dataset=<name>` of the command line.
        root: the folder of the release; by default as the command line finds it.
        labels: a label space, as in `labels=<name>`; by default the one that the corpus asks for.
        dataset: keys of the group `dataset`, such as `folds=5` or `table="ours.csv"`. Without `fold`, all folds are
            returned.

    Raises SetupError if the corpus is not there, InputError if its table or labels are not sound.
    """
    from melt_ser.cli.compose import compose_settings, sentences, typed
    from melt_ser.config import Config
    from melt_ser.runs.labelled_corpus import load_labelled

    settings: dict[str, Any] = {"dataset": name, **{f"dataset.{key}": value for key, value in dataset.items()}}
    if root is not None:
        settings["dataset.root"] = os.fspath(root)
    if labels is not None:
        settings["labels"] = labels
    with sentences():
        return load_labelled(typed(compose_settings(settings), Config), every_fold="fold" not in dataset)


def read_runs(*folders: str | os.PathLike[str]) -> pd.DataFrame:
    """Read every finished run below the folders: a row for each run, test corpus, fold and answer set.

    The columns are those of `python -m melt_ser.report <folders> --format csv`; `folder` is the run folder, for `Run`.
    Raises SetupError if a folder is not there.
    """
    from melt_ser.reporting.overview import read_runs as read

    return read([Path(folder) for folder in folders])


def compare_runs(*folders: str | os.PathLike[str]) -> pd.DataFrame:
    """Compare the systems below the folders: each one's distance to the best on each test set, and its significance.

    A system is a set of settings without its seed. The columns are explained in docs/library.md.
    Raises SetupError if a folder is not there.
    """
    from melt_ser.reporting.comparisons import compare_runs as compare

    return compare([Path(folder) for folder in folders])


_CLASSES = {
    "FoldSplit": "melt_ser.corpora.fold_split",
    "LabelledCorpus": "melt_ser.runs.labelled_corpus",
    "Model": "melt_ser.evaluation.labelling",
    "Run": "melt_ser.runs.finished_run",
}


def __getattr__(name: str) -> Any:
    """Import a public class when it is first used."""
    if name not in _CLASSES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_CLASSES[name]), name)


class _Package(ModuleType):
    """This package. Its functions `train` and `predict` stay functions if the verbs of that name are imported too."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
