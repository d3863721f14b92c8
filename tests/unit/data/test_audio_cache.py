"""The cache of decoded clips: the same samples to the bit, after any writer and any interruption."""

from __future__ import annotations

import os
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from torch.utils.data import DataLoader

from melt_ser.audio.augment import Augmentation, Crop
from melt_ser.cli.compose import load_config
from melt_ser.config import AugmentConfig, CacheConfig
from melt_ser.core.package import CACHE_VARIABLE, cache_folder
from melt_ser.corpora.corpus import Corpus
from melt_ser.corpora.load import load_corpus
from melt_ser.data.audio_cache import AudioCache, open_audio_cache
from melt_ser.data.datasets import WaveformDataset
from small_runs import CLASSES, outcome, train
from small_runs import corpus as tones

SPEAKERS, EACH = 2, 3


def mixed(folder: Path) -> Path:
    """Write clips as wav at 16 kHz (quick to read), as flac, and as wav at 22,050 Hz (both slow)."""
    root = tones(folder, SPEAKERS, EACH)
    table = (root / "table.csv").read_text()
    for number, path in enumerate(sorted((root / "wav").glob("*.wav"))):
        waveform, _ = soundfile.read(path)
        if number % 3 == 1:
            soundfile.write(path, waveform, 22_050)
        if number % 3 == 2:
            path.unlink()
            soundfile.write(path.with_suffix(".flac"), waveform, 16_000)
            table = table.replace(f"wav/{path.name}", f"wav/{path.stem}.flac")
    (root / "table.csv").write_text(table)
    return root


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    root = mixed(tmp_path / "c")
    return load_corpus(load_config("dataset=csv", f"dataset.root={root}", "dataset.table=table.csv").dataset)


def utterances(corpus: Corpus, cache: AudioCache | None) -> WaveformDataset:
    table = corpus.table.assign(**{"class": corpus.table["emotion"]})
    augment = Augmentation(AugmentConfig(gain_decibels=6.0))
    data = WaveformDataset(table, corpus.root, CLASSES, True, augment, Crop(0.25), cache=cache)
    data.keeps_decoded = False  # a small corpus would stay in memory
    return data


def open_cache(corpus: Corpus, folder: Path) -> AudioCache:
    cache = open_audio_cache(corpus.name, corpus.table, CacheConfig(folder=str(folder)))
    assert cache is not None
    return cache


def test_the_audio_cache_returns_the_same_samples_and_holds_only_slow_clips(corpus: Corpus, tmp_path: Path) -> None:
    cache = open_cache(corpus, tmp_path / "cache")
    plain, first, second = (
        utterances(corpus, opened) for opened in (None, cache, open_cache(corpus, tmp_path / "cache"))
    )
    quick = corpus.table["audio"].str.endswith(".wav") & (corpus.table["sample_rate"] == 16_000)
    assert ((first.clips == -1) == quick).all()
    assert 0 < quick.sum() < len(quick)
    assert [cache.read(clip) for clip in range(len(cache.names))] == [None] * int((~quick).sum())
    expected = [plain[row] for row in range(len(plain))]
    for data in (first, first, second):
        for (waveform, label, row), (theirs, their_label, _) in zip(
            map(data.__getitem__, range(6)), expected, strict=True
        ):
            assert waveform.numpy().tobytes() == theirs.numpy().tobytes(), data.path(row)
            assert label == their_label
    shutil.rmtree(corpus.root / "wav")
    slow = np.flatnonzero(~quick)
    assert all((second[row][0] == expected[row][0]).all() for row in slow)  # nothing is decoded again


def test_decoding_workers_fill_the_audio_cache_together(corpus: Corpus, tmp_path: Path) -> None:
    cache = open_cache(corpus, tmp_path / "cache")
    data = utterances(corpus, cache)
    for _ in DataLoader(data, batch_size=1, num_workers=2, collate_fn=WaveformDataset.collate):
        pass
    waveforms = [cache.read(clip) for clip in range(len(cache.names))]
    assert all(waveform is not None for waveform in waveforms)
    again = pickle.loads(pickle.dumps(cache))  # for workers that are spawned, not forked
    assert (again.numbers(corpus.table) == cache.numbers(corpus.table)).all()
    assert (again.read(0) == waveforms[0]).all()


@pytest.mark.parametrize("damage", ["samples", "checksum", "cut"])
def test_a_damaged_clip_in_the_audio_cache_is_decoded_again(damage: str, corpus: Corpus, tmp_path: Path) -> None:
    cache = open_cache(corpus, tmp_path / "cache")
    data = utterances(corpus, cache)
    row = int(np.flatnonzero(data.clips == 0)[0])
    expected = data[row][0]
    place = {"samples": cache._offset(0) + 40, "checksum": 0, "cut": None}[damage]
    if place is None:
        os.truncate(cache.path, cache._offset(0) + 40)
    else:
        os.pwrite(cache.file, b"\1\2\3\4", place)
    assert cache.read(0) is None
    assert (data[row][0] == expected).all()
    assert cache.read(0) is not None


def test_another_recording_or_rate_is_another_clip_in_the_audio_cache(corpus: Corpus, tmp_path: Path) -> None:
    one = open_cache(corpus, tmp_path / "cache")
    corpus.table.loc[corpus.table["sample_rate"] == 22_050, "sample_rate"] = 24_000
    other = open_cache(corpus, tmp_path / "cache")
    assert one.path != other.path
    assert (one.numbers(corpus.table) == -1).sum() > (other.numbers(corpus.table) == -1).sum()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (CacheConfig(max_gib=1e-6), r"\d KiB are needed and 0 KiB of cache\.max_gib=1e-06 are taken in"),
        (CacheConfig(folder="/proc/nowhere"), r"cannot be written \(.*\); set cache\.folder"),
    ],
)
def test_an_audio_cache_that_cannot_be_written_says_why(
    settings: CacheConfig,
    sentence: str,
    corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "empty"))  # other tests fill the cache that they share
    assert open_audio_cache(corpus.name, corpus.table, settings) is None
    message = capsys.readouterr().err
    assert message.startswith("note: the clips of 'csv' are decoded anew every epoch: ")
    assert re.search(sentence, message)


def test_a_full_disk_does_not_stop_the_audio_cache(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    cache = open_cache(corpus, tmp_path / "cache")
    monkeypatch.setattr("melt_ser.data.audio_cache.os.pwrite", full)
    data = utterances(corpus, cache)
    expected = utterances(corpus, None)
    assert all((data[row][0] == expected[row][0]).all() for row in range(6))
    assert cache.read(0) is None


def test_a_run_is_the_same_without_with_and_from_the_audio_cache(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = mixed(tmp_path / "c")
    settings = ("dataset.folds=2", "trainer.epochs=2", "augment=light", "dataset.group=source")
    runs = [("without", "cache.audio=false"), ("first", "seed=0"), ("second", "seed=0")]
    folders = [train(tmp_path / out, root, *settings, more)[0] for out, more in runs]
    assert capsys.readouterr().err.count("note: decoded clips of 'csv' are cached in ") == 1
    assert len(list((cache_folder() / "waveforms").iterdir())) >= 1
    outcomes = [outcome(folder) for folder in folders]
    assert outcomes[1] == outcomes[2]
    for name in ("metrics.csv", "predictions/csv.csv", "model/model.safetensors"):
        assert outcomes[0][name] == outcomes[1][name]
