"""Every kind of bad input ends in a sentence and the right exit code; no data is lost, or dropped without a word."""

from __future__ import annotations

import csv
import importlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bad_inputs.audio
import bad_inputs.checkpoints
import bad_inputs.folders
import bad_inputs.settings
import bad_inputs.table_files
import bad_inputs.tables
from bad_inputs import KINDS
from bad_inputs.disks import unmount_all


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """An empty folder; any disk that a kind mounts in it is unmounted afterwards."""
    yield tmp_path
    unmount_all(tmp_path)


def call(verb: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a verb in this process, as its command does."""
    monkeypatch.setattr(sys, "argv", [f"melt-ser {verb}", *arguments])
    code: int = importlib.import_module(f"melt_ser.{verb}").main()
    return code


def test_at_least_80_kinds_of_bad_input_are_tried() -> None:
    assert len(KINDS) >= 80


@pytest.mark.parametrize("name", KINDS)
def test_a_bad_input_ends_in_its_sentence_and_loses_nothing(
    name: str, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELT_SER_CACHE", str(place / "cache"))
    expected = KINDS[name](place)
    capsys.readouterr()
    code = call(expected.command[0], expected.command[1:], monkeypatch)
    out, err = capsys.readouterr()
    assert code == expected.code, out + err
    assert "Traceback" not in out + err
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    in_a_row = expected.command[0] == "predict" and out != ""  # predict prints the reason in the row of the file
    is_told = code == 2 or (code == 1 and not in_a_row)
    assert len(errors) == is_told, err
    for fragment in expected.says:
        assert fragment in (errors[0] if errors else out + err)
    expected.afterwards()


def test_predict_labels_the_good_and_names_the_bad(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_folder = bad_inputs.folders.finished_run(place)
    clips = place / "clips" / "sub"
    clips.mkdir(parents=True)
    written = dict(bad_inputs.audio.GOOD.values())
    skipped = {"an_hour_long", "silence", "one_sample", "a_header_of_one_hertz"}  # predict has no such limits
    for kind, (name, _, write) in bad_inputs.audio.BAD.items():
        if kind not in skipped:
            written[name] = write
    for name, write in written.items():
        write(clips / name)
    paths = [str(clips / name) for name in written]
    capsys.readouterr()
    assert call("predict", [str(run_folder), *paths, "--format", "csv", "--device", "cpu"], monkeypatch) == 1
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["file"] for row in rows] == paths  # one row for each, in order; names may have line ends
    readable = {str(clips / name) for name, _ in bad_inputs.audio.GOOD.values()}
    readable |= {str(clips / name) for name in ("link.wav", "door/outside.wav")}  # a link may lead anywhere
    for row in rows:
        assert bool(row["label"]) == (row["file"] in readable), row
        assert bool(row["error"]) == (row["file"] not in readable), row


@pytest.mark.parametrize("form", ["json", "csv", "table"])
def test_predict_stays_well_formed_on_odd_names(
    form: str, place: Path, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_folder = bad_inputs.folders.finished_run(place)
    names = [
        "two\nlines.wav",
        "re\rturn.wav",
        "[red]bold[x]:smile:.wav",
        'quote",.wav',
        "\x1b[31mred.wav",
        "l\udcff.wav",
    ]
    for name in names:
        bad_inputs.audio.eight_bit(place / "good.wav")
        (place / "good.wav").rename(place / name)
    monkeypatch.chdir(place)
    capsysbinary.readouterr()
    assert call("predict", [str(run_folder), *names, "--format", form, "--device", "cpu"], monkeypatch) == 0
    out = capsysbinary.readouterr().out.decode("utf-8")
    if form == "json":
        assert [row["file"] for row in json.loads(out)] == names
    elif form == "csv":
        files = [row["file"] for row in csv.DictReader(io.StringIO(out, newline=""))]
        assert files == [*names[:-1], r"l\udcff.wav"]
    else:
        assert "\x1b" not in out
        assert all(name in out for name in ("[red]bold[x]:smile:", r"two\nlines", r"\x1b[31mred"))


@pytest.mark.parametrize(
    "name", ["an_unknown_label", "a_yaml_that_does_not_parse", "an_output_folder_nobody_can_write"]
)
def test_a_bad_input_ends_the_command_in_its_sentence(name: str, place: Path) -> None:
    expected = KINDS[name](place)
    verb, *arguments = expected.command
    done = subprocess.run(
        [sys.executable, "-m", f"melt_ser.{verb}", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "MELT_SER_CACHE": str(place / "cache")},
    )
    assert done.returncode == expected.code
    assert "Traceback" not in done.stdout + done.stderr
    [error] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert all(fragment in error for fragment in expected.says)
    expected.afterwards()
