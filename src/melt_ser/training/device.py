"""The accelerator: device and precision by hardware, unless the settings choose."""

from __future__ import annotations

import os
from datetime import timedelta

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.state import AcceleratorState, PartialState

from melt_ser.config import Precision
from melt_ser.core.errors import SetupError
from melt_ser.core.memory import keep_freed_memory

LONGEST_WAIT = timedelta(hours=12)  # for the main process, which verifies a corpus while the others wait


def make_accelerator(device: str, precision: Precision = Precision.fp32) -> Accelerator:
    """An accelerator on `device` (auto, cpu, cuda, cuda:1); raises SetupError where there is no such device."""
    if device not in ("auto", "cpu") and not device.startswith("cuda"):
        raise SetupError(f"device is auto, cpu, cuda or cuda:<number>, not '{device}'.")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise SetupError("device=cuda, but PyTorch finds no CUDA GPU here; set device=auto or device=cpu.")
    on_cpu = device == "cpu" or not torch.cuda.is_available()
    if ":" in device:
        number = device.partition(":")[2]
        if not number.isdigit() or int(number) >= torch.cuda.device_count():
            raise SetupError(f"device={device}, but there are {torch.cuda.device_count()} GPUs, numbered from 0.")
        torch.cuda.set_device(int(number))
    if on_cpu:
        keep_freed_memory()
    else:
        use_deterministic_kernels()
    torch.backends.cuda.matmul.allow_tf32 = not on_cpu  # as cuDNN does by itself; what is scored has none of either
    alone = not PartialState._shared_state or PartialState().num_processes == 1
    AcceleratorState._reset_state(reset_partial_state=alone)  # a sweep may change device or precision between jobs
    return Accelerator(
        cpu=on_cpu,
        mixed_precision=resolve_precision(precision, on_cpu),
        kwargs_handlers=[
            # Which parameters a batch uses depends on layer drop, masking and the layers that the head reads.
            DistributedDataParallelKwargs(find_unused_parameters=True),
            InitProcessGroupKwargs(timeout=LONGEST_WAIT),
        ],
    )


def use_deterministic_kernels() -> None:
    """Have CUDA repeat itself: kernels that do, and none other.

    cuDNN chooses by rule, not by a race that another load may decide; cuBLAS keeps one workspace a stream. Where torch
    is merely to warn, the backward pass of its attention takes the kernel that does not repeat itself.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # slow, and for debugging
    torch.backends.cudnn.benchmark = False


def resolve_precision(precision: Precision, on_cpu: bool) -> str:
    """accelerate's name of the precision: `auto` is bf16 where the GPU has it, else fp16; fp32 on a CPU."""
    if precision is Precision.auto:
        if on_cpu:
            return "no"
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if precision is Precision.fp16 and on_cpu:
        raise SetupError("trainer.precision=fp16 needs a GPU; set trainer.precision to bf16, fp32 or auto.")
    return "no" if precision is Precision.fp32 else precision.value
