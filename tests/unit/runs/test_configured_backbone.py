"""The layers that a run keeps: those below the hidden state that its head reads, if any of them learns."""

from __future__ import annotations

import pytest

from melt_ser.cli.compose import load_config
from melt_ser.core.errors import SetupError
from melt_ser.runs.fold import configured_backbone
from small_runs import SMALL

TWO_LAYERS = (*SMALL, "backbone.architecture.num_hidden_layers=2")


def layers_of(*settings: str) -> int:
    """Return the number of layers of a run's backbone."""
    return configured_backbone(load_config(*TWO_LAYERS, *settings)).number_of_layers


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ((), 2),
        (("head.layers=1",), 1),
        (("head.layers=0",), 1),
        (("head.layers=2",), 2),
        (("head.layers=weighted",), 2),
        (("backbone.layers=1",), 1),
        (("trainer=frozen", "head.layers=1"), 2),  # the cached features serve every head
    ],
)
def test_layers_above_the_state_that_the_head_reads_are_left_out_if_layers_learn(settings, kept):
    assert layers_of(*settings) == kept


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("head.layers=3",), "head.layers=3, but the backbone has the states 0 to 2"),
        (("backbone.layers=3",), "backbone.layers=3, but the backbone has 2 layers"),
        (("head.layers=1", "trainer.freeze=2"), "trainer.freeze=2, but layers 1 to 1 are used; see head"),
        (("head.layers=1", "trainer.freeze=-2"), "trainer.freeze=-2, but layers 1 to 1 are used; "),
        (("trainer=lora", "head.layers=1", "trainer.freeze=1"), "trainer.freeze=1 leaves no layer for adapters"),
    ],
)
def test_layers_that_are_not_there_are_one_sentence(settings, message):
    with pytest.raises(SetupError, match=message):
        layers_of(*settings)
