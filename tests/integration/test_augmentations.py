"""Runs with augmentations: several at once, resumed to the bit, never in a test, and their folders checked before."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from melt_ser.cli.compose import compose
from melt_ser.core.errors import InputError, SetupError
from melt_ser.runs.finished_run import load_model
from melt_ser.runs.run import run
from small_runs import CLASSES, corpus, outcome, predictions, train, typed
from stopped_runs import stopped_at

ALL = "augment=[speed,room,noise,codec,pitch,band_limit,mixup]"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, ...]:
    """Write a folder of noise and one of impulse responses; return the settings that name them."""
    generator = np.random.default_rng(0)
    for kind, wave in (
        ("noise", 0.1 * generator.standard_normal(20_000)),
        ("room", np.exp(-np.arange(400) / 100) * generator.standard_normal(400)),
    ):
        (tmp_path / kind).mkdir()
        soundfile.write(tmp_path / kind / "a.wav", wave, 16_000, subtype="FLOAT")
    return tuple(f"augment.{kind}_folder={tmp_path / kind}" for kind in ("noise", "room"))


def test_all_at_once_resume_to_the_bit_and_are_named_in_the_result(tmp_path: Path, folders: tuple[str, ...]) -> None:
    root, settings = corpus(tmp_path / "c"), (ALL, *folders, "trainer.epochs=2")
    folder, result = train(tmp_path / "whole", root, *settings)
    augment = result["config"]["augment"]
    assert augment["name"] == "speed+room+noise+codec+pitch+band_limit+mixup"
    assert (augment["room_probability"], augment["noise_probability"], augment["mixup_alpha"]) == (0.5, 0.5, 0.4)
    assert augment["codecs"] == ["mp3", "opus", "g711"] and augment["noise_folder"] == str(tmp_path / "noise")
    assert len(result["train"]["sounds"]) == 64
    with stopped_at():
        train(tmp_path / "stopped", root, *settings)
    resumed, _ = train(tmp_path / "stopped", root, *settings)
    assert outcome(resumed) == outcome(folder)


def test_a_test_is_never_augmented(tmp_path: Path) -> None:
    root = corpus(tmp_path / "c")
    folder, _ = train(tmp_path / "runs", root, "augment=[pitch,codec,band_limit,mixup]", "augment.codec_probability=1")
    model = load_model(folder, device="cpu")
    for utterance, row in predictions(folder)[list(CLASSES)].iterrows():
        alone = model.predict(root / f"{utterance}.wav").iloc[0]
        assert np.abs((alone[list(CLASSES)] - row).to_numpy(dtype=float)).max() < 1e-5


def test_a_run_does_not_go_on_with_other_noise(tmp_path: Path, folders: tuple[str, ...]) -> None:
    root, settings = corpus(tmp_path / "c"), ("augment=noise", folders[0], "trainer.epochs=2")
    with stopped_at():
        train(tmp_path / "runs", root, *settings)
    soundfile.write(tmp_path / "noise" / "b.wav", np.full(800, 0.1), 16_000)
    with pytest.raises(
        InputError, match=r"The recordings in augment\.noise_folder or augment\.room_folder have changed"
    ):
        train(tmp_path / "runs", root, *settings)


def test_a_finished_run_needs_its_folder_no_more(tmp_path: Path, folders: tuple[str, ...]) -> None:
    root, settings = corpus(tmp_path / "c"), ("augment=noise", folders[0])
    folder, _ = train(tmp_path / "runs", root, *settings)
    (tmp_path / "noise").rename(tmp_path / "gone")
    assert train(tmp_path / "runs", root, *settings)[0] == folder


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["augment.pitch_semitones=4"], ["augment.pitch_semitones has no effect with augment.pitch_probability=0"]),
        (["augment=[codec,speed]", "augment.codecs=[mp3]", "augment.codec_probability=0"], ["augment.codecs has no"]),
        (["augment=light", "augment.noise_snr_decibels=[0,10]"], []),
        (["augment=nothing"], []),
    ],
)
def test_a_setting_of_a_change_that_does_not_happen_is_told(
    settings: list[str], told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A range or a strength does not switch its change on; this was not said."""
    with caplog.at_level("INFO", logger="melt_ser"):
        compose(settings)
    assert len(caplog.messages) == len(told)
    assert all(said.startswith(f"note: {one}") for said, one in zip(caplog.messages, told, strict=True))


@pytest.mark.parametrize(
    "settings, sentence",
    [
        (("augment=noise",), "augment=noise needs a folder of recordings of noise: augment.noise_folder=<folder>."),
        (("augment=room",), "augment=room needs a folder of impulse responses of rooms: augment.room_folder=<folder>."),
        (("augment.room_probability=0.5",), "augment=room needs a folder of impulse responses of rooms"),
        (("augment=room", "augment.room_folder=/nowhere"), "augment.room_folder: there is no folder /nowhere."),
        (("augment.noise_folder=/nowhere",), "augment.noise_folder has no effect with augment.noise_probability=0;"),
        (("augment=pitch", "augment.pitch_semitones=20"), "augment.pitch_semitones is above 0 and up to 12, not 20.0."),
        (("augment=codec", "augment.codecs=[]"), "augment.codecs names one or more codecs;"),
        (("augment=codec", "augment.codec_kilobits=[64,12]"), "augment.codec_kilobits is [lowest, highest], from 6 to"),
        (("augment.band_limit_hertz=[300,9000]",), "augment.band_limit_hertz is [lowest, highest], between 0 and 8000"),
        (("augment=mixup", "augment.mixup_alpha=0"), "augment.mixup_alpha is a number above 0, not 0.0."),
        (("augment=mixup", "augment.mixup_probability=2"), "augment.mixup_probability is from 0 to 1, not 2.0."),
    ],
)
def test_a_wrong_setting_is_told_before_the_training(
    settings: tuple[str, ...], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("melt_ser.runs.run._train_and_score", lambda *_: pytest.fail("the training began"))
    with pytest.raises(SetupError) as error:
        run(compose(typed(tmp_path / "runs", corpus(tmp_path / "c"), *settings)))
    assert sentence in str(error.value)


def test_a_combination_has_the_joined_names_unless_one_is_given() -> None:
    assert compose(["augment=[masking,light]"]).augment.name == "masking+light"
    assert compose(["augment=[masking,light]", "augment.name=mine"]).augment.name == "mine"
    assert compose(["augment=[light]"]).augment.name == "light"
    assert compose(["augment=light"]).augment.name == "light"


def test_the_losses_of_a_mix_are_finite_in_half_precision(tmp_path: Path) -> None:
    settings = ("augment=mixup", "augment.mixup_probability=1", "trainer.precision=bf16", "trainer.label_smoothing=0.1")
    folder, _ = train(tmp_path / "runs", corpus(tmp_path / "c"), *settings, "trainer.batch_seconds=1")
    losses = pd.read_csv(folder / "metrics.csv")["train_loss"]
    assert losses.between(0.1, 10).all()
    assert json.loads((folder / "result.json").read_text())["config"]["augment"]["name"] == "mixup"
