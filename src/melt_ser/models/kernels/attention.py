"""Attention of all families: the parameters and results of transformers, in less time.

`use_fast_attention` replaces the forward methods of the attention modules. The parameters keep their names, so
checkpoints load and save as before.

On a GPU, torch's `scaled_dot_product_attention` takes the whole batch; its additive mask holds the padding and WavLM's
gated relative position bias. On a CPU the frames are packed (layers.py) and each utterance attends to its own frames,
so it needs no mask, and its scores stay in the CPU's cache. torch's fused kernel for CPUs has no dropout and no
gradient of the bias. If one of them is needed, this module computes the scores itself, in 60 % of the time of torch's
own fallback (benchmarks/LOG.md).

WavLM's position bias depends only on the distance between two frames. It is looked up for the 2 * frames - 1 distances,
once per forward pass; transformers looks it up for every pair of frames and copies it for every utterance.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from melt_ser.models.kernels.dropout import drop_out
from melt_ser.models.kernels.recording import is_recording

PaddingInfo = Tensor | list[int] | None
"""How a layer learns about padding, in its argument `attention_mask`.

For padded frames, (batch, frames, features): their mask, (batch, frames), or None if nothing is padded. For packed
frames, (1, frames of all, features): the number of frames of each utterance.
"""


def use_fast_attention(encoder: Any) -> None:
    """Replace the attention of every layer of an encoder in place.

    Afterwards call each layer with a `PaddingInfo` as `attention_mask`; WavLM's layers also need `position_bias`.
    """
    for layer in encoder.layers:
        attention = layer.self_attn if hasattr(layer, "self_attn") else layer.attention  # Whisper, the others
        forward = _wavlm_attention if hasattr(attention, "gru_rel_pos_linear") else _attention
        attention.forward = MethodType(forward, attention)


def has_position_bias(encoder: Any) -> bool:
    """Say whether the layers of an encoder share a relative position bias (only in WavLM)."""
    return hasattr(getattr(encoder.layers[0], "attention", None), "rel_attn_embed")


def position_bias(module: Any, frames: int) -> Tensor:
    """Return the bias of frame i's attention to frame j, (heads, i, j); `module` is the first layer's attention."""
    distances = torch.arange(1 - frames, frames, device=module.rel_attn_embed.weight.device)  # j - i
    values = module.rel_attn_embed(module._relative_positions_bucket(distances)).t()
    if is_recording():  # ONNX has no unfold of any size
        order = torch.arange(frames)
        looked_up: Tensor = values[:, order - order[:, None] + frames - 1]
        return looked_up
    bias: Tensor = values.unfold(1, frames, 1).flip(1)
    return bias


def _attention(
    module: Any, hidden_states: Tensor, attention_mask: PaddingInfo = None, **kwargs: Any
) -> tuple[Tensor, None]:
    """Forward pass for wav2vec 2.0, HuBERT, data2vec and Whisper."""
    return _attend(module, hidden_states, attention_mask, None, None), None


def _wavlm_attention(
    module: Any, hidden_states: Tensor, attention_mask: PaddingInfo = None, *, position_bias: Tensor, **kwargs: Any
) -> tuple[Tensor, None, Tensor]:
    """Forward pass for WavLM: every layer gates the same position bias."""
    gate = _gate(module, hidden_states)
    return _attend(module, hidden_states, attention_mask, gate, position_bias), None, position_bias


def _gate(module: Any, hidden_states: Tensor) -> Tensor:
    """Return the weight of the position bias for each frame, (batch, heads, frames, 1).

    See section 3.1 of the WavLM paper.
    """
    projected = module.gru_rel_pos_linear(_heads(module, hidden_states))
    update, reset = projected.view(*projected.shape[:-1], 2, 4).sum(-1).sigmoid().chunk(2, dim=-1)
    gate: Tensor = update * (reset * module.gru_rel_pos_const - 1.0) + 2.0
    return gate


def _heads(module: Any, features: Tensor) -> Tensor:
    """Return (batch, frames, features) as (batch, heads, frames, features of a head)."""
    return features.view(*features.shape[:-1], module.num_heads, -1).transpose(1, 2)


def _attend(
    module: Any, hidden_states: Tensor, padding: PaddingInfo, gate: Tensor | None, bias: Tensor | None
) -> Tensor:
    """Apply projections, attention and output projection; the shape (batch, frames, features) stays.

    Args:
        module: the attention module of transformers.
        hidden_states: (batch, frames, features), or packed frames.
        padding: see `PaddingInfo`.
        gate, bias: see `_whole_batch` and `_each_utterance`.
    """
    queries, keys, values = (
        _heads(module, projection(hidden_states)) for projection in (module.q_proj, module.k_proj, module.v_proj)
    )
    if bias is not None and gate is not None:
        bias, gate = bias.to(queries.dtype), gate.to(queries.dtype)
    dropout = module.dropout if module.training else 0.0
    if isinstance(padding, list):
        attended = _each_utterance(queries, keys, values, padding, gate, bias, dropout)
    else:
        attended = _whole_batch(queries, keys, values, padding, gate, bias, dropout)
    projected: Tensor = module.out_proj(attended)
    return projected


def _whole_batch(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    frame_mask: Tensor | None,
    gate: Tensor | None,
    bias: Tensor | None,
    dropout: float,
) -> Tensor:
    """Attend within a padded batch.

    Args:
        queries, keys, values: (batch, heads, frames, features of a head).
        frame_mask: (batch, frames), true for frames that belong to an utterance; None if nothing is padded.
        gate: (batch, heads, frames, 1), with `bias`, (heads, frames, frames); None except for WavLM.
        dropout: the probability of dropping a weight.

    Returns: (batch, frames, features).
    """
    mask = None if frame_mask is None else frame_mask[:, None, None, :]
    if bias is not None and gate is not None:
        mask = gate * bias if mask is None else (gate * bias).masked_fill(~mask, float("-inf"))
    attended = nn.functional.scaled_dot_product_attention(queries, keys, values, mask, dropout)
    return attended.transpose(1, 2).flatten(2)


def _each_utterance(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    counts: list[int],
    gate: Tensor | None,
    bias: Tensor | None,
    dropout: float,
) -> Tensor:
    """Attend within each utterance of packed frames.

    Args:
        queries, keys, values: (1, heads, frames of all, features of a head).
        counts: the frames of each utterance.
        gate: (1, heads, frames of all, 1), with `bias`, (heads, frames, frames); None except for WavLM.
        dropout: the probability of dropping a weight.

    Returns: packed frames, (1, frames of all, features).
    """
    own_parts = (features[0].split_with_sizes(counts, dim=1) for features in (queries, keys, values))
    gates = [None] * len(counts) if gate is None else gate[0].split_with_sizes(counts, dim=1)
    attended = []
    for query, key, value, own_gate in zip(*own_parts, gates, strict=True):
        own = query.shape[1]
        own_bias = None if bias is None or own_gate is None else own_gate * bias[:, :own, :own]
        attended.append(_one_utterance(query, key, value, own_bias, dropout).transpose(0, 1).flatten(1))
    return torch.cat(attended)[None]


def _one_utterance(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """Attend within one utterance; the shape stays.

    Args:
        query, key, value: (heads, frames, features of a head).
        bias: (heads, frames, frames), may be overwritten; None except for WavLM.
        dropout: the probability of dropping a weight.
    """
    if dropout == 0.0 and (bias is None or not bias.requires_grad):
        mask = None if bias is None else bias[None]
        return nn.functional.scaled_dot_product_attention(query[None], key[None], value[None], mask)[0]
    scale = query.shape[-1] ** -0.5
    if bias is None:
        scores = torch.bmm(query * scale, key.transpose(1, 2))
    else:
        scores = bias.baddbmm_(query, key.transpose(1, 2), alpha=scale)
    return torch.bmm(drop_out(scores.softmax(dim=-1), dropout), value)
