"""Compare WavLM's attention with transformers' eager attention in the same model: forward pass and training step.

    python benchmarks/attention.py [--size base] [--seconds 1 3.7 15] [--batch-size 8] [--device auto]

Random weights in the published shape with the dropout of the published configurations (0.1); noise of equal length, so
that there is no padding. The two models share their weights and differ only in the attention modules: all other parts,
including dropout, are ours in both. A step is the forward and backward pass of the transformer layers. Rounds
alternate. The script prints a table and a line of JSON.
"""

from __future__ import annotations

import copy
import time
from types import MethodType
from typing import Any

import torch
from torch import Tensor

from batch_invariance import architecture
from common import alternate, make_parser, median, print_result, resolve_device, spread, watched
from melt_ser.config import BackboneConfig
from melt_ser.models.backbone import Backbone
from melt_ser.models.families import load_backbone

DROPOUT = {"attention_dropout": 0.1, "hidden_dropout": 0.1, "feat_proj_dropout": 0.1, "activation_dropout": 0.0}
FRAMES_A_SECOND = 50


def with_eager_attention(backbone: Backbone) -> Backbone:
    """Return a copy with transformers' own attention. That attention reads its position bias once an utterance."""
    eager = copy.deepcopy(backbone)
    for layer in eager.model.encoder.layers:
        layer.attention.forward = MethodType(_eager, layer.attention)
    return eager


def _eager(attention: Any, hidden_states: Tensor, position_bias: Tensor, attention_mask: Any, **settings: Any) -> Any:
    frames = hidden_states.view(-1, position_bias.shape[1], hidden_states.shape[2])  # all clips have one length
    copied = position_bias.repeat(len(frames), 1, 1)
    attended, weights, _ = type(attention).forward(attention, frames, position_bias=copied, **settings)
    return attended.view_as(hidden_states), weights, position_bias


def seconds_of(backbone: Backbone, hidden: Tensor, training: bool) -> float:
    """Return the seconds of one forward pass, or of one step."""
    backbone.train(training)
    mask = torch.ones(hidden.shape[:2], dtype=torch.bool, device=hidden.device)
    _wait(hidden)
    started = time.perf_counter()
    with torch.set_grad_enabled(training):
        frames = backbone.transform(hidden, mask).last_hidden_state
        if training:
            frames.square().mean().backward()
    _wait(hidden)
    backbone.zero_grad()
    return time.perf_counter() - started


def _wait(hidden: Tensor) -> None:
    if hidden.is_cuda:
        torch.cuda.synchronize()


def main() -> None:
    parser = make_parser(__doc__, rounds=5)
    parser.add_argument("--size", choices=("small", "base", "large"), default="base")
    parser.add_argument("--seconds", type=float, nargs="+", default=[1.0, 3.7, 15.0], help="of a clip")
    parser.add_argument("--batch-size", type=int, default=8)
    options = parser.parse_args()
    device = resolve_device(options.device)
    shape = architecture("wavlm", options.size) | DROPOUT
    config = BackboneConfig(name=options.size, family="wavlm", architecture=shape)
    ours = load_backbone(config, options.seed).to(device)
    systems = {"melt_ser": ours, "transformers": with_eager_attention(ours)}
    rows = []
    for seconds in options.seconds:
        torch.manual_seed(options.seed)
        size = (options.batch_size, round(seconds * FRAMES_A_SECOND), ours.hidden_size)
        hidden = torch.randn(size, device=device, requires_grad=True)
        for training in (False, True):
            for backbone in systems.values():
                seconds_of(backbone, hidden, training)  # warm-up

            def run(name: str, hidden: Tensor = hidden, training: bool = training) -> dict[str, Any]:
                return watched(lambda: {"seconds": seconds_of(systems[name], hidden, training)})

            found = alternate({name: lambda number, name=name: run(name) for name in systems}, options.rounds)
            ratios = [theirs["seconds"] / own["seconds"] for own, theirs in zip(*found.values(), strict=True)]
            rows.append(
                {
                    "seconds": seconds,
                    "pass": "step" if training else "forward",
                    **{name: median(rounds, "seconds") for name, rounds in found.items()},
                    "ratio": median([{"ratio": ratio} for ratio in ratios], "ratio"),
                    "from-to": spread([{"ratio": ratio} for ratio in ratios], "ratio"),
                    "others' CPU": spread([*found["melt_ser"], *found["transformers"]], "others_cpu"),
                }
            )
    print_result("attention", device, rows, rounds=options.rounds, size=options.size, batch=options.batch_size)


if __name__ == "__main__":
    main()
