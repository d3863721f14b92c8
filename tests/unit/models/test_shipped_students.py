"""The pretrained students in the package: their files, their sizes, and that they differ from random weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

import melt_ser
from checkout import CHECKOUT
from melt_ser.audio.waveform import pad_together, prepare_waveform
from melt_ser.cli.compose import load_config
from melt_ser.config import BackboneConfig
from melt_ser.models.checkpoint_files import is_cached, weights_digest
from melt_ser.models.families import load_backbone
from small_models import speechlike

FOLDER = Path(melt_ser.__file__).parent / "students"
STUDENTS = ("wav2vec2_tiny", "hubert_tiny", "wavlm_tiny", "data2vec_tiny")


def test_the_files_are_those_of_the_checksums() -> None:
    assert {path.name for path in FOLDER.iterdir() if path.is_dir()} == set(STUDENTS)
    listed = dict(reversed(line.split("  ")) for line in (FOLDER / "SHA256SUMS").read_text().splitlines())
    files = {path for student in STUDENTS for path in (FOLDER / student).iterdir()}
    assert listed == {str(path.relative_to(FOLDER)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("student", STUDENTS)
def test_a_student_has_its_yaml_its_recipe_and_its_figures_in_the_card(student: str) -> None:
    settings = yaml.safe_load((CHECKOUT / "conf" / "backbone" / f"{student}.yaml").read_text())
    assert (settings["name"], settings["checkpoint"]) == (student, f"melt_ser/{student}")
    recipe = json.loads((FOLDER / student / "distil.json").read_text())
    assert f"{recipe['family']}_tiny" == student == settings["family"] + "_tiny"
    assert not [value for value in recipe.values() if "/" in str(value) and not str(value).startswith("sha256:")]
    assert f"| `{student}` |" in (FOLDER / "README.md").read_text()


@pytest.mark.parametrize("student", STUDENTS)
def test_a_student_has_two_to_four_million_weights_in_float16(student: str) -> None:
    path = FOLDER / student / "model.safetensors"
    weights = load_file(path)
    assert path.stat().st_size <= 8_000_000
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    assert 2e6 <= sum(tensor.numel() for tensor in weights.values()) <= 4e6
    assert all(tensor.isfinite().all() for tensor in weights.values())


@pytest.mark.parametrize("student", STUDENTS)
def test_a_student_loads_by_its_name_and_random_weights_have_its_shape(student: str) -> None:
    pretrained, random = (
        load_config(f"backbone={student}", *words).backbone for words in ((), ("backbone.init=random",))
    )
    assert is_cached(pretrained)
    assert (weights_digest(pretrained) or "").startswith("sha256:") and weights_digest(random) is None
    clip = pad_together([prepare_waveform(speechlike(16_000), do_normalize=True)])
    with torch.no_grad():
        ours, theirs = (load_backbone(config, 0).eval()(*clip).last_hidden_state for config in (pretrained, random))
    assert ours.shape == theirs.shape and ours.dtype == torch.float32
    assert (ours - theirs).abs().mean() > 0.1


def test_a_student_that_does_not_exist_is_no_name_of_the_hub() -> None:
    with pytest.raises(
        melt_ser.MeltSerError, match=r"students/hubert_tin does not exist; correct backbone\.checkpoint"
    ):
        load_backbone(BackboneConfig(family="hubert", checkpoint="melt_ser/hubert_tin"), 0)
