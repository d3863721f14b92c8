"""Measure the speed of a training step as a share of the machine's matrix multiplication.

    python benchmarks/flops.py [--families ...] [--size tiny] [--batch-size 8] [--batches 8] [--device auto]
        [--precision fp32|bf16]

A formula counts the floating point operations of a step for the clips' own lengths. A multiplication and its addition
are two operations. Padding, norms, softmax and other elementwise work count as none. The positional convolution counts
as a direct convolution. Steps are timed twice: with cached features of the frozen layers, as is the default, and with
these layers computed. torch's FlopCounterMode cannot be used: it counts the weight gradient of a grouped convolution
once for each group, 16 times for the positional convolution. A test checks that the formula agrees with it otherwise.
The peak is a square matrix product in the precision of the training, before and after each round's steps. The script
prints a table and a line of JSON.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from checkpoints import model_config, save_checkpoint
from clips import CLASSES, RATE, draw_seconds, make_corpus
from common import (
    WITHOUT_CACHE,
    Figures,
    add_model_options,
    add_precision_option,
    alternate,
    make_parser,
    median,
    print_result,
    resolve_device,
    resolve_precision,
    spread,
    watched,
)
from finetune import SCORED, Job, MeltSer
from sampling import EpochSample

MATRIX = {"cpu": 2048, "cuda": 8192}
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def step_flops(config: Any, samples: int, classes: int, backward: bool = True, kept: bool = False) -> float:
    """Return the operations of fine-tuning on one utterance, with its convolutional encoder frozen, or `kept`.

    A backward pass costs twice its forward pass: a product for the gradient of the input and another for the gradient
    of the weights (in attention: of both factors).

    Args:
        config: configuration of the transformers model.
        samples: length of the utterance at 16 kHz.
        classes: outputs of the head.
        backward: count the backward pass too.
        kept: the features of the frozen encoder are cached, so it counts nothing.
    """
    if config.model_type == "whisper":
        return _whisper_flops(config, samples, classes, backward, kept)
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
    return (0.0 if kept else encoder) + (3.0 if backward else 1.0) * learning


def _whisper_flops(config: Any, samples: int, classes: int, backward: bool, kept: bool) -> float:
    """Return the same for Whisper's encoder: two convolutions with a kernel of 3, the second with a stride of 2."""
    hidden, mel_frames = config.d_model, samples // 160
    frames = -(-mel_frames // 2)
    encoder = 2.0 * 3 * hidden * (mel_frames * config.num_mel_bins + frames * hidden)
    linear = 4 * hidden * hidden + 2 * hidden * config.encoder_ffn_dim
    learning = config.encoder_layers * (2.0 * frames * linear + 4.0 * frames * frames * hidden) + 2.0 * hidden * classes
    return (0.0 if kept else encoder) + (3.0 if backward else 1.0) * learning


def position_flops(config: Any, frames: int) -> float:
    """Return the operations of the convolutional positional encoder in the forward pass."""
    hidden, groups = config.hidden_size, config.num_conv_pos_embedding_groups
    if config.model_type == "data2vec-audio":
        kernel, layers = config.conv_pos_kernel_size, config.num_conv_pos_embeddings
    else:
        kernel, layers = config.num_conv_pos_embeddings, 1
    computed = frames + 1 - kernel % 2  # an even kernel gives an extra frame, and the model cuts it off
    return 2.0 * layers * computed * hidden * (hidden / groups) * kernel


def matrix_rate(device: str, precision: torch.dtype) -> float:
    """Return the operations a second of a square matrix product: the best of five."""
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


def measure(options: Any, device: str, family: str, kept: bool, folder: Path, number: int) -> Figures:
    """Measure one round: the peak, some training steps of an epoch, the peak again."""
    job = Job(
        "melt_ser",
        family,
        str(folder / family),
        str(folder / "clips"),
        options.batch_size,
        device,
        resolve_precision(options.precision, device),
        options.seed + number,
        overrides=[*(() if kept else WITHOUT_CACHE), *options.overrides],
    )
    system, run = MeltSer(job), folder / "runs" / f"{family}{number}{kept}"
    sample = EpochSample(system.seconds, options.batches, job.seed)
    system.train(sample.warm_up, run / "warm-up")
    before = matrix_rate(device, PRECISIONS[job.precision])
    seconds = system.train(sample, run / "steps")
    peak = statistics.mean([before, matrix_rate(device, PRECISIONS[job.precision])])
    config, samples = model_config(family, options.size), np.round(sample.chosen_seconds * RATE).astype(int)
    operations = sum(step_flops(config, int(each), len(CLASSES), kept=kept) for each in samples)
    return {"peak": peak / 1e9, "reached": operations / seconds / 1e9, "share": operations / seconds / peak}


def main() -> None:
    parser = make_parser(__doc__)
    add_model_options(parser, clips=1600)
    parser.add_argument("--batch-size", type=int, default=8)
    add_precision_option(parser)
    parser.add_argument("--batches", type=int, default=8, help="a round (default: 8)")
    options = parser.parse_args()
    device = resolve_device(options.device)

    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["MELT_SER_CACHE"] = str(folder / "cache")
        seconds = draw_seconds(options.clips, options.seed, options.lengths)
        make_corpus(folder / "clips", seconds, SCORED, options.seed)
        for family in options.families:
            save_checkpoint(family, options.size, folder / family, options.seed)

            def run(kept: bool, number: int, family: str = family) -> Figures:
                return watched(lambda: measure(options, device, family, kept, folder, number))

            systems = {"kept": partial(run, True), "computed": partial(run, False)}
            for frozen_part, rounds in alternate(systems, options.rounds).items():
                row: Figures = {"family": family, "size": options.size, "batch": options.batch_size}
                row["precision"] = resolve_precision(options.precision, device)
                row["frozen part"] = frozen_part
                row["GFLOP/s"], row["peak GFLOP/s"] = median(rounds, "reached", 1), median(rounds, "peak", 1)
                row["share"], row["from-to"] = median(rounds, "share"), spread(rounds, "share")
                row["others' CPU"] = spread(rounds, "others_cpu")
                rows.append(row)
    print_result("flops", device, rows, rounds=options.rounds, overrides=options.overrides)


if __name__ == "__main__":
    main()
