"""The accelerator's device: CUDA computes with deterministic kernels only."""

from __future__ import annotations

import os

import pytest
import torch

from melt_ser.core.errors import SetupError
from melt_ser.training.device import make_accelerator, use_deterministic_kernels


def test_a_cuda_device_uses_only_deterministic_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    try:
        use_deterministic_kernels()
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        assert not torch.backends.cudnn.benchmark
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("name", ["FSDP", "DEEPSPEED"])
def test_a_model_divided_among_processes_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{name}", "true")  # as accelerate launch sets it
    with pytest.raises(SetupError, match=rf"is set to {name}, but each process here holds the whole model; start it"):
        make_accelerator("cpu")
