"""`report` and `compare_runs` on folders with odd runs: each is named with its reason, and the rest is reported."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from melt_ser.core.errors import InputError, one_line
from melt_ser.reporting import significance
from melt_ser.reporting.collect import collect
from melt_ser.reporting.comparisons import compare_runs
from melt_ser.reporting.overview import read_runs
from melt_ser.runs.finished_run import Run
from odd_json import odd_versions
from report_runs import copy, report, results

ODD_FILES = (b"", b"\xff\xfe\x00", b"null", b"[" * 100_000, b"a,b\n1,2,3\n", b'"open', b"\0" * 100)


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
    assert f"left out: 2 runs that were refused at the start (the first: {tmp_path}/mistyped-a: " in said

    assert text.startswith("# Report\n\n1 finished run, ")
    shutil.rmtree(tmp_path / "mistyped-a")
    assert "left out: 1 run that was refused at the start (" in report(tmp_path, capsys=capsys)[2]
    note(tmp_path / "mistyped-a", 2)

    code, text, said = report(tmp_path, "--clear-failed", capsys=capsys)
    assert code == 0 and "2 failed" in text
    assert "deleted: the notes of 2 failed runs and 2 refused attempts" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full-disk", "good"]
    code, text, said = report(tmp_path, capsys=capsys)
    assert code == 0 and "0 failed" in text and "left out" not in said


@pytest.mark.parametrize(
    ("checkpoint", "pretraining", "shown"),
    [
        (None, "none", "random weights"),
        ("facebook/wav2vec2-base", "self-supervised", "facebook/wav2vec2-base (self-supervised)"),
        ("facebook/wav2vec2-base-960h", None, "facebook/wav2vec2-base-960h (speech recognition)"),  # an older result
        ("someone/else", None, "someone/else (not stated)"),
    ],
)
def test_a_report_says_what_the_weights_were_trained_on(
    runs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    checkpoint: str | None,
    pretraining: str | None,
    shown: str,
) -> None:
    def change(result: dict[str, Any]) -> None:
        del result["config"]["backbone"]["pretraining"]
        result["config"]["backbone"] |= {"checkpoint": checkpoint} | (
            {"pretraining": pretraining} if pretraining else {}
        )

    copy(next(iter(results(runs))), tmp_path / "one", change)
    assert set(read_runs([tmp_path])["weights"]) == {shown}
    assert f"From {shown}, trained on" in report(tmp_path, "--format", "html", capsys=capsys)[1]
    assert f"| {shown} |" in report(tmp_path, capsys=capsys)[1]


@pytest.mark.parametrize(
    ("backbone", "shown"),
    [
        (
            {"checkpoint": "facebook/wav2vec2-base", "init": "random"},
            "random weights in the architecture of facebook/wav2vec2-base",
        ),
        ({"checkpoint": None, "family": "egemaps"}, "none: measured features"),
    ],
)
def test_the_row_of_a_system_names_no_weights_that_it_does_not_start_from(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], backbone: dict[str, Any], shown: str
) -> None:
    copy(next(iter(results(runs))), tmp_path / "one", lambda result: result["config"]["backbone"].update(backbone))
    assert f"| {shown} |" in report(tmp_path, capsys=capsys)[1]


def test_notes_can_be_cleared_if_no_run_is_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    note(tmp_path / "mistyped", 2)
    code, _, said = report(tmp_path, capsys=capsys)
    assert code == 2 and "1 refused (the first: " in said and "reason 2" in said
    assert report(tmp_path, "--clear-failed", capsys=capsys)[0] == 0
    assert list(tmp_path.iterdir()) == []


def odd_runs(one: Path, folder: Path, versions: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    """Copy a run for each odd version of its result, and once as it is; return each oddity by its folder."""
    copy(one, folder / "good", lambda result: result["config"]["trainer"].update(epochs=7))
    oddities = {}
    for number, (oddity, content) in enumerate(versions):
        name = f"odd{number:04d}"
        (folder / name).mkdir()
        for part in ("predictions", "groups"):
            (folder / name / part).symlink_to(one / part)
        (folder / name / "result.json").write_bytes(content.replace(one.name.encode(), name.encode()))
        oddities[name] = oddity
    return oddities


def test_an_odd_result_never_costs_the_others_their_report(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share of the keys is deleted or has an odd value; `make soak-input` tries all of them."""
    monkeypatch.setattr(significance, "MOST_COMPARISONS", 5)  # each odd setting would be a system to compare
    one, result = next(iter(results(runs).items()))
    result["evals"] = result["evals"][:1]
    chosen = [*islice(odd_versions(result), 4), *islice(odd_versions(result), 4, None, 29)]
    oddities = odd_runs(one, tmp_path, chosen)
    found = collect([tmp_path])
    assert tmp_path / "good" in [run.folder for run in found.runs]
    assert len(found.runs) + len(found.unreadable) + len(found.copies) == len(oddities) + 1
    assert {"invalid UTF-8", "cut off", "deep nesting"} <= {oddities[note.folder.name] for note in found.unreadable}
    assert all("\n" not in one_line(note.reason) and note.reason.endswith(".") for note in found.unreadable)
    for form in ("csv", "md", "latex", "html"):
        code, text, said = report(tmp_path, "--format", form, capsys=capsys)
        assert code == 1 and said.count("not read: ") == len(found.unreadable)
        assert form == "latex" or f"{tmp_path}/good" in text
    assert len(compare_runs([tmp_path / "good"])) == 0 and len(read_runs([tmp_path])) > 0


@pytest.mark.parametrize("name", ["failed.json", "inputs.json", "predictions", "groups", "config.yaml"])
def test_an_odd_file_of_a_run_is_named_and_the_rest_is_reported(
    name: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")
    copy(one, tmp_path / "good")
    for number, content in enumerate(ODD_FILES):
        folder = tmp_path / f"odd{number}"
        if name == "failed.json":
            folder.mkdir()
            (folder / name).write_bytes(content)
            continue
        copy(one, folder, lambda result: result["config"]["trainer"].update(epochs=7))
        path = folder / name
        for file in path.iterdir() if path.is_dir() else [path]:
            file.write_bytes(content)
    for form in ("csv", "md", "html"):
        code, text, _ = report(tmp_path, "--format", form, capsys=capsys)
        assert code == (1 if name == "failed.json" else 0) and f"{tmp_path}/good" in text
    if name == "predictions":
        for number in range(len(ODD_FILES)):
            with pytest.raises(InputError, match="cannot be read .*; run again with force=true"):
                Run(tmp_path / f"odd{number}").predictions()
    compare_runs([tmp_path])
