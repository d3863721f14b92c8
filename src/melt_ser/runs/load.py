"""Load the model of a finished run."""

from __future__ import annotations

from pathlib import Path

from melt_ser.core.errors import SetupError
from melt_ser.evaluation.labelling import Model
from melt_ser.runs.folder import model_folders, read_result


def load_model(folder: Path, fold: int | None = None, device: str = "auto") -> Model:
    """Load a model from the folder of a finished run, or from one of its model folders.

    `fold` chooses the model of a run with several folds; `device` is auto, cpu, cuda or cuda:<number>. Raises
    SetupError if there is no such run, model or device.
    """
    from melt_ser.models.export import load_model as load_classifier  # with torch
    from melt_ser.training.device import make_accelerator

    model_folder = _model_folder(folder, fold)
    return Model(load_classifier(model_folder, make_accelerator(device).device))


def _model_folder(folder: Path, fold: int | None) -> Path:
    if (folder / "config.json").is_file():
        if fold is not None:
            raise SetupError(f"{folder} holds one model; give the folder of its run, or leave out fold={fold}.")
        return folder
    models = model_folders(folder, read_result(folder))
    if fold is not None:
        chosen = [model for number, model in models if number == fold]
        if not chosen:
            numbers = ", ".join(str(number) for number, _ in models if number is not None)
            raise SetupError(f"{folder} has no fold {fold}; {f'choose from: {numbers}' if numbers else 'it has none'}.")
        return chosen[0]
    if len(models) > 1:
        raise SetupError(
            f"{folder} has {len(models)} folds; choose one model, such as {models[0][1]} "
            f"(in Python also fold={models[0][0]})."
        )
    return models[0][1]
