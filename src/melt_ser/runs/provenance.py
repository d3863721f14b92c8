"""Where a result comes from: versions, git state, device."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from melt_ser.core.package import __version__

if TYPE_CHECKING:
    import torch

PACKAGES: tuple[str, ...] = ("torch", "torchaudio", "transformers", "accelerate", "hydra-core")
PACKAGES += ("numpy", "scipy", "scikit-learn", "pandas")


def versions() -> dict[str, str]:
    """Versions of Python, melt_ser and what its numbers rest on."""
    found = {"python": platform.python_version(), "melt_ser": __version__}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_state() -> dict[str, Any] | None:
    """Commit and cleanliness of the checkout that the package runs from; None for an installed wheel."""
    folder = Path(__file__).parents[3]
    if not (folder / ".git").exists():
        return None
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return {"commit": commit, "clean": _git(folder, "status", "--porcelain") == ""}
    except (OSError, subprocess.CalledProcessError):
        return None


def device_name(device: torch.device) -> str:
    """What a result says of where it was computed: `cpu`, or `cuda (NVIDIA H100 80GB HBM3)`."""
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()
