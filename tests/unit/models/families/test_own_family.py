"""A family of the user's own: a module outside the package that trains, is saved and loads."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from melt_ser.cli.compose import load_config
from melt_ser.config import BackboneConfig, HeadConfig
from melt_ser.core.errors import SetupError
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.models.export import load_model, save_model
from melt_ser.models.families import check_family, load_backbone
from melt_ser.runs.fold import build_model
from small_models import CLASSES, batch_of, small_config

# A real one would build another model; this one is a wav2vec 2.0 whose frames are doubled.
MODULE = """
from melt_ser.models.families.wav2vec2 import Wav2Vec2Backbone
from melt_ser.models.families import wav2vec2
from dataclasses import replace

class Doubled(Wav2Vec2Backbone):
    def normalise_last(self, state):
        return 2.0 * super().normalise_last(state)

    def equals_transformers(self, head):
        return False

def load_backbone(config, seed, time_mask_probability=0.0, feature_mask_probability=0.0):
    plain = wav2vec2.load_backbone(
        replace(config, family="wav2vec2"), seed, time_mask_probability, feature_mask_probability
    )
    return Doubled("doubled", plain.model, plain.do_normalize)
"""


FRAMELESS = """class Doubled(Wav2Vec2Backbone):
    has_frames = False
"""


@pytest.fixture
def own_family(tmp_path: Path, monkeypatch) -> str:
    (tmp_path / "doubled.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "doubled", raising=False)
    return "doubled"


def settings(family: str) -> BackboneConfig:
    return BackboneConfig(name="own", family=family, architecture=small_config("wav2vec2").architecture)


@torch.no_grad()
def test_a_module_of_the_users_own_is_a_family(own_family):
    ours = load_backbone(settings("wav2vec2"), 0).eval()(*batch_of(4000)).last_hidden_state
    theirs = load_backbone(settings(own_family), 0).eval()(*batch_of(4000)).last_hidden_state
    torch.testing.assert_close(theirs, 2.0 * ours)


@torch.no_grad()
def test_a_saved_model_names_its_family_but_does_not_import_it(own_family, tmp_path, monkeypatch):
    model = SpeechClassifier(load_backbone(settings(own_family), 0), HeadConfig(), CLASSES).eval()
    save_model(model, tmp_path / "model")
    assert torch.equal(load_model(tmp_path / "model")(*batch_of(4000)), model(*batch_of(4000)))
    monkeypatch.delitem(sys.modules, own_family)
    with pytest.raises(SetupError, match="if you trust it, name it: predict … --family doubled, evaluate … family=d"):
        load_model(tmp_path / "model")
    assert own_family not in sys.modules


def test_a_family_without_frames_is_for_a_probe(own_family, tmp_path, monkeypatch):
    Path(tmp_path / "doubled.py").write_text(MODULE.replace("class Doubled(Wav2Vec2Backbone):", FRAMELESS))
    config = load_config("backbone=hubert_tiny_random", f"backbone.family={own_family}")
    with pytest.raises(SetupError, match="backbone.family=doubled has no frames to train on; set trainer=probe"):
        build_model(config, CLASSES)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("wavlmm", "neither a family of melt_ser nor a module that Python finds; did you mean 'wavlm'"),
        ("json", "is the module .*json.*, which has no function load_backbone"),
        ("../x", "cannot name a module"),
    ],
)
def test_a_name_that_is_no_family_is_one_sentence(name, sentence):
    with pytest.raises(SetupError, match=sentence):
        check_family(name)
