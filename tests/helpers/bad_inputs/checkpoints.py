"""Folders of weights to start from."""

from __future__ import annotations

import functools
import json
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from bad_inputs import Expected, kept_folder, kind
from bad_inputs.corpora import refused, train
from melt_ser.models.export import save_model
from small_models import small_classifier
from small_runs import corpus


@functools.cache
def _original() -> Path:
    folder = kept_folder()
    save_model(small_classifier("hubert"), folder / "model")
    return folder / "model"


def checkpoint(folder: Path) -> Path:
    """A good checkpoint of HuBERT's family, to be spoilt."""
    return Path(shutil.copytree(_original(), folder / "checkpoint"))


def started_from(folder: Path, path: Path, *more: str) -> list[str]:
    return train(corpus(folder / "corpus"), f"backbone.checkpoint={path}", *more)


class _Exploit:
    """Unpickled without care, it makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.target),)


def pickled(path: Path, exploit: Path | None = None) -> None:
    """Put a pickle in the place of the safetensors."""
    weights: dict[str, object] = dict(load_file(path / "model.safetensors"))
    if exploit is not None:
        weights["exploit"] = _Exploit(exploit)
    torch.save(weights, path / "pytorch_model.bin")
    (path / "model.safetensors").unlink()


@kind
def a_checkpoint_without_weights(folder: Path) -> Expected:
    path = checkpoint(folder)
    (path / "model.safetensors").unlink()
    return refused(started_from(folder, path), "checkpoint has no weights (model.safetensors)", code=2)


@kind
def an_empty_checkpoint(folder: Path) -> Expected:
    (folder / "checkpoint").mkdir()
    return refused(started_from(folder, folder / "checkpoint"), "checkpoint has no weights (model.safetensors)", code=2)


@kind
def a_checkpoint_that_is_not_there(folder: Path) -> Expected:
    return refused(started_from(folder, folder / "nowhere"), "nowhere does not exist", code=2)


@kind
def a_checkpoint_of_another_family(folder: Path) -> Expected:
    path = checkpoint(folder)
    settings = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**settings, "model_type": "wavlm"}))
    return refused(started_from(folder, path), "set backbone.family=wavlm", code=2)


@kind
def a_checkpoint_of_another_architecture(folder: Path) -> Expected:
    path = checkpoint(folder)
    settings = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**settings, "model_type": "bert"}))
    return refused(started_from(folder, path), "is a 'bert' model; choose a checkpoint of", code=2)


@kind
def a_configuration_that_is_not_json(folder: Path) -> Expected:
    path = checkpoint(folder)
    (path / "config.json").write_text("{")
    return refused(started_from(folder, path), "config.json cannot be read", code=2)


@kind
def truncated_safetensors(folder: Path) -> Expected:
    path = checkpoint(folder)
    content = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(content[: len(content) // 2])
    return refused(started_from(folder, path), "model.safetensors cannot be read", "get them again", code=2)


@kind
def safetensors_with_nan(folder: Path) -> Expected:
    path = checkpoint(folder)
    weights = load_file(path / "model.safetensors")
    name = next(name for name in weights if name.endswith("k_proj.weight"))
    weights[name][0, 0] = float("nan")
    save_file(weights, path / "model.safetensors", {"format": "pt"})
    return refused(started_from(folder, path), "model.safetensors have NaN or infinite values in", code=2)


@kind
def a_pickle_under_the_name_of_safetensors(folder: Path) -> Expected:
    path = checkpoint(folder)
    pickled(path)
    (path / "pytorch_model.bin").rename(path / "model.safetensors")
    return refused(started_from(folder, path), "model.safetensors cannot be read", code=2)


@kind
def a_pickle_alone(folder: Path) -> Expected:
    path = checkpoint(folder)
    pickled(path)
    return refused(started_from(folder, path), "only as a pickled file", "backbone.allow_pickle=true", code=2)


@kind
def a_pickle_that_is_allowed(folder: Path) -> Expected:
    path = checkpoint(folder)
    pickled(path)
    return Expected(started_from(folder, path, "backbone.allow_pickle=true"), 0, ["result: "])


@kind
def a_malicious_pickle(folder: Path) -> Expected:
    """It is neither run where pickles are refused ..."""
    path = checkpoint(folder)
    pickled(path, folder / "exploited")
    return _never_run(folder, path)


@kind
def a_malicious_pickle_that_is_allowed(folder: Path) -> Expected:
    """... nor where they are allowed."""
    path = checkpoint(folder)
    pickled(path, folder / "exploited")
    return _never_run(folder, path, "backbone.allow_pickle=true")


def _never_run(folder: Path, path: Path, *more: str) -> Expected:
    def not_exploited() -> None:
        assert not (folder / "exploited").exists()

    return Expected(started_from(folder, path, *more), 2, ["pytorch_model.bin"], not_exploited)


@kind
def a_checkpoint_without_its_configuration(folder: Path) -> Expected:
    path = checkpoint(folder)
    (path / "config.json").unlink()
    return refused(started_from(folder, path), "checkpoint has no config.json", code=2)
