"""The accelerator: device and precision, chosen by the settings or by the hardware."""

from __future__ import annotations

import atexit
import os
from datetime import timedelta
from functools import cache
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.state import AcceleratorState, PartialState

from melt_ser.config import Precision
from melt_ser.core.console import say
from melt_ser.core.device_name import check_device_name
from melt_ser.core.errors import SetupError
from melt_ser.core.memory import keep_freed_memory

LONGEST_WAIT = timedelta(hours=12)  # the other processes wait while the main one verifies a corpus

SHARDING = ("FSDP", "DEEPSPEED", "MEGATRON_LM")  # ways of accelerate to divide a model among processes


def make_accelerator(device: str, precision: Precision = Precision.fp32) -> Accelerator:
    """Return an accelerator on `device` (auto, cpu, cuda, cuda:1).

    Raises SetupError if the device does not exist or cannot compute in `precision`, or if accelerate is to divide the
    model among the processes.
    """
    for name in SHARDING:
        if os.environ.get(f"ACCELERATE_USE_{name}", "").lower() == "true":
            raise SetupError(
                f"accelerate launch is set to {name}, but each process here holds the whole model; start it with "
                "--multi_gpu, and save memory with trainer.batch_seconds=60, trainer.gradient_checkpointing=true or "
                "trainer=lora."
            )
    check_device_name(device)
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise SetupError("device=cuda, but PyTorch finds no CUDA GPU here; set device=auto or device=cpu.")
    on_cpu = device == "cpu" or not torch.cuda.is_available()
    if ":" in device:
        number = int(device.partition(":")[2])
        if number >= torch.cuda.device_count():
            raise SetupError(f"device={device}, but there are {torch.cuda.device_count()} GPUs, numbered from 0.")
        torch.cuda.set_device(number)
    if on_cpu:
        keep_freed_memory()
    else:
        use_deterministic_kernels()
    torch.backends.cuda.matmul.allow_tf32 = not on_cpu  # cuDNN allows it by default; scoring switches both off
    alone = not PartialState._shared_state or PartialState().num_processes == 1
    AcceleratorState._reset_state(reset_partial_state=alone)  # a sweep may change device or precision between jobs
    accelerator = Accelerator(
        cpu=on_cpu,
        mixed_precision=resolve_precision(precision, on_cpu),
        kwargs_handlers=[
            # Which parameters a batch uses depends on layer drop, masking and the layers that the head reads.
            DistributedDataParallelKwargs(find_unused_parameters=True),
            InitProcessGroupKwargs(timeout=LONGEST_WAIT),
        ],
    )
    if on_cpu and accelerator.num_processes > 1:
        _release_processes_at_exit()
    return accelerator


@cache
def _release_processes_at_exit() -> None:
    """End gloo's process group when the process exits, since its threads can abort an exit ("terminate called")."""

    def release() -> None:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    atexit.register(release)


def use_deterministic_kernels() -> None:
    """Allow only deterministic CUDA kernels.

    cuDNN chooses kernels by fixed rules, not by timing, which varies; cuBLAS keeps one workspace per stream.
    `warn_only=True` is not enough: attention's backward pass would then use its non-deterministic kernel.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # slow, and for debugging
    torch.backends.cudnn.benchmark = False


def resolve_precision(precision: Precision, on_cpu: bool) -> str:
    """Return accelerate's name of the precision: `auto` is bf16 if the GPU has it, otherwise fp16; on a CPU fp32.

    Raises SetupError for fp16 on a CPU.
    """
    if precision is Precision.auto:
        if on_cpu:
            return "no"
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if precision is Precision.fp16 and on_cpu:
        raise SetupError("trainer.precision=fp16 needs a GPU; set trainer.precision to bf16, fp32 or auto.")
    if precision is Precision.bf16 and on_cpu:
        _say_if_bf16_is_slow()
    return "no" if precision is Precision.fp32 else precision.value


@cache
def _say_if_bf16_is_slow() -> None:
    """Say that this CPU has no instructions for bf16: Whisper tiny then trained at a twentieth of its speed in fp32."""
    has: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    if has.get("architecture") == "x86_64" and not (has.get("avx512_bf16") or has.get("amx_bf16")):
        say(
            "note: this CPU has no instructions for bf16, and computes in it many times as slowly as in fp32; set "
            "trainer.precision=fp32."
        )
