"""Paths in a user's table, as programs and people write them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from make_audio import sound
from melt_ser.cli.compose import load_dataset
from melt_ser.corpora.load import load_corpus
from melt_ser.corpora.readers.audio_paths import RootFolder

ROOT = RootFolder(Path("/data/mine"))


@pytest.mark.parametrize(
    ("written", "relative"),
    [
        ("wav/a.wav", "wav/a.wav"),
        ("./wav//a.wav", "wav/a.wav"),
        ("/data/mine/wav/a.wav", "wav/a.wav"),
        ("/data/other/../mine/wav/a.wav", "wav/a.wav"),
        ("../mine/wav/a.wav", "wav/a.wav"),
        ("wav\\a.wav", "wav/a.wav"),
        (".\\wav\\a.wav", "wav/a.wav"),
        ("file:///data/mine/wav/a%20b.wav", "wav/a b.wav"),
        ("file://localhost/data/mine/a.wav", "a.wav"),
        ("file:/data/mine/%C3%BC.wav", "ü.wav"),
        ("100%20.wav", "100%20.wav"),  # only an address has such codes
        (".", "."),
    ],
)
def test_a_path_below_the_root_is_understood(written: str, relative: str) -> None:
    assert ROOT.relative(written, "table.csv, row 1") == relative


def test_root_of_the_file_system_takes_any_absolute_path() -> None:
    assert RootFolder(Path("/")).relative("/data/mine/a.wav", "") == "data/mine/a.wav"


def test_a_root_that_is_a_link_is_known_by_both_names(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    for root in ("disk", "link"):
        for written in ("disk", "link"):
            assert RootFolder(tmp_path / root).relative(f"{tmp_path}/{written}/a.wav", "") == "a.wav"


def test_a_relative_root_takes_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert RootFolder(Path("mine")).relative(os.path.join(tmp_path, "mine", "a.wav"), "") == "a.wav"


def test_a_corpus_with_absolute_paths_is_the_same_corpus(tmp_path: Path) -> None:
    (tmp_path / "wav").mkdir()
    sound(tmp_path / "wav" / "pcm16.wav")
    digests = {}
    for audio in ("wav/pcm16.wav", f"{tmp_path}/wav/pcm16.wav", "wav\\pcm16.wav", f"file://{tmp_path}/wav/pcm16.wav"):
        (tmp_path / "my.csv").write_text(f"audio,label\n{audio},sad\n")
        digests[audio] = load_corpus(replace(load_dataset("csv"), table="my.csv", root=str(tmp_path))).digest
    assert len(set(digests.values())) == 1


def test_a_corpus_may_lie_anywhere_below_the_root_of_the_file_system(tmp_path: Path) -> None:
    sound(tmp_path / "pcm16.wav")
    (tmp_path / "my.csv").write_text(f"audio,label\n{tmp_path}/pcm16.wav,sad\n")
    corpus = load_corpus(replace(load_dataset("csv"), table=str(tmp_path / "my.csv"), root="/"))
    assert corpus.table["audio"].tolist() == [f"{tmp_path}/pcm16.wav".removeprefix("/")]
