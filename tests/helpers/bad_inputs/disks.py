"""Small and read-only disks, which need the right to mount; a test that lacks it is skipped."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


def small_disk(path: Path, kilobytes: int) -> Path:
    """A new disk of that size, mounted on `path`."""
    path.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(path))
    return path


def enlarge(path: Path, kilobytes: int) -> None:
    _mount("-o", f"remount,size={kilobytes}k", str(path))


def read_only(path: Path) -> Path:
    """Let a folder be read only, as a mounted archive is."""
    _mount("--bind", str(path), str(path))
    _mount("-o", "remount,bind,ro", str(path))
    return path


def unmount_all(folder: Path) -> None:
    """Take away every disk within `folder`."""
    mounted = [Path(line.split()[1]) for line in Path("/proc/mounts").read_text().splitlines()]
    for path in reversed([path for path in mounted if path.is_relative_to(folder)]):
        # Lazily, since weights that were read may still be mapped into memory.
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def _mount(*arguments: str) -> None:
    try:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
