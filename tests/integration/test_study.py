"""A study in miniature, as tests/helpers/study.py runs it whole: interrupted, completed, the same in every format."""

from __future__ import annotations

from pathlib import Path

import pytest

import study
from browser import BROWSER
from small_runs import SMALL

MINIATURE = [
    *(override for override in SMALL if not override.startswith("backbone=")),
    "backbone=wav2vec2_tiny_random,hubert_tiny_random,wavlm_tiny_random",
    "dataset=demo,demo_de",
    "eval.corpora=[demo,demo_de]",
    "trainer.epochs=2",
]


@pytest.mark.slow
def test_a_study_is_interrupted_completed_and_reported(tmp_path: Path) -> None:
    out = tmp_path / "runs"
    typed = [*MINIATURE, f"out={out}"]
    last = study.interrupted(typed, out, None, after=2)
    assert last.startswith("sweep: ")
    before = study.finished(out)
    assert 2 <= before < 12
    assert study.completed(typed, out, None) == f"sweep: {12 - before} finished, {before} skipped, 0 failed"

    paths = study.reported(out, tmp_path)
    matrix, ranks = study.compare_formats(paths)
    assert len(matrix) == 3 * 2 * 2
    assert set(ranks) == {"wav2vec2_tiny_random", "hubert_tiny_random", "wavlm_tiny_random"}
    study.compiled(paths["tex"])
    if BROWSER is not None:
        pytest.importorskip("playwright", reason="playwright is not installed")
        assert len(list(study.looked_at(paths["html"]))) == 2
