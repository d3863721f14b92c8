"""How far a frozen model has computed a clip."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    nothing = "nothing"
    convolution = "convolution"
    layers = "layers"
    states = "states"
    pooled = "pooled"
