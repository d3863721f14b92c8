"""Whisper's decoder: the same words in any batch, with and without the settings of decoding, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import WhisperConfig, WhisperForConditionalGeneration, WhisperModel

from melt_ser.core.errors import SetupError
from melt_ser.models.recogniser import MULTILINGUAL, Recogniser, find_recogniser
from small_checkpoints import write_checkpoint
from small_recogniser import write_recogniser

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recogniser(tmp_path_factory.mktemp("whisper") / "small")


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    chance = np.random.default_rng(0)
    return [chance.standard_normal(16000 * seconds).astype(np.float32) for seconds in (1, 3, 2)]


def test_recogniser_the_words_of_a_clip_do_not_depend_on_its_batch(folder: Path, clips: list[np.ndarray]) -> None:
    recogniser = Recogniser(folder, "small", CPU)
    together = recogniser(clips)
    assert together == [recogniser([clip])[0] for clip in clips]
    assert all(together)
    assert recogniser.languages == []


def test_recogniser_settings_of_decoding_from_a_file_or_the_tokenizer_are_the_same(
    folder: Path, clips: list[np.ndarray]
) -> None:
    filled = Recogniser(folder, "small", CPU)
    settings = filled.model.generation_config
    vocabulary = filled.tokenizer.get_vocab()
    assert settings.no_timestamps_token_id == vocabulary["<|notimestamps|>"]
    assert settings.max_length == 12
    kept = write_recogniser(folder.parent / "kept")
    settings.save_pretrained(kept)
    assert Recogniser(kept, "small", CPU)(clips) == filled(clips)


def test_recogniser_weights_of_half_precision_are_computed_in_float32(tmp_path: Path, clips: list[np.ndarray]) -> None:
    folder = write_recogniser(tmp_path / "half")
    WhisperForConditionalGeneration.from_pretrained(folder).half().save_pretrained(folder)
    recogniser = Recogniser(folder, "half", CPU)
    assert {weight.dtype for weight in recogniser.model.parameters()} == {torch.float32}
    assert all(recogniser(clips))


def test_recogniser_of_many_languages_is_told_one_or_hears_it(tmp_path: Path, clips: list[np.ndarray]) -> None:
    recogniser = Recogniser(write_recogniser(tmp_path / "many", tokens=MULTILINGUAL), "many", CPU)
    assert recogniser.languages == ["de", "en"]
    told, generate = list[object](), recogniser.model.generate

    def seen(**settings: object) -> torch.Tensor:
        told.append((settings["task"], settings["language"]))
        tokens: torch.Tensor = generate(**settings)
        return tokens

    recogniser.model.generate = seen
    assert [len(recogniser(clips, language)) for language in ("en", "de", None)] == [3, 3, 3]
    assert told == [("transcribe", "en"), ("transcribe", "de"), ("transcribe", None)]


def test_recogniser_refuses_an_encoder_alone_another_model_and_a_missing_one(tmp_path: Path) -> None:
    alone = write_recogniser(tmp_path / "alone")
    config = WhisperConfig.from_pretrained(alone)
    encoder = WhisperModel(config).encoder
    (alone / "model.safetensors").unlink()
    encoder.save_pretrained(alone)
    config.save_pretrained(alone)
    with pytest.raises(SetupError, match="lack .*decoder.* the whole of Whisper, with its decoder"):
        Recogniser(alone, "alone", CPU)
    write_checkpoint(tmp_path / "hubert", "hubert")
    with pytest.raises(SetupError, match="is no Whisper model; give one with recogniser.checkpoint="):
        Recogniser(tmp_path / "hubert", "hubert", CPU)
    with pytest.raises(SetupError, match="is neither a folder nor a model of the hub"):
        find_recogniser(str(tmp_path / "none" / "there"), None)
    with pytest.raises(SetupError, match="HF_HUB_OFFLINE forbids asking the hub.*hf download some/whisper"):
        find_recogniser("some/whisper", None)


def test_recogniser_a_folder_is_named_by_a_digest_that_its_weights_change(tmp_path: Path) -> None:
    names = [find_recogniser(str(write_recogniser(tmp_path / "small", seed=seed)), None)[1] for seed in (0, 0, 1)]
    assert names[0].startswith("small (sha256:")
    assert names[0] == names[1] != names[2]
