"""Runs and backbones as encoders of mteb, the benchmark of embeddings.

    import mteb
    from melt_ser.bridges.mteb import encoder_of_run

    mteb.evaluate(encoder_of_run("runs/wavlm/emodb/seed0-0123456789ab"), tasks=mteb.get_tasks(["CREMA_D"]))

The embedding of a clip is the input of the head's last linear layer: the pooled features, after any hidden layers. A
clip of more than 60 s is cut into parts, and its embedding is their mean, weighted by their lengths. mteb keeps results
by name and revision of a model; the revision is the digest of the weights, so that no result is that of other weights.
Source: github.com/embeddings-benchmark/mteb (version 2), `EncoderProtocol`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash

from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.sound import Waveform
from melt_ser.audio.waveform import pad_together, prepare_waveform
from melt_ser.cli.compose import compose_settings, sentences, typed
from melt_ser.config import Config, HeadConfig
from melt_ser.core.errors import SetupError
from melt_ser.core.memory import memory_advice
from melt_ser.data.stage import Stage
from melt_ser.evaluation.inference import exact_products
from melt_ser.evaluation.labelling import LONGEST_SECONDS, Model, checked_waveform
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.models.families import load_backbone
from melt_ser.models.weights import seeded
from melt_ser.runs.finished_run import load_model
from melt_ser.training.device import make_accelerator


@contextmanager
def needs_mteb() -> Iterator[None]:
    """Raise SetupError if an import of the block fails."""
    try:
        yield
    except ImportError:
        raise SetupError("melt_ser.bridges needs mteb 2: pip install 'melt-ser[mteb]'.") from None


with needs_mteb():
    from mteb.models import ModelMeta
    from mteb.models.abs_encoder import AbsEncoder

PART = round(LONGEST_SECONDS * SAMPLE_RATE)  # samples that are computed at once
CLIPS = 32  # of a batch, mteb's default


class Encoder(AbsEncoder):  # type: ignore[misc]
    """Embed clips with a classifier; mteb calls `encode`."""

    def __init__(self, classifier: SpeechClassifier, name: str) -> None:
        """Prepare to embed. The classifier stays on its device; mteb shows and keeps results under melt_ser/<name>."""
        self.model = classifier.eval()
        self.known: dict[str, np.ndarray] = {}  # by the waveform: tasks share clips, and folds have all of them
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "name": f"melt_ser/{name}",
                "revision": Model([classifier]).digest(),
                "modalities": ["audio"],
                "n_parameters": sum(weight.numel() for weight in classifier.backbone.parameters()),
                "embed_dim": classifier.head.output.in_features,
                "framework": ["PyTorch"],
            }
        )

    def encode(
        self, inputs: Iterable[Mapping[str, Any]], *, batch_size: int = CLIPS, **_: Any
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return the embeddings of clips, (clips, features).

        Args:
            inputs: batches of mteb, which have under `audio` a list of clips: `array`, (samples,) or
                (channels, samples), and `sampling_rate` in Hz.
            batch_size: parts that are computed at once (`encode_kwargs` of mteb.evaluate).

        Raises SetupError if the task has no audio, InputError if a clip is empty or has infinite samples.
        """
        embeddings: list[np.ndarray] = []
        for batch in inputs:
            if "audio" not in batch:
                raise SetupError("An encoder of melt_ser embeds audio alone; choose tasks with the modality 'audio'.")
            waveforms = [_waveform(clip) for clip in batch["audio"]]
            keys = [xxhash.xxh3_128_hexdigest(waveform.data) for waveform in waveforms]
            new = {key: waveform for key, waveform in zip(keys, waveforms, strict=True) if key not in self.known}
            self.known |= zip(new, self._embed(list(new.values()), batch_size), strict=True)
            embeddings += [self.known[key] for key in keys]
        return np.stack(embeddings)

    def _embed(self, waveforms: list[Waveform], batch_size: int) -> list[np.ndarray]:
        """Return the embedding of each waveform, (features,)."""
        parts = [
            (clip, waveform[first : first + PART])
            for clip, waveform in enumerate(waveforms)
            for first in range(0, len(waveform), PART)
        ]
        totals = np.zeros((len(waveforms), self.model.head.output.in_features))
        for first in range(0, len(parts), batch_size):
            clips, cut = zip(*parts[first : first + batch_size], strict=True)
            lengths = np.array([len(part) for part in cut])
            np.add.at(totals, list(clips), self._compute(cut) * lengths[:, None])
        samples = np.array([len(waveform) for waveform in waveforms])[:, None]
        return list((totals / samples).astype(np.float32))

    @torch.no_grad()
    def _compute(self, waveforms: Iterable[Waveform]) -> np.ndarray:
        """Return the embeddings of waveforms of up to a minute, (waveforms, features)."""
        model = self.model
        do_normalize = model.backbone.do_normalize
        audio, lengths = pad_together([prepare_waveform(torch.from_numpy(one), do_normalize) for one in waveforms])
        with exact_products(), memory_advice("give mteb.evaluate encode_kwargs={'batch_size': 4}"):
            output = model.continue_from(Stage.nothing, audio.to(model.backbone.device), lengths)
            embeddings: np.ndarray = model.head.embeddings(output).float().cpu().numpy()
        return embeddings


def _waveform(clip: Mapping[str, Any]) -> Waveform:
    """Return a clip of mteb as mono float32 at 16 kHz, (samples,)."""
    samples = np.asarray(clip["array"], dtype=np.float32)
    return checked_waveform(samples.T, int(clip["sampling_rate"]))


def encoder_of_run(run: str | os.PathLike[str], fold: int | None = None, device: str = "auto") -> Encoder:
    """Return the encoder of a finished run, of one of its model folders, or of "hub:owner/name".

    A run with several folds has a model for each; `fold` chooses one, since a mean of their embeddings means nothing.
    Raises SetupError if there is no such run, model or device.
    """
    model = load_model(Path(run), fold, device)
    if len(model.classifiers) > 1:
        raise SetupError(f"{run} has {len(model.classifiers)} models; choose one with fold=<number>.")
    name = "-".join(Path(str(run).removeprefix("hub:")).parts[-3:])  # backbone, corpus and run id
    return Encoder(model.classifiers[0], name if fold is None else f"{name}-fold{fold}")


def encoder_of_backbone(
    backbone: str = "wavlm_tiny", layers: int | str = "last", device: str = "auto", **settings: Any
) -> Encoder:
    """Return the encoder of a backbone as it was pretrained: the mean of the frames.

    Args:
        backbone: as in `backbone=<name>` of the command line.
        layers: the state that is read, as in `head.layers`; "all" puts the means of all states side by side.
        device: auto, cpu, cuda or cuda:<number>.
        settings: keys of the group `backbone`, such as checkpoint="/models/wavlm".

    Raises SetupError if a setting is wrong or the weights cannot be read.
    """
    with sentences():
        chosen = {"backbone": backbone, **{f"backbone.{key}": value for key, value in settings.items()}}
        config = typed(compose_settings(chosen), Config)
    backbone_model = load_backbone(config.backbone, config.seed).to(make_accelerator(device).device)
    with seeded(0):  # the unused last layer is part of the digest
        classifier = SpeechClassifier(backbone_model, HeadConfig(layers=layers), ["unused"])
    return Encoder(classifier, config.backbone.name if layers == "last" else f"{config.backbone.name}-{layers}")
