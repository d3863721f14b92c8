"""The stages of a classifier at which its frozen first part may end."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """The part of a model that is frozen and draws nothing at random, so that its output depends on the clip alone.

    Each member says which features of a clip the frozen part returns, and which modules follow it.
    """

    nothing = "nothing"
    """(samples,): the waveform itself. The whole model follows."""

    convolution = "convolution"
    """(frames, channels): the output of the waveform encoder. Projection, positions, transformer and head follow."""

    layers = "layers"
    """(frames, features): the input of the lowest learning layer. The layers from there on and the head follow."""

    states = "states"
    """(frames, states, features): all hidden states that the head reads. The head follows."""

    pooled = "pooled"
    """(1, states, features): the means of these states. The head follows: mean pooling commutes with the layer sum."""
