"""Check the form of the setting `device`, without importing torch, which knows the devices that exist."""

from __future__ import annotations

import re

from melt_ser.core.errors import SetupError


def check_device_name(device: str) -> None:
    """Raise SetupError if `device` is not auto, cpu, cuda or cuda:<number>."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device, re.ASCII):
        raise SetupError(f"device is auto, cpu, cuda or cuda:<number>, not '{device}'.")
