"""Pool the frames of each utterance, except padded ones, to one vector.

Every pooling maps frames, (batch, frames, features), and their mask, (batch, frames), to
(batch, features * `multiplier`). A fixed pooling has no weights, so its output for a frozen backbone can be cached.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

MINIMUM_VARIANCE = 1e-6  # keeps the gradient of a root finite for one frame, or for equal frames


class MeanPooling(nn.Module):
    """The mean over an utterance's frames."""

    multiplier = 1
    is_fixed = True

    def __init__(self, features: int) -> None:
        super().__init__()

    def forward(self, frames: Tensor, frame_mask: Tensor) -> Tensor:
        total = frames.masked_fill(~frame_mask[:, :, None], 0.0).sum(dim=1)
        return total / frame_mask.sum(dim=1, keepdim=True)


class StatisticsPooling(MeanPooling):
    """The mean and the standard deviation over an utterance's frames, side by side.

    Snyder et al., "X-vectors", ICASSP 2018.
    """

    multiplier = 2

    def forward(self, frames: Tensor, frame_mask: Tensor) -> Tensor:
        mean = super().forward(frames, frame_mask)
        variance = super().forward((frames - mean[:, None, :]).square(), frame_mask)
        return torch.cat([mean, torch.sqrt(variance + MINIMUM_VARIANCE)], dim=-1)


class AttentionPooling(nn.Module):
    """A weighted mean; the weight of a frame is the softmax of a learned linear score.

    Safari, India & Hernando, "Self-attention encoding and pooling for speaker recognition", Interspeech 2020.
    """

    multiplier = 1
    is_fixed = False

    def __init__(self, features: int) -> None:
        super().__init__()
        self.score = nn.Linear(features, 1)

    def forward(self, frames: Tensor, frame_mask: Tensor) -> Tensor:
        return weighted_mean(frames, attention_weights(self.score(frames), frame_mask))


class AttentiveStatistics(nn.Module):
    """The weighted mean and the weighted standard deviation, side by side; scores by a two-layer network.

    Okabe, Koshinaka & Shinoda, "Attentive statistics pooling for deep speaker embedding", Interspeech 2018.
    """

    multiplier = 2
    is_fixed = False

    def __init__(self, features: int, hidden: int = 128) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(features, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def forward(self, frames: Tensor, frame_mask: Tensor) -> Tensor:
        weights = attention_weights(self.score(frames), frame_mask)
        mean = weighted_mean(frames, weights)
        variance = weighted_mean((frames - mean[:, None, :]).square(), weights)
        return torch.cat([mean, torch.sqrt(variance + MINIMUM_VARIANCE)], dim=-1)


def attention_weights(scores: Tensor, frame_mask: Tensor) -> Tensor:
    """Turn scores, (batch, frames, 1), into weights: 0 on padded frames, with a sum of 1 over the others."""
    return scores.masked_fill(~frame_mask[:, :, None], float("-inf")).softmax(dim=1)


def weighted_mean(frames: Tensor, weights: Tensor) -> Tensor:
    """Weight (batch, frames, features) by (batch, frames, 1) and sum over the frames: return (batch, features)."""
    return (frames * weights).sum(dim=1)


Pooling = MeanPooling | AttentionPooling | AttentiveStatistics

POOLINGS: dict[str, type[Pooling]] = {
    "mean": MeanPooling,
    "statistics": StatisticsPooling,
    "attention": AttentionPooling,
    "attentive_statistics": AttentiveStatistics,
}
