"""Databases of audb: published by audb to a repository in a folder, and loaded from it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from corpus_trees import tone
from melt_ser.cli.compose import load_dataset
from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.download.audb import audb_folder
from melt_ser.corpora.load import load_corpus, read_release
from melt_ser.corpora.splits import make_fold_splits

audformat = pytest.importorskip("audformat")
audb = pytest.importorskip("audb")
audbackend = pytest.importorskip("audbackend")

Publish = Callable[[Any, Path, str], DatasetConfig]
SPEAKERS = ["a", "b", "c", "d"]
FILES = [f"wav/{speaker}_{number}.wav" for speaker in SPEAKERS for number in range(4)]
PARTS = {"train": FILES[:8], "dev": FILES[8:12], "test": FILES[12:]}

EMODB_WORDS = dict(W="anger", L="boredom", E="disgust", A="fear", F="happiness", T="sadness", N="neutral")


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """A function that publishes a database from its folder, and returns the settings that load it by its name."""
    host = tmp_path / "host"
    host.mkdir()
    audbackend.backend.FileSystem.create(str(host), "local")
    repository = audb.Repository("local", str(host), "file-system")
    monkeypatch.setattr(audb.config, "REPOSITORIES", [repository])
    monkeypatch.setenv("AUDB_CACHE_ROOT", str(tmp_path / "audb"))
    monkeypatch.setenv("AUDB_SHARED_CACHE_ROOT", str(tmp_path / "shared"))
    audb_folder.cache_clear()

    def publish(database: Any, folder: Path, version: str) -> DatasetConfig:
        database.save(str(folder))
        audb.publish(str(folder), version, repository, verbose=False)
        return replace(load_dataset("audformat"), repository=database.name, revision=version)

    return publish


def fill(table: Any, **columns: list[Any]) -> None:
    for name, values in columns.items():
        table[name] = audformat.Column(scheme_id=name)
        table[name].set(values)


def small_database(folder: Path) -> Any:
    """Return a database like those of audeering: labels of two kinds by split, and speakers in a misc table."""
    database = audformat.Database("emomini", languages=["de"], license="CC0-1.0")
    database.schemes["emotion"] = audformat.Scheme(labels={"anger": {"de": "Ärger"}, "happiness": {"de": "Freude"}})
    database.schemes["age"] = audformat.Scheme("int")
    database.schemes["gender"] = audformat.Scheme(labels=["female", "male"])
    database.schemes["language"] = audformat.Scheme(labels=["deu", "eng"])
    database["speaker"] = audformat.MiscTable(pd.Index(SPEAKERS, name="speaker", dtype="string"))
    languages = ["deu", "eng", None, "deu"]
    fill(database["speaker"], age=[20, 30, 40, 50], gender=["female", "male"] * 2, language=languages)
    database.schemes["speaker"] = audformat.Scheme("str", labels="speaker")
    for part, files in PARTS.items():
        database.splits[part] = audformat.Split(part)
        for kind, labels in (("gold_standard", ["anger", "happiness"]), ("desired", ["happiness", "anger"])):
            name = f"emotion.categories.{part}.{kind}"
            database[name] = audformat.Table(audformat.filewise_index(files), split_id=part)
            fill(database[name], emotion=labels * (len(files) // 2))
    database["files"] = audformat.Table(audformat.filewise_index(FILES))
    fill(database["files"], speaker=[file[4] for file in FILES])
    starts, ends = ["0s"] * 4 + ["0.2s"] * 4, ["0.2s"] * 4 + ["0.4s"] * 4
    database["turns"] = audformat.Table(audformat.segmented_index(FILES[:4] * 2, starts, ends))
    fill(database["turns"], emotion=["anger"] * 4 + ["happiness"] * 4)
    for number, file in enumerate(FILES):
        tone(folder / file, frequency=200 + 10 * number)
    return database


def test_audb_splits_speakers_and_languages_become_those_of_the_corpus(tmp_path: Path, publish: Publish) -> None:
    config = publish(small_database(tmp_path / "build"), tmp_path / "build", "1.0.0")
    corpus = load_corpus(replace(config, parts=["emotion.*.gold_standard"]))
    table = corpus.table.sort_values("utterance")
    assert table.groupby("split")["audio"].agg(list).to_dict() == PARTS
    assert table["emotion"].tolist() == ["angry", "happy"] * 8
    assert table["speaker"].tolist() == [file[4] for file in FILES]
    assert table["gender"].tolist() == (["female"] * 4 + ["male"] * 4) * 2
    assert table["language"].tolist() == ["de"] * 4 + ["en"] * 4 + ["de"] * 8  # of the header, where a speaker has none
    assert "licence of the database: CC0-1.0" in corpus.notes
    (split,) = make_fold_splits(corpus.table.assign(**{"class": corpus.table["emotion"]}), corpus.config)
    parts = (("train", split.train), ("dev", split.dev), ("test", split.test))
    assert {name: sorted(part["audio"]) for name, part in parts} == PARTS


def test_audb_segments_keep_their_times_and_take_the_speaker_of_their_file(tmp_path: Path, publish: Publish) -> None:
    config = publish(small_database(tmp_path / "build"), tmp_path / "build", "1.0.0")
    table = read_release(replace(config, parts=["turns"]))[1].table.sort_values(["audio", "start"])
    assert table[["audio", "start", "end", "label", "speaker"]].head(2).to_numpy().tolist() == [
        [FILES[0], 0.0, 0.2, "anger", "a"],
        [FILES[0], 0.2, 0.4, "happiness", "a"],
    ]


def test_audb_loads_a_database_once_and_then_needs_no_repository(tmp_path: Path, publish: Publish) -> None:
    config = replace(publish(small_database(tmp_path / "build"), tmp_path / "build", "1.0.0"), parts=["turns"])
    first = read_release(config)
    shutil.rmtree(tmp_path / "host")
    shutil.rmtree(tmp_path / "build")
    audb_folder.cache_clear()
    again = read_release(config)
    assert again[0] == first[0] and again[0].is_relative_to(tmp_path / "audb")
    pd.testing.assert_frame_equal(again[1].table, first[1].table)


def test_audb_mistakes_are_one_sentence(tmp_path: Path, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    config = publish(small_database(tmp_path / "build"), tmp_path / "build", "1.0.0")
    with pytest.raises(SetupError, match=r"'emomini' needs its version: dataset\.revision=1\.0\.0 is the newest\.$"):
        read_release(replace(config, revision=None))
    for changes in ({"revision": "2.0.0"}, {"repository": "emomin"}):
        with pytest.raises(SetupError, match=r"^audb cannot load the database .*Cannot find version.*dataset\.root"):
            read_release(replace(config, **changes))  # type: ignore[arg-type]
    choices = r"dataset\.parts, of emotion\.categories\.dev\.desired, .*gold_standard, turns\.$"
    with pytest.raises(InputError, match=rf"Found overlapping data in column 'emotion'\); .*{choices}"):
        read_release(config)
    audb_folder.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "audb", None)
    with pytest.raises(SetupError, match=r"needs audb: pip install 'melt-ser\[audb\]'\.$"):
        read_release(config)


@pytest.mark.slow
def test_emodb_through_audb_is_the_corpus_that_its_own_reader_reads(
    tmp_path: Path, publish: Publish, shared_data: Path
) -> None:
    root = shared_data / "emodb"
    ours = load_corpus(replace(load_dataset("emodb"), root=str(root))).table.sort_values("audio")
    files = ours["audio"].tolist()
    shutil.copytree(root / "wav", tmp_path / "build" / "wav")
    database = audformat.Database("emodb", languages=["deu"])
    genders = dict(zip(ours["speaker"], ours["gender"], strict=True))
    speakers = {speaker: {"gender": gender} for speaker, gender in genders.items()}
    database.schemes["speaker"] = audformat.Scheme("str", labels=speakers)
    database.schemes["emotion"] = audformat.Scheme(labels=sorted(EMODB_WORDS.values()))
    database["files"] = audformat.Table(audformat.filewise_index(files))
    fill(database["files"], speaker=ours["speaker"].tolist())
    for part, is_test in (("train", False), ("test", True)):
        rows = ours[(ours["speaker"].astype(int) > 12) == is_test]
        database.splits[part] = audformat.Split(part)
        database[f"emotion.{part}"] = audformat.Table(audformat.filewise_index(rows["audio"].tolist()), split_id=part)
        fill(database[f"emotion.{part}"], emotion=rows["label"].map(EMODB_WORDS).tolist())
    config = publish(database, tmp_path / "build", "1.4.1")
    theirs = load_corpus(config).table.sort_values("audio")
    columns = ["audio", "speaker", "gender", "language", "emotion"]
    assert len(theirs) == 535 and theirs[columns].to_numpy().tolist() == ours[columns].to_numpy().tolist()
    assert theirs["split"].value_counts().to_dict() == {"train": 278, "test": 257}
