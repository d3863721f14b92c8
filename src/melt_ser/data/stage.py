"""The stages of a classifier: the points where its frozen first part may end."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """The part of a model that is frozen and draws nothing at random, so that its output depends on the clip alone.

    The documentation of a member: the shape and content of its features for one clip, and the modules that follow.
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
    """(1, states, features): each state's mean over time. The head follows: its layer sum commutes with the mean."""
