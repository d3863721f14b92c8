"""A corpus in tar or parquet shards is read in place, like a CSV with its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from melt_ser.cli.compose import load_config
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.load import load_corpus
from melt_ser.corpora.readers.shards import read
from melt_ser.corpora.table import Release
from shard_files import recording, write_parquet, write_tar

LABELS = ("angry", "happy", "sad")


def samples(first: int, number: int, suffix: str = "wav") -> list[dict[str, Any]]:
    """Return samples of webdataset with data of their own."""
    return [
        {
            "__key__": f"s{key % 2}/{key:04}",
            suffix: recording(200 + 10 * key, suffix),
            "json": {"Emotion": LABELS[key % 3], "speaker": f"s{key % 2}", "age": 30},
            "txt": f"text {key}",
        }
        for key in range(first, first + number)
    ]


def release(root: Path, *overrides: str) -> Release:
    return read(root, load_config("dataset=shards", f"dataset.root={root}", *overrides).dataset)


def test_tar_shards_become_rows_with_their_data_and_the_split_of_their_names(tmp_path: Path) -> None:
    write_tar(tmp_path / "train-0000.tar", samples(0, 3))
    write_tar(tmp_path / "train-0001.tar", samples(3, 3, "flac"))
    write_tar(tmp_path / "deep" / "val-0000.tar", samples(6, 2))
    found = release(tmp_path)
    table = found.table.set_index("utterance")
    assert table.loc["s1/0003", ["audio", "label", "speaker", "text", "split", "source"]].tolist() == [
        "train-0001.tar/s1/0003.flac",
        "angry",
        "s1",
        "text 3",
        "train",
        "shards/s1/0003",
    ]
    assert table["split"].tolist() == ["dev"] * 2 + ["train"] * 6
    assert any("label from 'emotion'" in note for note in found.notes)
    assert "data that are not used: age" in found.notes
    corpus = load_corpus(load_config("dataset=shards", f"dataset.root={tmp_path}").dataset)
    assert len(corpus.table) == 8 and corpus.table["duration"].tolist() == [0.3] * 8


def test_a_sample_without_audio_or_label_is_counted(tmp_path: Path) -> None:
    odd = [{"__key__": "x", "json": {"emotion": "sad"}}, {"__key__": "y", "wav": recording(300)}]
    write_tar(tmp_path / "a.tar", [*samples(0, 2), *odd])
    found = release(tmp_path)
    assert len(found.table) == 2
    assert [skipped.reason.partition(":")[0] for skipped in found.skipped] == ["no audio", "no label"]


def test_parquet_shards_have_the_names_of_their_classes(tmp_path: Path) -> None:
    rows = [
        {"audio": {"bytes": recording(200 + 10 * key), "path": None}, "label": key % 3, "speaker": f"s{key % 2}"}
        for key in range(5)
    ]
    write_parquet(tmp_path / "data" / "train-00000-of-00001.parquet", rows, list(LABELS))
    write_parquet(tmp_path / "data" / "test-00000-of-00001.parquet", rows[:2], list(LABELS))
    found = release(tmp_path).table
    assert found["label"].tolist() == ["angry", "happy", "angry", "happy", "sad", "angry", "happy"]
    assert found["split"].tolist() == ["test"] * 2 + ["train"] * 5
    assert found["audio"].iloc[-1] == "data/train-00000-of-00001.parquet/0000004.wav"
    assert len(load_corpus(load_config("dataset=shards", f"dataset.root={tmp_path}").dataset).table) == 7


def test_a_csv_may_name_recordings_in_shards(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", samples(0, 3))
    audio = [*(f"a.tar/s{key % 2}/{key:04}.wav" for key in range(3)), "a.tar/none.wav"]
    pd.DataFrame({"audio": audio, "label": [*LABELS, "sad"]}).to_csv(tmp_path / "t.csv", index=False)
    corpus = load_corpus(load_config("dataset=csv", f"dataset.root={tmp_path}", "dataset.table=t.csv").dataset)
    assert corpus.table["audio"].tolist() == audio[:3]
    assert corpus.dropped["reason"].tolist() == ["no audio file: row 4"]


def test_shards_that_cannot_be_read_are_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"There is no shard \(\.tar or \.parquet\) below"):
        release(tmp_path)
    write_tar(tmp_path / "a.tar", samples(0, 2))
    write_tar(tmp_path / "b.tar", samples(1, 2))
    with pytest.raises(InputError, match=r"a\.tar and .*b\.tar both have the key 's1/0001'; rename one"):
        release(tmp_path)
    (tmp_path / "b.tar").rename(tmp_path / "b.tar.gz")
    with pytest.raises(InputError, match=r"b\.tar\.gz: is compressed, .* decompress it"):
        release(tmp_path)
    (tmp_path / "b.tar.gz").unlink()
    with pytest.raises(InputError, match=r"lacks the column label; its columns are: age, emotion, speaker, text"):
        release(tmp_path, "+dataset.columns.label=null")
