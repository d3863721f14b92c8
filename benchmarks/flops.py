"""The share of the machine's measured matrix multiplication that a training step reaches.

    python benchmarks/flops.py [--families ...] [--size tiny] [--batch-size 8] [--batches 8] [--device auto]

Floating point operations of a step are counted by formula (a multiplication and its addition are two; norms, softmax
and other elementwise work count nothing), for the shapes that the model really gets: `share` with padding, `useful
share` without. The frozen part is computed in each step, not kept. torch's FlopCounterMode is no help here: it counts
the weight gradient of a grouped convolution once for each group, 16-fold for the positional one; a test holds that the
formula agrees with it otherwise. The peak is a square matrix product in the precision of the training, before and after
each round's steps. Prints a table and a line of JSON.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from checkpoints import model_config, save_checkpoint
from clips import CLASSES, RATE, draw_seconds, make_corpus
from common import (
    WITHOUT_CACHE,
    Figures,
    add_model_options,
    alternate,
    make_parser,
    median,
    print_result,
    resolve_device,
    spread,
    watched,
)
from finetune import SCORED, Job, MeltSer
from melt_ser.training.device import resolve_precision
from sampling import EpochSample

MATRIX = {"cpu": 2048, "cuda": 8192}
PRECISIONS = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def step_flops(config: Any, samples: int, classes: int, backward: bool = True) -> float:
    """Operations of fine-tuning on one utterance of so many samples, its convolutional encoder frozen.

    config: of the transformers model. A backward pass costs twice its forward pass: a product for the gradient of the
    input, one for that of the weights (in attention: of both factors).
    """
    encoder, frames, channels = 0.0, samples, 1
    for width, kernel, stride in zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True):
        frames = (frames - kernel) // stride + 1
        encoder += 2.0 * frames * channels * width * kernel
        channels = width
    hidden, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    linear = 4 * hidden * hidden + 2 * hidden * inner  # query, key, value, output; the two of the feed-forward part
    if config.model_type == "wavlm":
        linear += 8 * hidden  # the gate of the relative positions
    learning = 2.0 * frames * channels * hidden  # the projection
    learning += layers * (2.0 * frames * linear + 4.0 * frames * frames * hidden)
    learning += position_flops(config, frames)
    learning += 2.0 * hidden * classes
    return encoder + (3.0 if backward else 1.0) * learning


def position_flops(config: Any, frames: int) -> float:
    """Operations of the convolutional positional encoder, forward."""
    hidden, groups = config.hidden_size, config.num_conv_pos_embedding_groups
    if config.model_type == "data2vec-audio":
        kernel, layers = config.conv_pos_kernel_size, config.num_conv_pos_embeddings
    else:
        kernel, layers = config.num_conv_pos_embeddings, 1
    computed = frames + 1 - kernel % 2  # an even kernel gives one frame more, which is cut off
    return 2.0 * layers * computed * hidden * (hidden / groups) * kernel


def matrix_rate(device: str, precision: torch.dtype) -> float:
    """Operations a second of a square matrix product: the best of five."""
    size = MATRIX[device]
    left, right = (torch.randn(size, size, device=device, dtype=precision) for _ in range(2))
    times = []
    for _ in range(6):
        started = time.perf_counter()
        left @ right
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return 2.0 * size**3 / min(times[1:])


@contextmanager
def training_shapes() -> Iterator[list[tuple[int, int]]]:
    """Collects (utterances, samples) of what the convolutional encoder gets, dev's scoring left out."""
    from melt_ser.evaluation.inference import classify

    shapes: list[tuple[int, int]] = []
    scoring = False

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if type(module).__name__.endswith("FeatureEncoder") and not scoring:
            shapes.append(tuple(inputs[0].shape))

    def score(*arguments: Any) -> Any:
        nonlocal scoring
        scoring = True
        try:
            return classify(*arguments)
        finally:
            scoring = False

    hook = register_module_forward_pre_hook(note)
    with mock.patch("melt_ser.training.fit.classify", score):
        yield shapes
    hook.remove()


def measure(options: Any, device: str, family: str, folder: Path, number: int) -> Figures:
    """One round: the peak, some training steps of an epoch, the peak again."""
    job = Job(
        "melt_ser",
        family,
        str(folder / family),
        str(folder / "clips"),
        options.batch_size,
        device,
        options.seed + number,
        overrides=[*WITHOUT_CACHE, *options.overrides],
    )
    system, run = MeltSer(job), folder / "runs" / f"{family}{number}"
    sample = EpochSample(system.seconds, options.batches, job.seed)
    trainer = system.study.config.trainer
    precision = PRECISIONS[resolve_precision(trainer.precision, device == "cpu")]
    system.train(sample.shortest, run / "warm-up")
    before = matrix_rate(device, precision)
    with training_shapes() as shapes:
        seconds = system.train(sample, run / "steps")
    peak = statistics.mean([before, matrix_rate(device, precision)])
    config = model_config(family, options.size)
    computed = sum(utterances * step_flops(config, samples, len(CLASSES)) for utterances, samples in shapes)
    useful = sum(step_flops(config, round(length * RATE), len(CLASSES)) for length in sample.chosen_seconds)
    return {
        "peak": peak / 1e9,
        "computed": computed / seconds / 1e9,
        "share": computed / seconds / peak,
        "useful_share": useful / seconds / peak,
    }


def main() -> None:
    parser = make_parser(__doc__)
    add_model_options(parser, clips=1600)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--batches", type=int, default=8, help="a round (default: 8)")
    options = parser.parse_args()
    device = resolve_device(options.device)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["MELT_SER_CACHE"] = str(folder / "cache")
        seconds = draw_seconds(options.clips, options.seed, options.lengths)
        make_corpus(folder / "clips", seconds, SCORED, options.seed)

        def run(family: str, number: int) -> Figures:
            return watched(lambda: measure(options, device, family, folder, number))

        for family in options.families:
            save_checkpoint(family, options.size, folder / family, options.seed)
        found = alternate(
            {family: lambda number, family=family: run(family, number) for family in options.families}, options.rounds
        )
    rows = [
        {
            "family": family,
            "size": options.size,
            "batch": options.batch_size,
            "GFLOP/s": median(rounds, "computed", 1),
            "peak GFLOP/s": median(rounds, "peak", 1),
            "share": median(rounds, "share"),
            "from-to": spread(rounds, "share"),
            "useful share": median(rounds, "useful_share"),
            "others' CPU": spread(rounds, "others_cpu"),
        }
        for family, rounds in found.items()
    ]
    print_result("flops", device, rows, rounds=options.rounds, overrides=options.overrides)


if __name__ == "__main__":
    main()
