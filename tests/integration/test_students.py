"""The script that trains small students of a pretrained encoder, on a few tones and a teacher with random weights."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from checkout import CHECKOUT
from melt_ser.audio.waveform import pad_together
from melt_ser.config import BackboneConfig
from melt_ser.models.families import load_backbone

pytestmark = pytest.mark.slow

SCRIPT = CHECKOUT / "scripts" / "students" / "distil.py"
KILLED = """
import builtins, os, runpy, signal, sys
say = builtins.print
def say_and_die(text, **options):
    say(text, **options)
    if text.startswith("step 2/4"):
        os.kill(os.getpid(), signal.SIGKILL)
builtins.print = say_and_die
del sys.argv[0]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""  # runs a script, and kills it after its first checkpoint


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write six clips of 0.6 to 4 s, as gather_speech.py does, and a teacher with random weights."""
    folder = tmp_path_factory.mktemp("speech")
    generator = np.random.default_rng(0)
    lengths = generator.integers(10_000, 64_000, 6)
    clips = [np.sin(np.arange(n) * generator.uniform(0.05, 0.5)) * 9000 for n in lengths]
    np.save(folder / "audio.npy", np.concatenate(clips).astype(np.int16))
    np.save(folder / "lengths.npy", lengths)
    load_backbone(BackboneConfig(family="whisper"), 1).save(folder / "teacher")
    return folder


def command(speech: Path, out: Path, *options: str, family: str = "wav2vec2", precision: str = "fp32") -> list[str]:
    """Return the command that trains a student for a few steps; a CPU without bf16 takes 15 s for a step in it."""
    words = [sys.executable, str(SCRIPT), family, "--speech", str(speech), "--teacher", str(speech / "teacher")]
    words += ["--work", str(speech / "states"), "--layers", "1", "2", "--speeds", "1", "0.9", "--out", str(out)]
    return [*words, "--precision", precision, *options]


def output_of(words: list[str]) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("family", "precision"), [("wav2vec2", "bf16"), ("data2vec", "fp32")])
def test_a_student_is_a_checkpoint_in_float16_of_its_family(family, precision, speech, tmp_path):
    output_of(command(speech, tmp_path / "student", "--steps", "2", family=family, precision=precision))
    weights = load_file(tmp_path / "student" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    assert 2 * sum(tensor.numel() for tensor in weights.values()) < 8_000_000  # bytes
    student = load_backbone(BackboneConfig(family=family, checkpoint=str(tmp_path / "student")), 0).eval()
    assert student(*pad_together([torch.randn(16_000)])).last_hidden_state.isfinite().all()
    about = json.loads((tmp_path / "student" / "distil.json").read_text())
    assert (about["family"], about["steps"], about["layers"]) == (family, 2, [1, 2])


def test_a_killed_training_goes_on_to_the_same_weights(speech, tmp_path):
    options = ("--steps", "4", "--save-every", "2")
    output_of(command(speech, tmp_path / "whole", *options))
    killed = command(speech, tmp_path / "killed", *options)
    assert subprocess.run([sys.executable, "-c", KILLED, *killed[1:]]).returncode == -signal.SIGKILL
    assert not (tmp_path / "killed").exists()
    assert "step 2/4" not in output_of(killed)
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("killed", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_states_of_other_layers_are_refused(speech, tmp_path):
    output_of(command(speech, tmp_path / "student", "--steps", "1"))
    done = subprocess.run(command(speech, tmp_path / "other", "--layers", "0", "1"), capture_output=True, text=True)
    assert done.returncode == 1 and "other layers or other speech; give another --work." in done.stderr
    assert not (tmp_path / "other").exists()


def test_a_student_goes_on_from_another_with_maps_that_fit_it(speech, tmp_path):
    output_of(command(speech, tmp_path / "first", "--steps", "4", "--noise", "0"))
    go_on = ("--start", str(tmp_path / "first"), "--steps", "2", "--save-every", "1", "--noise", "0")
    losses = []
    for more in ((), ("--fit-maps",)):
        lines = output_of(command(speech, tmp_path / f"second{len(more)}", *go_on, *more)).splitlines()
        losses.append(float(next(line for line in lines if "step 1/2" in line).split("loss ")[1].split(",")[0]))
    assert losses[1] < losses[0]
    assert json.loads((tmp_path / "second1" / "distil.json").read_text())["fit_maps"] is True


def test_the_loss_falls(speech, tmp_path):
    options = ("--steps", "24", "--save-every", "12", "--noise", "0")
    lines = output_of(command(speech, tmp_path / "student", *options)).splitlines()
    first, last = (float(line.split("loss ")[1].split(",")[0]) for line in lines if "loss" in line)
    assert last < first
