"""`report` and `compare_runs` on folders with odd runs: each is named with its reason, and the rest is reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from report_runs import copy, report, results


def note(folder: Path, code: int, started: bool = False) -> None:
    folder.mkdir(parents=True)
    (folder / "failed.json").write_text(json.dumps({"reason": f"reason {code}", "exit_code": code}))
    if started:
        (folder / "inputs.json").write_text("{}")


def test_refused_attempts_are_counted_and_failures_are_listed(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy(next(iter(results(runs))), tmp_path / "good")
    note(tmp_path / "failed", 1)
    note(tmp_path / "full-disk", 2, started=True)
    note(tmp_path / "mistyped-a", 2)
    note(tmp_path / "mistyped-b", 2)
    code, text, said = report(tmp_path, capsys=capsys)
    assert code == 0
    assert text.count("reason 1") == 1 and text.count("reason 2") == 1 and "mistyped" not in text
    assert f"left out: 2 attempts that were refused before they began (the first: {tmp_path}/mistyped-a: " in said

    code, text, said = report(tmp_path, "--clear-failed", capsys=capsys)
    assert code == 0 and "2 failed" in text
    assert "deleted: the notes of 2 failed runs and 2 refused attempts" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full-disk", "good"]
    code, text, said = report(tmp_path, capsys=capsys)
    assert code == 0 and "0 failed" in text and "left out" not in said


def test_notes_can_be_cleared_if_no_run_is_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    note(tmp_path / "mistyped", 2)
    code, _, said = report(tmp_path, capsys=capsys)
    assert code == 2 and "1 refused (the first: " in said and "reason 2" in said
    assert report(tmp_path, "--clear-failed", capsys=capsys)[0] == 0
    assert list(tmp_path.iterdir()) == []
