"""The files of a published classifier, and the names of its outputs. torch is not imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from melt_ser.config import BackboneConfig
from melt_ser.core.errors import SetupError, one_line
from melt_ser.core.package import expanded
from melt_ser.models.checkpoint_config import MODEL_TYPES, family_of, read_json
from melt_ser.models.checkpoint_files import CONFIG, find_checkpoint, naming_settings, weights_digest

DIMENSIONS = {"arousal", "activation", "valence", "dominance"}
NAMES = {
    ", or try a small encoder of the package: backbone=wavlm_tiny": "",
    "backbone.checkpoint": "run",
    "backbone.revision": "revision",
    "backbone.allow_pickle": "classifier.allow_pickle",
}
"""The settings that errors about a checkpoint name, and those of `evaluate` in their place."""


@dataclass(frozen=True)
class PublishedCheckpoint:
    """The files of a published classifier.

    backbone: its family, and where it is from.
    folder: the files.
    described: the content of config.json.
    labels: the names of its outputs, in their order.
    weights: "commit:<hash>" on the hub, or "sha256:<hash>" over the files.
    """

    backbone: BackboneConfig
    folder: Path
    described: dict[str, Any]
    labels: list[str]
    weights: str


def read_labels(checkpoint: str, revision: str | None = None) -> list[str]:
    """Return the labels of a published classifier, a hub id or a folder; no weights are downloaded for it.

    Raises SetupError as `find_published` does, except for errors of the weights.
    """
    with naming_settings(NAMES):
        folder = _folder_of_config(BackboneConfig(checkpoint=checkpoint, revision=revision))
        labels, _ = _checked(read_json(folder / CONFIG), folder / CONFIG, checkpoint)
    return labels


def find_published(checkpoint: str, revision: str | None = None, allow_pickle: bool = False) -> PublishedCheckpoint:
    """Find a published classifier, a hub id or a folder; download the files that the cache lacks.

    Raises SetupError if there is none, or if it does not choose one of several emotions.
    """
    with naming_settings(NAMES):
        config = BackboneConfig(checkpoint=checkpoint, revision=revision, allow_pickle=allow_pickle)
        folder = find_checkpoint(config)
        described = read_json(folder / CONFIG)
        labels, config.family = _checked(described, folder / CONFIG, checkpoint)
        weights = weights_digest(config)
    assert weights is not None  # there is a checkpoint
    return PublishedCheckpoint(config, folder, described, labels, weights)


def _folder_of_config(config: BackboneConfig) -> Path:
    """Return a folder that has config.json, and perhaps nothing else of the checkpoint."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    assert config.checkpoint is not None
    if expanded(config.checkpoint).exists():
        return find_checkpoint(config)
    try:
        cached = try_to_load_from_cache(config.checkpoint, CONFIG, revision=config.revision)
        path = (
            cached if isinstance(cached, str) else hf_hub_download(config.checkpoint, CONFIG, revision=config.revision)
        )
    except Exception:  # the errors of the hub's client and of its HTTP library; `find_checkpoint` makes them sentences
        return find_checkpoint(config)
    return Path(path).parent


def _checked(described: dict[str, Any], path: Path, checkpoint: str) -> tuple[list[str], str]:
    """Return labels and family from the content of config.json; SetupError if it is no classifier of emotions."""
    family = family_of(described.get("model_type"))
    if family is None:
        kind = one_line(str(described.get("model_type")))
        raise SetupError(
            f"{checkpoint} is a '{kind}' model; only classifiers on {', '.join(MODEL_TYPES)} can be scored."
        )
    labels = _labels(described, path)
    _check_kind(described, labels, checkpoint)
    return labels, family


def _labels(described: dict[str, Any], path: Path) -> list[str]:
    """Return the names of the outputs; transformers' own names, LABEL_0 and LABEL_1, if config.json has none."""
    names = described.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    expected = [str(number) for number in range(len(names))]
    if (
        not isinstance(names, dict)
        or sorted(names, key=len) != sorted(expected, key=len)
        or set(names) != set(expected)
    ):
        raise SetupError(f"{path}: id2label does not number its labels from 0; correct it.")
    labels = [names[number] for number in expected]
    if not all(isinstance(label, str) and label for label in labels) or len(set(labels)) < len(labels):
        raise SetupError(f"{path}: id2label has a label twice, or one that is no text; correct it.")
    return labels


def _check_kind(described: dict[str, Any], labels: list[str], checkpoint: str) -> None:
    """Raise SetupError for a model that gives dimensions, or that does not choose one of several labels."""
    dimensions = [label for label in labels if label.casefold() in DIMENSIONS]
    if dimensions:
        raise SetupError(
            f"{checkpoint} gives dimensions ({', '.join(dimensions)}), from which no class follows; choose a "
            "classifier of emotions."
        )
    problem = described.get("problem_type") or "single_label_classification"
    if problem != "single_label_classification" or len(labels) < 2:
        told = f"problem_type {one_line(str(problem))}, {len(labels)} labels"
        raise SetupError(f"{checkpoint} does not choose one of several labels ({told}); choose another classifier.")
