"""Data sets in the formats of the Hugging Face hub: parquet with audio within, and the audiofolder layout."""

from __future__ import annotations

import io
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import soundfile

from corpus_trees import placeholder, write_text
from melt_ser.cli.compose import load_dataset
from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.download import hub
from melt_ser.corpora.download.hub import hub_folder
from melt_ser.corpora.load import corpus_root, load_corpus, read_release
from melt_ser.corpora.readers.hub import read

CONFIG = replace(
    load_dataset("hub"), language="pl", columns={"label": "emotion", "speaker": "speaker_id", "text": None}
)
AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.fixture(autouse=True)
def own_datasets_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a cache of its own, so that it unpacks by itself and leaves the user's cache alone."""
    monkeypatch.setenv("MELT_SER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "hf"))


def clip(frequency: float = 220.0) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.3 * np.sin(2 * np.pi * frequency * np.arange(6400) / 16000), 16000, format="wav")
    return buffer.getvalue()


def parquet_file(path: Path, paths: list[str | None], emotions: list[int | None]) -> None:
    """Write a file as the datasets library does: audio as bytes and path, the label as a class label."""
    rows = [None if name is None else {"bytes": clip(200 + number), "path": name} for number, name in enumerate(paths)]
    columns = {
        "audio": pa.array(rows, AUDIO),
        "emotion": pa.array(emotions, pa.int64()),
        "speaker_id": pa.array(range(len(paths)), pa.int32()),
        "gender": ["female"] * len(paths),
        "text": ["Dzień dobry"] * len(paths),
    }
    features = {
        "audio": {"_type": "Audio"},
        "emotion": {"names": ["anger", "joy"], "_type": "ClassLabel"},
        "speaker_id": {"dtype": "int32", "_type": "Value"},
        "gender": {"dtype": "string", "_type": "Value"},
        "text": {"dtype": "string", "_type": "Value"},
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns).replace_schema_metadata(metadata), path)


def test_hub_parquet_is_unpacked_once_into_clips(tmp_path: Path) -> None:
    root = tmp_path / "data_set"
    parquet_file(root / "data" / "train-00000-of-00001.parquet", ["a.wav", "b.flac"], [0, 1])
    parquet_file(root / "data" / "validation-00000-of-00001.parquet", ["a.wav"], [1])
    parquet_file(root / "data" / "test-00000-of-00001.parquet", ["c.wav"], [0])
    corpus = load_corpus(replace(CONFIG, root=str(root)))
    columns = ["utterance", "split", "speaker", "gender", "language", "text", "label", "emotion", "duration"]
    assert corpus.table.sort_values("utterance")[columns].to_numpy().tolist() == [
        ["test/c", "test", "0", "female", "pl", "", "anger", "angry", 0.4],
        ["train/a", "train", "0", "female", "pl", "", "anger", "angry", 0.4],
        ["train/b", "train", "1", "female", "pl", "", "joy", "happy", 0.4],
        ["validation/a", "dev", "0", "female", "pl", "", "joy", "happy", 0.4],
    ]
    assert (corpus.root / "train" / "a.wav").read_bytes() == clip(200)
    written = {path: path.stat().st_mtime_ns for path in corpus.root.rglob("*")}
    assert load_corpus(replace(CONFIG, root=str(root))).digest == corpus.digest
    assert {path: path.stat().st_mtime_ns for path in corpus.root.rglob("*")} == written
    parquet_file(root / "data" / "test-00000-of-00001.parquet", ["c.wav", "d.wav"], [0, 0])
    assert len(read(root, CONFIG).table) == 5  # a changed data set is unpacked again


def test_hub_takes_the_labels_of_clips_without_a_table_from_their_folders(tmp_path: Path) -> None:
    for number, name in enumerate(("train/anger/1.wav", "train/joy/1.wav", "test/joy/3.wav")):
        (tmp_path / "set" / name).parent.mkdir(parents=True)
        (tmp_path / "set" / name).write_bytes(clip(200 + number))
    corpus = load_corpus(replace(load_dataset("hub"), root=str(tmp_path / "set")))
    table = corpus.table[["audio", "split", "emotion"]]
    assert sorted(table.to_numpy().tolist()) == [
        ["test/3.wav", "test", "happy"],
        ["train/0000001.wav", "train", "happy"],  # two clips of a split have the name 1.wav
        ["train/1.wav", "train", "angry"],
    ]
    assert (corpus.root / "train" / "0000001.wav").read_bytes() == clip(201)


