"""The backbones in conf/backbone say what they were trained on; a plain name is a self-supervised checkpoint."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from melt_ser.cli.compose import load_config
from melt_ser.core.package import conf_folder
from melt_ser.models.families import MODULES

SHIPPED = {path.stem: yaml.safe_load(path.read_text()) for path in Path(conf_folder() / "backbone").glob("*.yaml")}
SUFFIXES = {
    "_asr": "speech recognition",
    "_emotion": "emotion",
    "_tiny": "distillation",
    "_random": "none",
    "egemaps": "none",
}


@pytest.mark.parametrize("name", SHIPPED)
def test_the_name_of_a_backbone_tells_what_it_was_trained_on(name: str) -> None:
    backbone = SHIPPED[name]
    expected = next((word for suffix, word in SUFFIXES.items() if name.endswith(suffix)), "self-supervised")
    if (backbone["checkpoint"] or "").startswith("openai/whisper-"):  # it has no self-supervised one
        expected = "speech recognition"
    if backbone["family"] == "unispeech" and backbone["checkpoint"]:  # labels of phonemes are part of its method
        expected = "self-supervised and phonemes"
    assert (backbone["name"], backbone["pretraining"]) == (name, expected)
    fine_tuned = any(mark in (backbone["checkpoint"] or "") for mark in ("-960h", "-ft", "whisper"))
    assert fine_tuned == (expected in ("speech recognition", "emotion"))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_backbone_composes_and_its_family_is_known(name: str) -> None:
    backbone = load_config(f"backbone={name}").backbone
    assert backbone.family in MODULES
    assert backbone.revision in (None, "main") or re.fullmatch("[0-9a-f]{40}", backbone.revision)


@pytest.mark.parametrize("name", [name for name in SHIPPED if name.endswith("_asr")])
def test_a_checkpoint_for_recognition_has_a_self_supervised_one_of_its_size(name: str) -> None:
    plain = SHIPPED[name.removesuffix("_asr")]
    assert plain["family"] == SHIPPED[name]["family"]
    assert plain["learning_rate"] == SHIPPED[name]["learning_rate"]


@pytest.mark.parametrize("experiment", ["melt_table", "superb_er", "emobox_intra", "cross_corpus"])
def test_an_experiment_takes_the_checkpoints_of_its_publication(experiment: str) -> None:
    settings = yaml.safe_load(Path(conf_folder() / "experiment" / f"{experiment}.yaml").read_text())
    backbones = settings["hydra"]["sweeper"]["params"]["backbone"].split(",")
    trained_on = {name: SHIPPED[name]["pretraining"] for name in backbones}
    if experiment == "melt_table":
        assert SHIPPED["wav2vec2_asr"]["checkpoint"] == "facebook/wav2vec2-base-960h"
        assert trained_on.pop("wav2vec2_asr") and trained_on.pop("wav2vec2_emotion")
    assert set(trained_on.values()) == {"self-supervised"}


def test_a_checkpoint_of_ones_own_is_not_said_to_be_what_the_yamls_checkpoint_is() -> None:
    assert load_config("backbone=wavlm", "backbone.checkpoint=someone/else").backbone.pretraining == "not stated"
    stated = load_config("backbone=wavlm", "backbone.checkpoint=someone/else", "backbone.pretraining=emotion")
    assert stated.backbone.pretraining == "emotion"
