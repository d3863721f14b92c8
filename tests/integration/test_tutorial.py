"""Every command of docs/tutorial.md, one after the other, on demo clips laid out as a user's folder of wavs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import soundfile

from checkout import CHECKOUT
from documented import commands_of

DEMO = CHECKOUT / "src" / "melt_ser" / "demo" / "en"
SHORTER = {"trainer=finetune": ["trainer.epochs=1", "trainer.refit=false"]}  # what the page leaves at its default


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with `mine/`, as the page shows it, and new recordings."""
    table = pd.read_csv(DEMO / "table.csv").query("speaker in ['f1', 'f2', 'm1', 'm2']")
    table = table.groupby(["speaker", "label"]).head(4)
    wavs = tmp_path / "mine" / "wav"
    wavs.mkdir(parents=True)
    for row in table.itertuples():
        samples, rate = soundfile.read(DEMO / str(row.audio))
        soundfile.write(wavs / f"{row.utterance}.wav", samples, rate)
    table["audio"] = "wav/" + table["utterance"] + ".wav"
    table[["audio", "label", "speaker"]].to_csv(tmp_path / "mine" / "clips.csv", index=False)
    shutil.copy(wavs / "f1_sad_01.wav", tmp_path / "new.wav")
    (tmp_path / "wav").mkdir()
    shutil.copy(wavs / "m1_happy_01.wav", tmp_path / "wav")
    return tmp_path


@pytest.mark.slow
def test_the_commands_of_the_tutorial_lead_to_a_table(folder: Path) -> None:
    said, run_id = {}, ""
    for command in commands_of(CHECKOUT / "docs" / "tutorial.md"):
        words = [word.replace("run_id", run_id) for word in command.arguments]
        more = [setting for word in words for setting in SHORTER.get(word, [])]
        started = [sys.executable, "-m", f"melt_ser.{command.verb}", *words, *more]
        done = subprocess.run(started, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        if "result: " in done.stdout and not run_id:
            run_id = Path(done.stdout.splitlines()[-1].removeprefix("result: ")).parent.name
        said[" ".join(words + [str(command.verb)])] = done.stdout + done.stderr
    everything = "\n".join(said.values())
    assert "80 clips verified, 0.03 hours, 4 speakers" in everything
    assert "sweep: 2 finished, 1 skipped, 0 failed" in everything
    assert "new.wav  sad" in everything
    assert pd.read_csv(folder / "labels.csv").loc[0, "label"] == "happy"
    assert "\\begin{tabular}" in (folder / "tables.tex").read_text(encoding="utf-8")
    assert "wavlm_tiny" in (folder / "report.html").read_text(encoding="utf-8")
    assert "model.safetensors" in everything  # what push would upload