def test_hub_reads_clips_beside_a_parquet_file_and_none_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "set" / "clips").mkdir(parents=True)
    for name in ("set/clips/a.wav", "b.wav"):
        (tmp_path / name).write_bytes(clip())
    paths = ["clips/a.wav", "../b.wav", str(tmp_path / "b.wav"), "clips/none.wav"]
    rows = pa.array([{"bytes": None, "path": path} for path in paths], AUDIO)
    table = pa.table({"audio": rows, "emotion": ["joy"] * 4, "speaker_id": ["1"] * 4})
    parquet.write_table(table, tmp_path / "set" / "train.parquet")
    release = read(tmp_path / "set", CONFIG)
    assert release.table["audio"].tolist() == ["train/a.wav"]
    assert [item.reason for item in release.skipped] == ["no audio: row 2", "no audio: row 3", "no audio: row 4"]


def test_hub_data_set_with_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    parquet_file(tmp_path / "set" / "data" / "train-0.parquet", ["a.wav"], [0])
    (tmp_path / "set" / "data" / "train-1.parquet").write_bytes(b"PAR1" + bytes(100))
    with pytest.raises(InputError, match=r"set cannot be read to its end \(.+\); get the data set again"):
        read(tmp_path / "set", CONFIG)
    assert not list((tmp_path / "cache" / "hub").glob("hub-*"))  # nothing half-written stays


def test_hub_never_writes_a_clip_outside_its_folder(tmp_path: Path) -> None:
    clips = ["../../evil.wav", "/etc/passwd", "same.wav", "x\\same.wav", ".hidden.wav", "metadata.csv", None]
    parquet_file(tmp_path / "set" / "train.parquet", clips, [0, 0, 0, 0, 0, None, -1])
    release = read(tmp_path / "set", CONFIG)
    written = [path for path in (tmp_path / "cache" / "hub").rglob("*") if path.is_file()]
    names = {path.name for path in written if path.suffix != ".lock"}
    assert names == {"evil.wav", "0000001.wav", "same.wav", "0000003.wav", "0000004.wav", "0000005.wav", "metadata.csv"}
    assert len(release.table) == 5
    assert [item.reason for item in release.skipped] == ["no label: row 6", "no audio: row 7"]
    assert set(release.table["split"]) == {""}  # a single split counts as none


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_hub_reads_an_audiofolder_in_place(tmp_path: Path, suffix: str) -> None:
    for split in ("train", "test"):
        rows = [{"file_name": f"clips/{n}.wav", "Emotion": "joy", "speaker_id": f"s{n}"} for n in range(2)]
        if suffix == ".jsonl":
            told = {"text": "a\u2028line\x85end"}  # no end of a line of JSON
            text = "".join(json.dumps(row | told, ensure_ascii=False) + "\r\n" for row in rows) + " \n"
        else:
            text = "".join(",".join(values) + "\n" for values in [rows[0], *(row.values() for row in rows)])
        write_text(tmp_path / "set" / split / f"metadata{suffix}", text)
        placeholder(tmp_path / "set" / split / "clips" / "0.wav")
    release = read(tmp_path / "set", CONFIG)
    assert release.root == tmp_path / "set"
    assert release.table[["audio", "split", "speaker", "label"]].to_numpy().tolist() == [
        ["test/clips/0.wav", "test", "s0", "joy"],
        ["train/clips/0.wav", "train", "s0", "joy"],
    ]
    assert [item.audio for item in release.skipped] == ["test/clips/1.wav", "train/clips/1.wav"]


def test_hub_takes_the_split_of_a_path_of_windows_from_its_folder(tmp_path: Path) -> None:
    clips = ("train/a.wav", "test/b.wav")
    for clip_ in clips:
        placeholder(tmp_path / clip_)
    rows = "".join(clip_.replace("/", "\\") + ",joy,s1\n" for clip_ in clips)
    write_text(tmp_path / "metadata.csv", f"file_name,Emotion,speaker_id\n{rows}")
    table = read(tmp_path, CONFIG).table
    assert dict(zip(table["audio"], table["split"], strict=True)) == {"train/a.wav": "train", "test/b.wav": "test"}


def test_hub_reads_only_clear_columns_without_an_entry_and_notes_them(tmp_path: Path) -> None:
    """A data set's own source, session, start and end are often an origin, a room and dates."""
    columns = "file_name,emotion,speaker_id,source,session,utterance,start,end,split,gender,language"
    for number in range(2):
        placeholder(tmp_path / f"{number}.wav")
    rows = "".join(f"{number}.wav,joy,1,youtube,7,Hello.,2021,2022,train,m,Polish\n" for number in range(2))
    write_text(tmp_path / "metadata.csv", f"{columns}\n{rows}")
    release = read(tmp_path, CONFIG)
    first = release.table.iloc[0]
    assert (first.utterance, first.source, first.session, first.split) == ("0", "hub/0", "", "")
    assert np.isnan(first.start) and np.isnan(first.end) and (first.gender, first.language) == ("male", "pl")
    assert release.notes == [
        "columns: audio from file_name, gender from gender, label from emotion, speaker from speaker_id; not read: "
        "source, session, utterance, start, end, split, language (dataset.columns)"
    ]
    named = replace(CONFIG, columns={**CONFIG.columns, "session": "session"})
    assert read(tmp_path, named).table["session"].tolist() == ["7", "7"]


