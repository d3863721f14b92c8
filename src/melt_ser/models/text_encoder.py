"""Load the text encoder that stands beside a backbone of speech."""

from __future__ import annotations

import functools
from pathlib import Path

from melt_ser.config import BackboneConfig
from melt_ser.models.checkpoint_files import TEXT_SETTINGS, naming_settings, weights_digest
from melt_ser.models.families.text import TextBackbone, load_backbone
from melt_ser.models.text_vectors import TextVectors


def text_vectors(backbone: BackboneConfig) -> TextVectors | None:
    """Return the text encoder of `backbone.text`, or None without one; raise SetupError if it cannot be read.

    The folds and trials of a process share it, and with it the vectors that it has computed.
    """
    settings = backbone.text_encoder
    if settings is None:
        return None
    assert settings.checkpoint is not None
    with naming_settings(TEXT_SETTINGS):
        return _shared(settings.checkpoint, settings.revision, weights_digest(settings))


def saved_text_vectors(folder: Path) -> TextVectors:
    """Return the text encoder in a folder of `save_model`; raise SetupError if it cannot be read."""
    return _load(str(folder), None)


@functools.lru_cache(maxsize=1)
def _shared(checkpoint: str, revision: str | None, digest: str | None) -> TextVectors:
    return _load(checkpoint, revision)


def _load(checkpoint: str, revision: str | None) -> TextVectors:
    settings = BackboneConfig(name="text", family="text", checkpoint=checkpoint, revision=revision)
    encoder = load_backbone(settings, seed=0)
    assert isinstance(encoder, TextBackbone)
    return TextVectors(encoder, encoder.tokenise)
