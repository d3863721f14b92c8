"""A reader outside the package is found by import; a name that is no reader ends in one sentence with the fix."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from corpus_trees import tone
from melt_ser.cli.compose import load_config, load_dataset
from melt_ser.config import DatasetConfig
from melt_ser.core.errors import SetupError
from melt_ser.corpora import reader
from melt_ser.corpora.load import load_corpus, read_release
from melt_ser.corpora.reader import find_reader, package_readers

DOCUMENTED = textwrap.dedent(str(reader.__doc__).split("PYTHONPATH.\n\n")[1].split("\nLabels are mapped")[0])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two speakers with two labelled clips each, and a clip whose name has no label."""
    clips = ("anna/sad_01", "anna/joy_02", "ben/sad_01", "ben/joy_02", "ben/noise")
    for number, clip in enumerate(clips):
        tone(tmp_path / "corpus" / f"{clip}.wav", frequency=200 + 10 * number)
    return tmp_path / "corpus"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on Python's path."""
    folder = tmp_path / "code"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def config_for(name: str, root: Path, **changes: object) -> DatasetConfig:
    return DatasetConfig(name="mine", reader=name, root=str(root), **changes)  # type: ignore[arg-type]


def test_the_documented_reader_of_a_users_own_gives_a_corpus(root: Path, path: Path) -> None:
    (path / "documented_reader.py").write_text(DOCUMENTED)
    corpus = load_corpus(config_for("documented_reader", root))
    assert corpus.table["utterance"].tolist() == ["anna_joy_02", "anna_sad_01", "ben_joy_02", "ben_sad_01"]
    assert corpus.table["emotion"].tolist() == ["happy", "sad", "happy", "sad"], "common words need no label_map"
    assert corpus.dropped.to_numpy().tolist() == [["", "ben/noise.wav", "the name has no label"]]


def test_a_reader_in_a_users_package_may_build_its_table_by_hand(root: Path, path: Path) -> None:
    (path / "my_package").mkdir()
    (path / "my_package" / "reader.py").write_text(
        "import pandas as pd\nfrom melt_ser.corpora.table import Release\n"
        "def read(root, config):\n"
        "    row = {'utterance': 1, 'source': 'a', 'audio': 'anna/sad_01.wav', 'label': config.columns['label']}\n"
        "    return Release(pd.DataFrame([row]))\n"
    )
    _, release = read_release(config_for("my_package.reader", root, columns={"label": "sad"}))
    assert release.table.loc[0, ["utterance", "label", "speaker"]].tolist() == ["1", "sad", ""]


def test_a_users_reader_may_give_a_clip_several_rows(root: Path, path: Path) -> None:
    (path / "twice_reader.py").write_text(
        "from melt_ser.corpora.table import Release, make_table\n"
        "def read(root, config):\n"
        "    clips = [path.relative_to(root) for path in sorted(root.glob('*/*.wav'))]\n"
        "    return Release(make_table([\n"
        "        dict(utterance=f'{clip.parent}{clip.stem}{rater}', source=clip, audio=clip, label='sad')\n"
        "        for clip in clips for rater in 'ab']))\n"
    )
    (root / "anna" / "joy_02.wav").unlink()
    (root / "anna" / "joy_02.wav").touch()  # it cannot be read, and is tried again
    first = load_corpus(config_for("twice_reader", root))
    assert first.table["utterance"].tolist()[:4] == ["annasad_01a", "annasad_01b", "benjoy_02a", "benjoy_02b"]
    assert load_corpus(config_for("twice_reader", root)).table.equals(first.table)


def test_a_reader_in_the_current_folder_is_found_by_python_m(root: Path, tmp_path: Path) -> None:
    (tmp_path / "local_reader.py").write_text(DOCUMENTED)
    typed = ["dataset=csv", "dataset.name=mine", "dataset.reader=local_reader", f"dataset.root={root}"]
    command = [sys.executable, "-m", "melt_ser.prepare", *typed]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "4 clips verified" in done.stdout and "dropped: 1\n" in done.stdout


def test_a_users_reader_may_read_a_member_of_a_union(root: Path, path: Path) -> None:
    (path / "union_reader.py").write_text(DOCUMENTED)
    union = load_config("dataset=union", "dataset.members=[csv,demo_de]").dataset
    union.member_settings["csv"] = config_for("union_reader", root)
    assert set(load_corpus(union).table.query("corpus == 'mine'")["source"].str.partition("/")[0]) == {"mine"}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("emovoo", "neither a reader of melt_ser nor a module that Python finds; did you mean 'emovo'?"),
        ("splits", "choose from: aesdd, .*, urdu. For a reader of your own put its folder on PYTHONPATH"),
        ("file_names", "neither a reader"),  # a helper of the package's readers
        ("no_package.reader", "neither a reader"),
        ("my-reader", "cannot name a module"),
        ("../reader", "cannot name a module"),
        ("", "cannot name a module"),
        ("json", r"is the module .*json.*, which has no function read\(root, config\); add it"),
    ],
)
def test_a_name_that_is_no_reader_is_one_sentence(name: str, sentence: str, tmp_path: Path) -> None:
    config = load_dataset("emovo")
    config.root, config.reader = str(tmp_path), name
    with pytest.raises(SetupError, match=sentence) as caught:
        load_corpus(config)
    assert f"dataset.reader '{name}'" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (
            "needy",
            "import no_such_library",
            "cannot be imported .*No module named 'no_such_library'.*python -c \"import needy",
        ),
        ("garbled", "def read(root, config)\n    pass", "cannot be imported .*SyntaxError"),
        ("no_function", "read = 1", "has no function read"),
        (
            "of_a_list",
            "def read(root, config):\n    return []",
            r"returns list and not a Release; .*return Release\(make_table\(rows",
        ),
    ],
)
def test_a_broken_reader_of_a_users_own_is_one_sentence(
    name: str, content: str, sentence: str, path: Path, root: Path
) -> None:
    (path / f"{name}.py").write_text(content)
    with pytest.raises(SetupError, match=sentence) as caught:
        load_corpus(config_for(name, root))
    assert "\n" not in str(caught.value)


def test_a_bug_in_a_users_reader_keeps_its_traceback(path: Path, root: Path) -> None:
    (path / "buggy_reader.py").write_text("def read(root, config):\n    return {}['label']\n")
    with pytest.raises(KeyError, match="label"):
        load_corpus(config_for("buggy_reader", root))


def test_the_readers_of_the_package_go_first_and_are_the_modules_with_read(path: Path) -> None:
    (path / "emovo.py").write_text("raise RuntimeError")
    assert find_reader("emovo").__name__ == "melt_ser.corpora.readers.emovo"
    names = package_readers()
    assert {"emovo", "csv", "hub", "audformat_database", "melt"} <= set(names) and len(names) >= 26
    assert not {"release", "delimited", "annotations", "file_names"} & set(names)


@pytest.mark.parametrize(
    "setting", [("table", "mine.csv"), ("parts", ["test"]), ("subset", "English"), ("checkout", "superb")]
)
def test_a_setting_that_the_reader_would_ignore_is_refused(root: Path, path: Path, setting: tuple[str, object]) -> None:
    key, value = setting
    with pytest.raises(SetupError, match=rf"dataset\.{key} is for .*, and 'mine' is read by savee; leave it out"):
        read_release(config_for("savee", root, **{key: value}))
    (path / "documented_reader.py").write_text(DOCUMENTED)
    read_release(config_for("documented_reader", root, **{key: value}))  # a reader of one's own may read it