def test_hub_notes_genders_that_it_does_not_know(tmp_path: Path) -> None:
    rows = "".join(f"{number}.wav,joy,1,{word}\n" for number, word in enumerate(("F", "woman", "woman", "2", "")))
    write_text(tmp_path / "metadata.csv", f"file_name,emotion,speaker_id,gender\n{rows}")
    for number in range(5):
        placeholder(tmp_path / f"{number}.wav")
    release = read(tmp_path, CONFIG)
    assert release.table["gender"].tolist() == ["female", "", "", "", ""]
    assert release.notes[-1] == "genders that are neither female nor male count as not known: woman (2), 2 (1)"


def test_hub_refuses_words_that_are_no_split(tmp_path: Path) -> None:
    write_text(tmp_path / "metadata.csv", "file_name,emotion,speaker_id,fold\na.wav,joy,1,train\nb.wav,joy,1,holdout\n")
    for name in "ab":
        placeholder(tmp_path / f"{name}.wav")
    with pytest.raises(InputError, match=r"row 2: the split is 'holdout'; it must be train, dev, test or empty"):
        read(tmp_path, replace(CONFIG, columns={**CONFIG.columns, "split": "fold"}))


def test_hub_parts_choose_splits_with_other_names(tmp_path: Path) -> None:
    for part in ("crema_d", "nemo"):
        write_text(tmp_path / part / "metadata.csv", "file_name,emotion,speaker_id\na.wav,joy,1\n")
        placeholder(tmp_path / part / "a.wav")
    release = read(tmp_path, CONFIG)
    assert len(release.table) == 2
    assert release.notes[-1] == (
        "2 rows are in parts that are not called train, dev or test and so have no split: crema_d (1), nemo (1); "
        "dataset.parts chooses among them"
    )
    release = read(tmp_path, replace(CONFIG, parts=["nemo"]))
    assert release.table[["audio", "split"]].to_numpy().tolist() == [["nemo/a.wav", ""]]
    with pytest.raises(SetupError, match=r"no split 'nemoo' \(dataset\.parts\); did you mean 'nemo'\?"):
        read(tmp_path, replace(CONFIG, parts=["nemoo"]))


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("file_name,emotion\na.wav,joy\n", {}, r"metadata\.csv has no column 'label': set \+dataset\.columns\.label"),
        ("file_name,emotion\na.wav,joy\n", {"label": "emotoin"}, r"no column 'emotoin' .*did you mean 'emotion'\?"),
        ("file_name,emotion\na.wav,joy\n", {"lable": "emotion"}, r"has 'lable', .*did you mean 'label'\?"),
        ("name,label\na.wav,joy\n", {}, r"metadata\.csv lacks the column file_name"),
        ("file_name,label\n../a.wav,joy\n", {}, r"the audio path '\.\./a\.wav' is not below dataset\.root"),
    ],
)
def test_hub_mistake_is_one_sentence(tmp_path: Path, text: str, columns: dict[str, str | None], message: str) -> None:
    write_text(tmp_path / "metadata.csv", text)
    with pytest.raises((InputError, SetupError), match=message):
        read(tmp_path, replace(CONFIG, columns=columns))


def test_hub_refuses_a_folder_that_is_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty is no data set with parquet or a metadata\.csv"):
        read(tmp_path / "empty", CONFIG)
    parquet_file(tmp_path / "set" / "train.parquet", ["a.wav"], [0])
    with pytest.raises(InputError, match=r"set has no column 'sound' \(dataset\.columns\.audio\); it has audio"):
        read(tmp_path / "set", replace(CONFIG, columns={"audio": "sound", "label": "emotion"}))
    assert not list((tmp_path / "cache" / "hub").glob("hub-*"))  # nothing half-written stays


def test_hub_repository_is_downloaded_once_or_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(CONFIG, repository="someone/speech")
    with pytest.raises(SetupError, match="hf download --repo-type dataset someone/speech --local-dir <folder>"):
        corpus_root(config)  # HF_HUB_OFFLINE

    def download(repository: str, *, repo_type: str, revision: str | None, local_dir: Path) -> None:
        assert (repository, repo_type, revision) == ("someone/speech", "dataset", None)
        parquet_file(local_dir / "train.parquet", ["a.wav", "b.wav"], [0, 1])

    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.snapshot_download", download)
        root = corpus_root(config)
    assert corpus_root(config) == root
    assert len(read(root, config).table) == 2


