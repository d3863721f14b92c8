"""The accelerator's device and precision."""

from __future__ import annotations

import os

import pytest
import torch

from melt_ser.config import Precision
from melt_ser.core.errors import SetupError
from melt_ser.training.device import (
    _say_if_bf16_is_slow,
    make_accelerator,
    resolve_precision,
    use_deterministic_kernels,
)


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


@pytest.mark.parametrize(("capability", "precision"), [(7, "fp16"), (8, "bf16")])
def test_auto_is_bf16_on_a_gpu_that_has_it_and_not_where_torch_emulates_it(
    capability: int, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    properties = type("Properties", (), {"major": capability})
    for name, value in {
        "is_available": True,
        "current_device": 0,
        "get_device_properties": properties,
        "_check_bf16_tensor_supported": True,
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value, **__: value)
    assert resolve_precision(Precision.auto, on_cpu=False) == precision


@pytest.mark.parametrize(
    ("found", "is_slow"), [({}, True), ({"avx512_bf16": True}, False), ({"amx_bf16": True}, False)]
)
def test_bf16_on_a_cpu_without_instructions_for_it_is_told(
    found: dict[str, bool], is_slow: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    capabilities = {"architecture": "x86_64", **found}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    _say_if_bf16_is_slow.cache_clear()
    for precision in (Precision.bf16, Precision.bf16, Precision.fp32):
        resolve_precision(precision, on_cpu=True)
    assert capsys.readouterr().err.count("set trainer.precision=fp32") == is_slow
