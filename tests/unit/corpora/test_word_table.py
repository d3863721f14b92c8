"""`dataset.words`: the words of a table in place of the column text, and what is said about them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from melt_ser.cli.compose import load_config
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.corpus import Corpus
from melt_ser.corpora.load import load_corpus
from melt_ser.corpora.word_table import word_notes, write_words
from melt_ser.runs.identity import identity
from small_texts import spoken_corpus


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spoken_corpus(tmp_path_factory.mktemp("words") / "corpus")


def settings(root: Path, *overrides: str) -> list[str]:
    return ["dataset=csv", f"dataset.root={root}", "dataset.table=table.csv", *overrides]


def load(root: Path, words: Path) -> Corpus:
    return load_corpus(load_config(*settings(root, f"dataset.words={words}")).dataset)


def test_word_table_replaces_the_words_and_names_the_recogniser(root: Path, tmp_path: Path) -> None:
    plain = load_corpus(load_config(*settings(root)).dataset)
    names = plain.table["utterance"].to_list()
    words = tmp_path / "words.csv"
    write_words(words, names, ["=oh, my", "", *["he said"] * (len(names) - 2)], "openai/whisper-small (commit:abc)")
    read = load(root, words)
    assert read.table["text"].to_list() == ["=oh, my", "", *["he said"] * (len(names) - 2)]
    assert (
        "the words are those of words.csv, which are recognised by openai/whisper-small (commit:abc), not transcribed "
        "by people; 1 of 24 utterances have none" in read.notes
    )
    assert read.digest != plain.digest
    assert read.table.drop(columns="text").equals(plain.table.drop(columns="text"))


def test_word_table_of_ones_own_needs_two_columns_and_counts_what_it_lacks(root: Path, tmp_path: Path) -> None:
    plain = load_corpus(load_config(*settings(root)).dataset)
    words = tmp_path / "mine.csv"
    pd.DataFrame({"utterance": plain.table["utterance"][:20], "words": "oh"}).to_csv(words, index=False)
    read = load(root, words)
    note = "the words are those of mine.csv; 4 of 24 utterances are not in it; 4 of 24 utterances have none"
    assert note in read.notes
    assert (read.table["text"] == "oh").sum() == 20


def test_word_table_of_a_scripted_corpus_is_told_since_only_errors_differ(tmp_path: Path) -> None:
    root = spoken_corpus(tmp_path / "corpus", scripted=True)
    names = load_corpus(load_config(*settings(root)).dataset).table["utterance"].to_list()
    write_words(tmp_path / "words.csv", names, ["oh"] * len(names), "ear")
    [note] = word_notes(load(root, tmp_path / "words.csv").notes)
    assert note.endswith("; the speakers read 3 sentences, so what the words tell beyond these are the errors in them")


def test_word_table_that_is_missing_unsound_or_of_another_corpus_is_refused(root: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.csv"
    with pytest.raises(SetupError, match="no table of words .*dataset.words.*prepare asr=true"):
        load(root, words)
    words.write_text("utterance,text\na,b\n")
    with pytest.raises(InputError, match="no column 'words'.*columns utterance and words"):
        load(root, words)
    words.write_text("utterance,words\na,b\na,c\n")
    with pytest.raises(InputError, match="'a' more than once"):
        load(root, words)
    words.write_text("utterance,words\na,b\n")
    with pytest.raises(InputError, match="names no utterance of the corpus: its first is 'a'"):
        load(root, words)


def test_word_table_older_runs_keep_their_ids(root: Path) -> None:
    without, with_words = load_config(*settings(root)), load_config(*settings(root, "dataset.words=w.csv"))
    assert identity(without) != identity(with_words)