def test_hub_deletes_what_a_killed_process_has_unpacked(tmp_path: Path) -> None:
    parquet_file(tmp_path / "set" / "train.parquet", ["a.wav"], [0])
    folder = hub.unpack_hub(tmp_path / "set", CONFIG)
    left = folder.rename(folder.with_name(f".{folder.name}.0a1b2c3d"))
    other = left.with_name(".other-set.0a1b2c3d")
    other.mkdir()
    assert hub.unpack_hub(tmp_path / "set", CONFIG) == folder
    assert (folder / "train" / "a.wav").is_file() and not left.exists() and other.is_dir()


def test_hub_parquet_is_unpacked_by_one_of_two_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet_file(tmp_path / "set" / "train.parquet", ["a.wav"], [0])
    load, loads = hub._load_splits, []

    def slowly(root: Path, config: DatasetConfig) -> dict[str, Any]:
        loads.append(root)
        time.sleep(0.2)
        return load(root, config)

    monkeypatch.setattr(hub, "_load_splits", slowly)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: hub.unpack_hub(tmp_path / "set", CONFIG), range(2))
    assert first == second and (first / "train" / "a.wav").is_file() and loads == [tmp_path / "set"]


def test_hub_repository_is_downloaded_by_one_of_two_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    downloads = []

    def download(repository: str, *, local_dir: Path, **_: object) -> None:
        downloads.append(repository)
        time.sleep(0.2)
        parquet_file(local_dir / "train.parquet", ["a.wav"], [0])

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: hub_folder("someone/speech", None), range(2))
    assert first == second and (first / "train.parquet").is_file() and downloads == ["someone/speech"]
    assert f"waiting for another process that is at work in {first}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "reason, sentence",
    [
        (
            ConnectionError(111, "Connection refused"),
            r"cannot be downloaded \(.*Connection refused\); get it on a machine",
        ),
        (RuntimeError("server disconnected"), r"cannot be downloaded \(server disconnected\); get it on a machine"),
        (
            OSError(28, "No space left on device"),
            r"unfinished: No space left on device; free space there or set MELT_SER",
        ),
    ],
)
def test_hub_download_that_breaks_off_is_one_sentence_and_continues_later(
    reason: Exception, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(repository: str, *, local_dir: Path, **_: object) -> None:
        local_dir.mkdir(parents=True)
        (local_dir / "half").touch()
        raise reason

    def goes_on(repository: str, *, local_dir: Path, **_: object) -> None:
        assert (local_dir / "half").is_file()

    monkeypatch.setattr("huggingface_hub.snapshot_download", breaks)
    with pytest.raises(SetupError, match=sentence):
        hub_folder("someone/speech", None)
    monkeypatch.setattr("huggingface_hub.snapshot_download", goes_on)
    assert hub_folder("someone/speech", None).is_dir()


def test_hub_download_without_a_place_for_the_cache_names_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MELT_SER_CACHE", str(tmp_path / "file"))
    with pytest.raises(SetupError, match=r"Not a directory; free space there or set MELT_SER_CACHE\.$"):
        hub_folder("someone/speech", None)


def test_hub_split_cannot_name_a_folder_outside(tmp_path: Path) -> None:
    parquet_file(tmp_path / "set" / "a.parquet", ["a.wav"], [0])
    header = "configs:\n- config_name: default\n  data_files:\n  - split: ../../evil\n    path: a.parquet\n"
    write_text(tmp_path / "set" / "README.md", f"---\n{header}---\n")
    with pytest.raises(InputError, match="is no data set with parquet"):
        read(tmp_path / "set", CONFIG)
    assert not list(tmp_path.rglob("*evil*"))


def test_a_data_set_without_labels_takes_them_from_a_file(tmp_path: Path) -> None:
    root = tmp_path / "folder"
    for name in ("a", "b"):
        (root / f"{name}.wav").parent.mkdir(exist_ok=True)
        (root / f"{name}.wav").write_bytes(clip())
    write_text(root / "metadata.csv", "file_name,speaker\na.wav,1\nb.wav,2\n")
    config = replace(load_dataset("hub"), root=str(root))
    with pytest.raises(InputError, match="has no column 'label'"):
        read(root, config)
    write_text(tmp_path / "labels.csv", "utterance,llm_label\nb,joy\na,\n")
    _, release = read_release(replace(config, label_file=str(tmp_path / "labels.csv")))
    assert release.table[["audio", "label"]].to_numpy().tolist() == [["b.wav", "joy"]]
    assert [one.reason for one in release.skipped] == ["no label in labels.csv"]
