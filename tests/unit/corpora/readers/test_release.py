"""What every reader passes over: hidden files, and the twins that macOS keeps in its archives."""

from __future__ import annotations

from pathlib import Path

from corpus_trees import placeholder
from melt_ser.config import DatasetConfig
from melt_ser.corpora.lines import files_of
from melt_ser.corpora.readers.release import annotation_file, audio_files, folders, visible_files

TWINS = ("._a.wav", ".DS_Store", "__MACOSX/a.wav", "__MACOSX/wav/._a.wav", "wav/__MACOSX/b.wav", "wav/._b.wav")


def test_twins_of_macos_are_no_files_of_a_release(tmp_path: Path) -> None:
    for name in ("a.wav", "wav/b.wav", *TWINS):
        placeholder(tmp_path / name)
    assert [path.relative_to(tmp_path).as_posix() for path in visible_files(tmp_path)] == ["a.wav", "wav/b.wav"]
    assert audio_files(tmp_path, nested=True) == visible_files(tmp_path)
    assert folders(tmp_path, DatasetConfig(name="any")) == [tmp_path, tmp_path / "wav"]


def test_an_annotation_file_is_not_looked_for_among_the_twins(tmp_path: Path) -> None:
    for folder in ("__MACOSX", "data"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "labels.csv").write_text(folder)
    config = DatasetConfig(name="any")
    assert annotation_file("labels.csv", folders(tmp_path, config), tmp_path, config).read_text() == "data"


def test_lines_to_annotate_are_not_read_from_a_twin(tmp_path: Path) -> None:
    for name in ("train_sent_emo.csv", "._train_sent_emo.csv"):
        placeholder(tmp_path / name)
    assert files_of(tmp_path) == [tmp_path / "train_sent_emo.csv"]
