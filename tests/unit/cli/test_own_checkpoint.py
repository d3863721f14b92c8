"""A checkpoint of one's own has its own name, and the rates of a pretrained backbone of its family."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from melt_ser.cli.checks import check
from melt_ser.cli.compose import load_config
from melt_ser.core.errors import SetupError
from melt_ser.runs.folder import run_folder


@pytest.mark.parametrize(
    ("overrides", "name", "learning_rate", "freeze"),
    [
        (["backbone.family=hubert", "backbone.checkpoint=/models/mine"], "mine", 2e-5, "convolution"),
        (["backbone.family=hubert", "backbone.checkpoint=someone/ser-model"], "ser-model", 2e-5, "convolution"),
        (["backbone=hubert", "backbone.checkpoint=/models/it's mine/"], "it_s_mine", 2e-5, "convolution"),
        (["backbone=hubert_large", "backbone.checkpoint=/models/mine"], "mine", 1e-5, "convolution"),
        (["backbone=hubert_large", "backbone.family=wavlm", "backbone.checkpoint=/m/x"], "x", 2e-5, "convolution"),
        (["backbone.checkpoint=/models/mine", "backbone.name=ours", "backbone.freeze=6"], "ours", 2e-5, 6),
        (["backbone.checkpoint=/models/mine", "backbone.learning_rate=5e-4"], "mine", 5e-4, "convolution"),
        (["backbone=wavlm", "backbone.revision=main"], "wavlm", 2e-5, "convolution"),
        (["backbone=wavlm_tiny_random"], "wavlm_tiny_random", 5e-4, "nothing"),
        (["backbone=wavlm_tiny"], "wavlm_tiny", 2e-4, "convolution"),
        (["backbone=wavlm_tiny", "backbone.init=random"], "wavlm_tiny", 2e-4, "nothing"),
        (["backbone=wavlm_tiny", "backbone.init=random", "backbone.freeze=1"], "wavlm_tiny", 2e-4, 1),
        (["backbone=wavlm", "backbone.checkpoint=/models/mine", "backbone.init=random"], "mine", 2e-5, "nothing"),
        (["backbone=wavlm", "backbone.checkpoint=null"], "wavlm_tiny_random", 5e-4, "nothing"),
        (["backbone=whisper_small", "backbone.checkpoint=null"], "whisper_random", 5e-4, "nothing"),
        (["backbone=wavlm", "backbone.checkpoint=null", "backbone.name=ours", "backbone.freeze=1"], "ours", 5e-4, 1),
    ],
)
def test_name_and_rates_belong_to_the_checkpoint(
    overrides: list[str], name: str, learning_rate: float, freeze: int | str
) -> None:
    quoted = [f'{key}="{value}"' if "'" in value else f"{key}={value}" for key, _, value in map(split, overrides)]
    config = load_config(*quoted)
    assert (config.backbone.name, config.backbone.learning_rate, config.backbone.freeze) == (
        name,
        learning_rate,
        freeze,
    )
    assert (config.trainer.backbone_learning_rate, config.trainer.freeze) == (learning_rate, freeze)
    assert run_folder(config).parent.parent.name == name


def test_the_tuned_state_is_that_of_the_family() -> None:
    own = "backbone.checkpoint=/models/mine"
    assert load_config("backbone=whisper_tiny", own, "head=one_layer").head.layers == 3
    assert load_config("backbone=whisper_tiny", "backbone.family=hubert", own, "head=one_layer").head.layers == "last"


def split(override: str) -> tuple[str, str, str]:
    return override.partition("=")


def test_revision_and_pickles_are_those_of_the_yamls_checkpoint_alone() -> None:
    shipped, own = load_config("backbone=wavlm"), load_config("backbone=wavlm", "backbone.checkpoint=someone/else")
    assert shipped.backbone.revision is not None and shipped.backbone.allow_pickle
    assert own.backbone.revision is None and not own.backbone.allow_pickle
    asked = load_config(
        "backbone=wavlm", "backbone.checkpoint=someone/else", "backbone.allow_pickle=true", "backbone.revision=abc"
    )
    assert asked.backbone.revision == "abc" and asked.backbone.allow_pickle


def test_random_weights_have_nothing_of_the_checkpoint_that_the_yaml_names() -> None:
    random = load_config("backbone=wavlm", "backbone.checkpoint=null").backbone
    assert random == load_config("backbone=wavlm_tiny_random").backbone


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            ["trainer=lora", "backbone.learning_rate=1e-4"],
            ["backbone.learning_rate is a default of trainer.backbone_learning_rate, which is 0.001 here"],
        ),
        (
            ["trainer=frozen", "backbone.freeze=2", "backbone.state=1"],
            [
                "backbone.freeze is a default of trainer.freeze, which is everything here",
                "backbone.state is a default of head.layers, which is all here",
            ],
        ),
        (["backbone.learning_rate=1e-4", "backbone.freeze=1", "backbone.state=1"], []),
        (
            ["trainer=frozen", "trainer.backbone_learning_rate=1e-4"],
            [
                "trainer.backbone_learning_rate has no effect with trainer.freeze=everything, which trains no layer; "
                "leave it out."
            ],
        ),
        (["trainer=frozen"], []),
    ],
)
def test_a_setting_of_the_backbone_that_nothing_takes_is_told(
    settings: list[str], told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="melt_ser"):
        load_config(*settings)
    assert [sentence.partition("; set ")[0] for sentence in caplog.messages] == [f"note: {said}" for said in told]


def test_the_command_says_the_name_and_the_rates(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "melt_ser.train", "backbone.family=hubert", f"backbone.checkpoint={tmp_path}"]
    found = subprocess.run([*command, f"out={tmp_path / 'runs'}"], capture_output=True, text=True)
    assert found.returncode == 2
    assert (
        f"note: {tmp_path} runs under the name '{tmp_path.name}' with backbone.learning_rate=2e-05, "
        "backbone.freeze=convolution and backbone.state=last; the defaults are those of backbone=hubert."
        in found.stderr
    )


def test_sizes_of_random_weights_beside_a_checkpoint_are_refused() -> None:
    check(load_config("backbone=wavlm_tiny_random", "backbone.architecture.hidden_size=64"))
    for checkpoint in ("/m/x", "melt_ser/wavlm_tiny"):
        with pytest.raises(SetupError, match=f"checkpoint={checkpoint} has its own sizes; leave the sizes out, or"):
            check(load_config("backbone.architecture.hidden_size=64", f"backbone.checkpoint={checkpoint}"))


def test_a_yaml_of_ones_own_may_refer_to_another_group(tmp_path: Path) -> None:
    yaml = "name: mine\nfamily: hubert\ncheckpoint: /models/mine\nlearning_rate: ${trainer.head_learning_rate}\n"
    (tmp_path / "backbone").mkdir()
    (tmp_path / "backbone/mine.yaml").write_text(yaml)
    command = [
        sys.executable,
        "-m",
        "melt_ser.train",
        "--config-dir",
        str(tmp_path),
        "backbone=mine",
        f"out={tmp_path}",
    ]
    found = subprocess.run([*command, "backbone.checkpoint=/models/x"], capture_output=True, text=True)
    assert "note: /models/x runs under the name 'x' with backbone.learning_rate=0.001," in found.stderr


def test_a_yaml_that_builds_on_another_has_its_settings(tmp_path: Path) -> None:
    (tmp_path / "backbone").mkdir()
    (tmp_path / "backbone/mine.yaml").write_text("defaults: [hubert_large, _self_]\nname: mine\n")
    command = [
        sys.executable,
        "-m",
        "melt_ser.train",
        "--config-dir",
        str(tmp_path),
        "backbone=mine",
        f"out={tmp_path}",
    ]
    found = subprocess.run([*command, "backbone.checkpoint=/models/x"], capture_output=True, text=True)
    assert "note: /models/x runs under the name 'x' with backbone.learning_rate=1e-05," in found.stderr
