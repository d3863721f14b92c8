"""Paths in a user's table, as programs and people write them."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest

from corpus_trees import placeholder
from make_audio import sound
from melt_ser.cli.compose import load_dataset
from melt_ser.corpora.load import load_corpus, read_release
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


def test_labels_and_ratings_name_files_in_either_unicode_form(tmp_path: Path) -> None:
    """macOS writes a letter and its accent apart in the names of files, and a table by people has them together."""
    stored, other = (unicodedata.normalize(form, "Jürgen.wav") for form in ("NFD", "NFC"))
    for name in (stored, "anna.wav"):
        placeholder(tmp_path / name)
    (tmp_path / "my.csv").write_text(f"audio,label\n{other},sad\nanna.wav,sad\n", encoding="utf-8")
    (tmp_path / "labels.csv").write_text(f"audio,label\n{other},angry\nanna.wav,angry\n", encoding="utf-8")
    apart = unicodedata.normalize("NFD", "Ärger")
    (tmp_path / "raters.csv").write_text(
        f"audio,rater,label\n{other},r1,Ärger\nanna.wav,r1,{apart}\n", encoding="utf-8"
    )
    config = replace(load_dataset("csv"), table="my.csv", root=str(tmp_path))
    _, labelled = read_release(replace(config, label_file=str(tmp_path / "labels.csv")))
    assert labelled.table["label"].tolist() == ["angry", "angry"] and labelled.skipped == []
    _, rated = read_release(replace(config, raters="raters.csv"))
    assert rated.ratings is not None and rated.ratings.votes.to_dict() == {"Ärger": {stored[:-4]: 1.0, "anna": 1.0}}
