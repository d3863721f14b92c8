"""audformat databases: small ones, written by audformat itself."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from corpus_trees import placeholder, tone
from melt_ser.cli.compose import load_dataset
from melt_ser.config import Target
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.load import load_corpus, read_release
from melt_ser.corpora.readers.audformat_database import read

audformat = pytest.importorskip("audformat")

CONFIG = replace(load_dataset("audformat"), language="de")
FILES = [f"wav/{name}.wav" for name in ("03a01Wa", "03a02Fa", "08a01Wa", "08a02Fa")]


def database(root: Path, storage: str = "csv") -> Any:
    """Write a database as emodb is published: a table of labels for each split, speakers and texts in `files`."""
    mini = audformat.Database("mini")
    mini.schemes["emotion"] = audformat.Scheme(labels=["anger", "happiness"])
    mini.schemes["speaker"] = audformat.Scheme(labels={3: {"gender": "male"}, 8: {"gender": "female"}})
    mini.schemes["transcription"] = audformat.Scheme(labels={"a01": "Der Lappen", "a02": "Das will sie"})
    for split, files in (("train", FILES[:2]), ("test", FILES[2:])):
        mini.splits[split] = audformat.Split(split)
        fill(mini, f"emotion.{split}", audformat.filewise_index(files), split, emotion=["anger", "happiness"])
    fill(mini, "files", audformat.filewise_index(FILES), None, speaker=[3, 3, 8, 8], transcription=["a01", "a02"] * 2)
    mini.save(str(root), storage_format=storage)
    for file in FILES:
        placeholder(root / file)
    return mini


def fill(mini: Any, table: str, index: pd.Index, split: str | None, **columns: list[Any]) -> None:
    mini[table] = audformat.Table(index, split_id=split)
    for name, values in columns.items():
        mini[table][name] = audformat.Column(scheme_id=name)
        mini[table][name].set(values)


@pytest.mark.parametrize("storage", ["csv", "parquet"])
def test_audformat_labels_speakers_and_splits_come_from_the_tables(tmp_path: Path, storage: str) -> None:
    database(tmp_path, storage)
    table = read(tmp_path, CONFIG).table.sort_values("utterance")
    columns = ["utterance", "audio", "split", "speaker", "gender", "language", "text", "label"]
    assert table[columns].to_numpy().tolist() == [
        ["wav/03a01Wa", "wav/03a01Wa.wav", "train", "3", "male", "de", "Der Lappen", "anger"],
        ["wav/03a02Fa", "wav/03a02Fa.wav", "train", "3", "male", "de", "Das will sie", "happiness"],
        ["wav/08a01Wa", "wav/08a01Wa.wav", "test", "8", "female", "de", "Der Lappen", "anger"],
        ["wav/08a02Fa", "wav/08a02Fa.wav", "test", "8", "female", "de", "Das will sie", "happiness"],
    ]
    assert table["start"].isna().all() and table["end"].isna().all()


def test_audformat_reads_segments_and_lists_missing_labels_and_files(tmp_path: Path) -> None:
    mini = database(tmp_path)
    index = audformat.segmented_index([FILES[0]] * 2 + [FILES[1]], ["0s", "1.5s", "0s"], ["1.5s", "2s", "1s"])
    fill(mini, "segments", index, None, emotion=["anger", "happiness", None])
    mini.save(str(tmp_path), storage_format="csv")
    (tmp_path / FILES[2]).unlink()
    table = read(tmp_path, replace(CONFIG, parts=["segments"])).table
    assert table[["audio", "start", "end", "label"]].to_numpy().tolist() == [
        [FILES[0], 0.0, 1.5, "anger"],
        [FILES[0], 1.5, 2.0, "happiness"],
    ]
    reasons = {item.reason.split(":")[0] for item in read(tmp_path, CONFIG).skipped}
    assert reasons == {"no label", "no audio file"}


def test_audformat_tables_that_disagree_are_refused_with_the_key_that_chooses(tmp_path: Path) -> None:
    mini = database(tmp_path)
    fill(mini, "ratings", audformat.filewise_index(FILES[:1]), None, emotion=["happiness"])
    mini.save(str(tmp_path), storage_format="csv")
    with pytest.raises(InputError, match=r"db\.yaml do not go together .*dataset\.parts"):
        read(tmp_path, CONFIG)
    assert len(read(tmp_path, replace(CONFIG, parts=["ratings"])).table) == 1


def test_audformat_refuses_a_file_in_two_splits(tmp_path: Path) -> None:
    mini = database(tmp_path)
    fill(mini, "emotion.more", audformat.filewise_index(FILES[:2]), "test", emotion=["anger", "happiness"])
    mini.save(str(tmp_path), storage_format="csv")
    sentence = r"2 files or segments in two splits \(such as wav/03a01Wa\.wav in 'test' and 'train'\).*dataset\.parts"
    with pytest.raises(InputError, match=sentence):
        read(tmp_path, CONFIG)
    assert len(read(tmp_path, replace(CONFIG, parts=["emotion.train", "emotion.test"])).table) == 4


def test_audformat_knows_splits_by_name_or_type_for_segments_too(tmp_path: Path) -> None:
    mini = database(tmp_path)
    mini.splits["a"] = audformat.Split("dev")
    mini.splits["wild"] = audformat.Split("other")
    for split, start in (("a", "0s"), ("wild", "1s")):
        index = audformat.segmented_index(["wav/new.wav"], [start], ["1s" if split == "a" else "2s"])
        fill(mini, f"emotion.{split}", index, split, emotion=["anger"])
    mini.save(str(tmp_path), storage_format="csv")
    placeholder(tmp_path / "wav" / "new.wav")
    release = read(tmp_path, CONFIG)
    assert sorted(release.table["split"]) == ["", "dev", "test", "test", "train", "train"]
    assert release.notes == ["rows of splits other than train, dev and test have none: wild (1)"]


def test_audformat_pickle_is_never_read(tmp_path: Path) -> None:
    database(tmp_path, "pkl")
    with pytest.raises(InputError, match=r"db\.emotion\.test\.csv or .* is missing, which is there only as a pickle"):
        read(tmp_path, CONFIG)
    database(tmp_path, "parquet")
    (tmp_path / "db.files.pkl").write_bytes(b"no pickle at all")
    assert len(read(tmp_path, CONFIG).table) == 4


@pytest.mark.parametrize(
    ("storage", "broken", "content"),
    [
        ("csv", "db.files.csv", b"speaker,transcription\n3,a01\n"),  # no column of files
        ("csv", "db.emotion.test.csv", b""),
        ("csv", "db.emotion.test.csv", "file,emotion\nwav/ä.wav,anger\n".encode("latin-1")),
        ("parquet", "db.emotion.test.parquet", b"PAR1"),
        ("csv", "db.yaml", b"just text"),
    ],
)
def test_audformat_error_names_the_broken_file(tmp_path: Path, storage: str, broken: str, content: bytes) -> None:
    database(tmp_path, storage)
    (tmp_path / broken).write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(tmp_path, CONFIG)
    sentence = str(caught.value)
    assert sentence.startswith(f"{tmp_path / broken} is not a ") and "\n" not in sentence
    assert sentence.endswith("); get the database again, or correct that file.")


def test_audformat_missing_table_is_named(tmp_path: Path) -> None:
    database(tmp_path)
    (tmp_path / "db.emotion.train.csv").unlink()
    with pytest.raises(
        InputError, match=r"db\.yaml names a table whose file db\.emotion\.train\.csv or .* is missing;"
    ):
        read(tmp_path, CONFIG)


def test_audformat_header_cannot_run_code(tmp_path: Path) -> None:
    database(tmp_path)
    header = tmp_path / "db.yaml"
    header.write_text(f"{header.read_text()}\nx: !!python/object/apply:os.mkdir ['{tmp_path / 'made'}']\n")
    with pytest.raises(InputError, match=r"db\.yaml is not a header of audformat"):
        read(tmp_path, CONFIG)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(parts=["emotion.trian"]), r"no table 'emotion\.trian' .*did you mean 'emotion\.train'\?"),
        (dict(columns={"speaker": "speakr"}), r"no 'speakr' \(dataset\.columns\.speaker\); did you mean 'speaker'\?"),
        (dict(columns={"lable": "emotion"}), r"'lable', which is no column of ours; did you mean 'label'\?"),
        (dict(columns={"label": None}), r"set \+dataset\.columns\.label to one of .*emotion"),
    ],
)
def test_audformat_mistake_is_one_sentence(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    database(tmp_path)
    with pytest.raises((InputError, SetupError), match=message):
        read(tmp_path, replace(CONFIG, **changes))


def test_audformat_without_database_or_package_names_the_fix(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"db\.yaml: set dataset\.root=.*audb\.load_to"):
        read(tmp_path, CONFIG)
    database(tmp_path)
    code = (
        "import sys; sys.modules['audformat'] = None; from pathlib import Path\n"
        "from melt_ser.corpora.readers.audformat_database import read; from melt_ser.cli.compose import load_dataset\n"
        f"read(Path({str(tmp_path)!r}), load_dataset('audformat'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "needs the package audformat: pip install 'melt-ser[audformat]'." in done.stderr


def test_a_database_without_labels_takes_them_from_a_file(tmp_path: Path) -> None:
    mini = database(tmp_path)
    for split in ("train", "test"):
        mini.drop_tables(f"emotion.{split}")
    del mini.schemes["emotion"]
    mini.save(str(tmp_path), storage_format="csv")
    with pytest.raises(InputError, match="has no 'emotion'"):
        read(tmp_path, CONFIG)
    (tmp_path / "labels.csv").write_text("file,label\nwav/03a01Wa.wav,anger\nwav/08a02Fa.wav,joy\n")
    config = replace(CONFIG, root=str(tmp_path), label_file=str(tmp_path / "labels.csv"))
    table = read_release(config)[1].table
    assert table[["audio", "speaker", "label"]].to_numpy().tolist() == [
        ["wav/03a01Wa.wav", "3", "anger"],
        ["wav/08a02Fa.wav", "8", "joy"],
    ]


def rated_database(root: Path, raters: int = 3) -> Any:
    """Write a database whose table `ratings` has a column of each rater for the emotion, and one for arousal."""
    mini = audformat.Database("rated")
    mini.schemes["emotion"] = audformat.Scheme(labels=["anger", "happiness"])
    mini.schemes["arousal"] = audformat.Scheme(audformat.define.DataType.FLOAT, minimum=-1, maximum=1)
    mini.schemes["tension"] = audformat.Scheme(audformat.define.DataType.FLOAT)
    says = [["anger", "anger", "happiness", "anger"], ["anger", "happiness", "happiness", None], ["happiness"] * 4]
    mini["ratings"] = audformat.Table(audformat.filewise_index(FILES))
    for number in range(raters):
        mini.raters[f"r{number}"] = audformat.Rater()
        mini["ratings"][f"e{number}"] = audformat.Column(scheme_id="emotion", rater_id=f"r{number}")
        mini["ratings"][f"e{number}"].set(says[number])
        mini["ratings"][f"a{number}"] = audformat.Column(scheme_id="arousal", rater_id=f"r{number}")
        mini["ratings"][f"a{number}"].set([0.1 * number, 0.5, -0.5, 1.0])
    mini["ratings"]["force"] = audformat.Column(scheme_id="tension")
    mini["ratings"]["force"].set([1.0, 2.0, 3.0, 4.0])
    mini.save(str(root), storage_format="csv")
    for number, file in enumerate(FILES):
        tone(root / file, frequency=200 + 50 * number)
    return mini


def test_the_raters_of_a_database_give_votes_and_its_schemes_the_scales(tmp_path: Path) -> None:
    rated_database(tmp_path)
    config = replace(CONFIG, root=str(tmp_path), target=Target.distribution)
    corpus = load_corpus(config)
    votes = corpus.table.set_index("utterance")[["votes angry", "votes happy"]]
    assert votes.loc["wav/03a01Wa"].tolist() == [2.0, 1.0] and votes.loc["wav/08a02Fa"].tolist() == [1.0, 1.0]
    assert "12 ratings by 3 raters of the database" in corpus.notes
    corpus = load_corpus(replace(config, target=Target.attributes))
    assert corpus.ratings is not None and corpus.ratings.scales == {"arousal": (-1.0, 1.0)}
    assert corpus.table["attribute arousal"].tolist() == pytest.approx([0.1, 0.5, -0.5, 1.0])
    assert corpus.ratings.single.query("rater == 'r2'")["arousal"].tolist() == pytest.approx([0.2, 0.5, -0.5, 1.0])
    with pytest.raises(InputError, match="do not go together"):  # classes need one label a file, as before
        read(tmp_path, replace(CONFIG, target=Target.label))


def test_a_tie_of_the_raters_is_a_distribution_like_any_other(tmp_path: Path) -> None:
    mini = rated_database(tmp_path, raters=2)
    for column in ("a0", "a1", "force"):
        del mini["ratings"].columns[column]
    mini["ratings"].df.drop(columns=["a0", "a1", "force"], inplace=True)
    mini.save(str(tmp_path), storage_format="csv")
    table = load_corpus(replace(CONFIG, root=str(tmp_path), target=Target.distribution)).table
    assert table.set_index("utterance").loc["wav/03a02Fa", ["votes angry", "votes happy"]].tolist() == [1.0, 1.0]


def test_a_column_or_a_scheme_of_a_database_is_an_attribute_if_it_is_named(tmp_path: Path) -> None:
    rated_database(tmp_path, raters=1)
    config = replace(CONFIG, root=str(tmp_path), attributes={"force": [0.0, 5.0]}, target=Target.several)
    corpus = load_corpus(config)
    assert corpus.ratings is not None and corpus.ratings.scales == {"force": (0.0, 5.0)}
    assert corpus.table["attribute force"].tolist() == [1.0, 2.0, 3.0, 4.0] and corpus.ratings.single.empty
    renamed = replace(config, attributes={"strain": [0.0, 5.0]}, columns={"strain": "tension"})
    assert load_corpus(renamed).table["attribute strain"].tolist() == [1.0, 2.0, 3.0, 4.0]
    with pytest.raises(InputError, match=r"db\.yaml has no 'forse' for forse; did you mean 'force'"):
        read(tmp_path, replace(config, attributes={"forse": [0.0, 5.0]}))
    assert read(tmp_path, CONFIG).ratings is None  # without a target, as before


def test_a_database_of_attributes_needs_no_label(tmp_path: Path) -> None:
    mini = rated_database(tmp_path, raters=1)
    del mini["ratings"].columns["e0"]
    mini["ratings"].df.drop(columns="e0", inplace=True)
    del mini.schemes["emotion"]
    mini.save(str(tmp_path), storage_format="csv")
    corpus = load_corpus(replace(CONFIG, root=str(tmp_path)))
    assert corpus.target is Target.attributes and corpus.table["attribute arousal"].tolist() == [0.0, 0.5, -0.5, 1.0]
