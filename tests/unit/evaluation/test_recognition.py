"""The words of a corpus: heard once, cached by audio and recogniser, in windows, in the language of each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from melt_ser.cli.compose import load_config
from melt_ser.core.errors import SetupError
from melt_ser.core.package import cache_folder
from melt_ser.corpora.corpus import Corpus
from melt_ser.corpora.load import load_corpus
from melt_ser.evaluation.recognition import heard_words
from melt_ser.models.recogniser import Recogniser

pytestmark = pytest.mark.usefixtures("empty_cache")


@dataclass
class Ear:
    """A recogniser that hears the hundredths of a second of each clip, and fails after some batches."""

    digest: str = "one"
    languages: list[str] = field(default_factory=list)
    batches: int = 99
    name: str = "ear"
    device = torch.device("cpu")
    heard: list[tuple[int, str | None]] = field(default_factory=list)
    check_language = Recogniser.check_language

    def __call__(self, clips: Sequence[np.ndarray], language: str | None = None) -> list[str]:
        if not self.batches:
            raise KeyboardInterrupt
        self.batches -= 1
        self.heard += [(len(clip), language) for clip in clips]
        return [f"{round(len(clip) / 160)}" for clip in clips]


def corpus(root: Path, seconds: Sequence[float], **columns: Sequence[str]) -> Corpus:
    """Return a corpus of noise; the clips have these lengths."""
    chance = np.random.default_rng(0)
    for number, length in enumerate(seconds):
        soundfile.write(root / f"{number}.wav", 0.1 * chance.standard_normal(round(length * 16000)), 16000)
    names = [f"{number}.wav" for number in range(len(seconds))]
    table = pd.DataFrame({"audio": names})
    table.assign(label="angry", **columns).to_csv(root / "t.csv", index=False)
    settings = ("dataset=csv", f"dataset.root={root}", "dataset.table=t.csv", "dataset.maximum_seconds=100")
    return load_corpus(load_config(*settings).dataset)


def words(corpus: Corpus, ear: Ear, language: str | None = None) -> list[str]:
    return heard_words(corpus, ear, language, 2)  # type: ignore[arg-type]


def test_words_are_heard_once_for_an_audio_and_a_recogniser(tmp_path: Path) -> None:
    read = corpus(tmp_path, [0.5, 0.7, 0.6])
    assert words(read, Ear()) == ["50", "70", "60"]
    again = Ear()
    assert words(read, again) == ["50", "70", "60"]
    assert again.heard == []
    other = Ear("another")
    assert words(read, other) == ["50", "70", "60"]
    assert len(other.heard) == 3


def test_words_a_killed_call_goes_on_and_a_cut_line_is_heard_again(tmp_path: Path) -> None:
    read = corpus(tmp_path, [0.5, 0.7, 0.6, 0.8, 0.9])
    with pytest.raises(KeyboardInterrupt):
        words(read, Ear(batches=1))
    [cache] = (cache_folder() / "words").glob("*.jsonl")
    assert cache.read_text().count("\n") == 2
    cache.write_bytes(cache.read_bytes()[:-3])
    rest = Ear()
    assert words(read, rest) == ["50", "70", "60", "80", "90"]
    assert sorted(length for length, _ in rest.heard) == [8000, 9600, 11200, 12800]  # all but the first of its batch
    assert len(cache.read_text().splitlines()) == 5


def test_words_a_long_clip_is_heard_in_equal_windows_without_a_gap(tmp_path: Path) -> None:
    ear = Ear()
    assert words(corpus(tmp_path, [70.0, 30.0, 0.5]), ear) == ["2333 2333 2333", "3000", "50"]
    assert sum(length for length, _ in ear.heard) == pytest.approx(100.5 * 16000, abs=3)


def test_words_each_row_is_heard_in_its_language_if_the_recogniser_knows_it(tmp_path: Path) -> None:
    read = corpus(tmp_path, [0.5, 0.6, 0.7], language=["de-AT", "ur", ""])
    ear = Ear(languages=["en", "de"])
    words(read, ear)
    assert sorted(ear.heard) == [(8000, "de"), (9600, None), (11200, None)]
    told = Ear(languages=["en", "de"])
    words(read, told, "en")
    assert {language for _, language in told.heard} == {"en"}
    with pytest.raises(SetupError, match="recogniser.language: ear has no 'dee'; did you mean 'de'"):
        words(read, told, "dee")


def test_words_other_languages_than_english_are_told_if_the_recogniser_knows_english_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words(corpus(tmp_path, [0.5, 0.6], language=["de", "en"]), Ear())
    assert "note: ear knows English alone, and 1 of 2 utterances are in others." in capsys.readouterr().err


def test_words_what_is_no_speech_is_no_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {8000: "[Music]", 9600: "(laughs) oh my ♪"}
    monkeypatch.setattr(Ear, "__call__", lambda self, clips, language: [said[len(clip)] for clip in clips])
    assert words(corpus(tmp_path, [0.5, 0.6]), Ear()) == ["", "oh my"]
