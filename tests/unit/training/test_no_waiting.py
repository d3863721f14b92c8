"""No call of a training step makes the CPU wait for a GPU.

The step runs on torch's device "meta", whose tensors have shapes but no numbers: whatever reads a number (`item`,
`tolist`, `cpu`, a truth value, a selection by mask) is an error there, and would wait on a GPU.
"""

from __future__ import annotations

import contextlib

import pytest
import torch

from melt_ser.config import TrainerConfig
from melt_ser.data.stage import Stage
from melt_ser.training.optimisation import make_optimiser
from small_models import KINDS, batch_of, small_classifier

META = torch.device("meta")
HEADS = ({"layers": "last"}, {"layers": "weighted"}, {"layers": 1, "pooling": "statistics", "standardise": True})


@pytest.fixture
def without_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace autocast, which does not know the device "meta", by nothing."""
    monkeypatch.setattr(torch, "autocast", lambda *arguments, **more: contextlib.nullcontext())


@pytest.mark.usefixtures("without_autocast")
@pytest.mark.parametrize("freeze", ["nothing", "convolution", 1])
@pytest.mark.parametrize("kind", [*KINDS, "w2v_bert"])
def test_a_step_reads_no_number_from_the_device(kind: str, freeze: str | int) -> None:
    for head in HEADS:
        model = small_classifier(kind, **head).to(META)
        model.backbone.freeze(freeze)
        model.train()
        optimiser = make_optimiser(TrainerConfig(), model, scaled=True)  # the fused one does not know the device
        audio, lengths = batch_of(16000, 400, 4321)
        stage = model.frozen_stage(crops=False)
        if stage in (Stage.states, Stage.pooled):
            continue
        features, counts = model.compute_stage(stage, audio.to(META), lengths)
        classes = torch.zeros(3, dtype=torch.int64, device=META)
        logits = model(features, counts, stage)
        shares = torch.zeros(3, len(model.classes), device=META)  # the classes of a batch with mixup
        losses = [torch.nn.functional.cross_entropy(logits, target) for target in (classes, shares)]
        (losses[0] + losses[1]).backward()
        learning = [weight for weight in model.parameters() if weight.requires_grad]
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimiser.step()
        optimiser.zero_grad()


def test_reading_a_number_is_found() -> None:
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        torch.zeros((), device=META).item()
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        torch.zeros(2, device=META).tolist()
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        torch.zeros(2, device=META).cpu()
