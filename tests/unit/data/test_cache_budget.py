"""The space that the cache may take, while other processes write into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from melt_ser.config import CacheConfig
from melt_ser.data import cache_budget
from melt_ser.data.cache_budget import why_not_cached


def test_a_folder_that_another_process_renames_meanwhile_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = tmp_path / "features"
    for name in (".one", ".two"):
        (features / name).mkdir(parents=True)
        (features / name / "features0.bin").write_bytes(bytes(10_000))
    measure = cache_budget._bytes_on_disk

    def meanwhile(path: Path) -> int:
        if path.name == "features0.bin":  # the names of both folders have been read, and one of them is being walked
            for building in {".one", ".two"} - {path.parent.name}:
                (features / building).rename(features / building[1:])
        return measure(path)

    monkeypatch.setattr(cache_budget, "_bytes_on_disk", meanwhile)
    config = CacheConfig(folder=str(tmp_path), max_gib=1.0)
    assert why_not_cached(features / "mine", 1000, config) is None
    assert len(list(features.glob(".*"))) == 1
