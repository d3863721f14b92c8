"""Words that give labels away, and sentences that two corpora share, are told; the trees are generated."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from corpus_trees import EMOZIONALMENTE_SENTENCES, italian_trees, tone, write_text
from melt_ser.cli.compose import load_config, load_dataset
from melt_ser.config import DatasetConfig, LabelsConfig
from melt_ser.corpora.corpus import Corpus
from melt_ser.corpora.fold_split import group_warnings
from melt_ser.corpora.load import load_corpus, read_release
from melt_ser.corpora.sentences import script, shared_sentences_note, telling_sentences_note, words, words_alone_note
from melt_ser.reporting.preparation import summarise

EMOTIONS = {"an": "anger", "di": "disgust", "fe": "fear", "ha": "happiness", "sa": "sadness", "su": "surprise"}


def loaded(name: str, root: Path) -> Corpus:
    config = load_dataset(name)
    config.root = str(root)
    return load_corpus(config)


def enterface_tree(root: Path, subjects: Iterable[int] = range(1, 6), sentences: Iterable[int] = (1, 2)) -> None:
    for subject in subjects:
        for code, folder in EMOTIONS.items():
            for sentence in sentences:
                tone(root / f"subject {subject}/{folder}/sentence {sentence}/s{subject}_{code}_{sentence}.wav")


def said(texts: dict[str, str], times: int = 5) -> pd.DataFrame:
    """Return a table with each text of a class (`{text: class}`) so many times."""
    return pd.DataFrame(list(texts.items()) * times, columns=["text", "class"])


def test_a_sentence_is_known_by_its_words() -> None:
    assert words("L’autunno PROSSIMO, Tony\u2026") == words("l'autunno  prossimo Tony") == "l autunno prossimo tony"
    assert words("meta\u0300") == words("metà")
    assert words("?!") == ""


def test_prepare_says_that_the_words_of_enterface_give_its_labels_away(tmp_path: Path) -> None:
    enterface_tree(tmp_path)
    notes = summarise(loaded("enterface", tmp_path), LabelsConfig())["notes"]
    assert (
        "The words reveal labels of 'enterface': 12 of its 12 sentences occur with one class only, in 60 of its 60 "
        "utterances. A model can score well by the words alone." in notes
    )


def test_a_sentence_in_two_classes_or_said_seldom_gives_nothing_away() -> None:
    both = said({"It is eleven o'clock": "sad", "it is eleven o'clock!": "angry"})
    assert telling_sentences_note(both, "x") == []
    free = said({f"text {number}": ("sad", "angry")[number % 2] for number in range(40)}, times=4)
    assert telling_sentences_note(free, "x") == [] and script(free) == []
    one_class = said({"Hello": "sad"})
    assert telling_sentences_note(one_class, "x") == []
    mixed = pd.concat([free, said({"I am so lucky": "happy"}, times=20)])
    assert telling_sentences_note(mixed, "x") == [
        "The words reveal labels of 'x': 1 of its 1 sentences occur with one class only, in 20 of its 180 "
        "utterances. A model can score well by the words alone."
    ]


def test_the_sentences_of_emodb_give_nothing_away(shared_data: Path) -> None:
    config = load_dataset("emodb")
    config.root = str(shared_data / "emodb")
    table = read_release(config)[1].table
    table["class"] = table["label"]
    assert len(script(table)) == 10
    assert group_warnings(table, config) == []


def test_a_test_corpus_with_sentences_of_the_training_corpus_says_so(tmp_path: Path) -> None:
    emovo_root, other_root = italian_trees(tmp_path)
    trained = script(loaded("emovo", emovo_root).table)
    assert trained == ["gli operai si alzano presto", "i vigili sono muniti di pistola", "la cascata fa molto rumore"]
    tested = loaded("emozionalmente", other_root).table
    assert shared_sentences_note(tested, trained) == [
        "14 of the 28 utterances say 2 sentences of the training data (such as 'gli operai si alzano presto'): their "
        "words are not new to the model."
    ]
    assert shared_sentences_note(tested, ["something else"]) == []


def test_a_union_says_which_members_share_sentences(tmp_path: Path) -> None:
    roots = italian_trees(tmp_path)
    typed = [f"+dataset.roots.{name}={root}" for name, root in zip(("emovo", "emozionalmente"), roots, strict=True)]
    corpus = load_corpus(load_config("dataset=union", "dataset.members=[emovo,emozionalmente]", *typed).dataset)
    sentence = (
        "'emovo' and 'emozionalmente' share 2 sentences (such as 'gli operai si alzano presto'), in 84 and 14 "
        "utterances."
    )
    assert sentence in corpus.notes
    assert script(corpus.table) == sorted(
        {*script(loaded("emovo", roots[0]).table), *map(words, EMOZIONALMENTE_SENTENCES)}
    )


def test_enterface_has_42_subjects_with_30_clips_and_says_what_is_uncut(tmp_path: Path) -> None:
    config = DatasetConfig(**{**vars(load_dataset("enterface")), "root": str(tmp_path)})
    for subject in range(1, 45):
        for code, folder in EMOTIONS.items():
            for sentence in range(1, 6):
                if subject != 6 and not (subject == 23 and (code, sentence) in (("an", 1), ("di", 1), ("fe", 1))):
                    name = f"s{12 if subject == 11 else subject}_{code}_{sentence}.avi"
                    write_text(tmp_path / f"subject {subject}/{folder}/sentence {sentence}/{name}", "")
    for code, folder in EMOTIONS.items():
        write_text(tmp_path / f"subject 6/{folder}/s6_{code}.avi", "")
    release = read_release(config)[1]
    clips = release.table["speaker"].value_counts()
    assert (len(release.table), len(clips)) == (config.expected["all"], config.speakers) == (1293, 44)
    assert (clips == 30).sum() == 42 and clips[["6", "23"]].tolist() == [6, 27]
    assert release.notes == [
        "6 recordings of subject 6 are uncut, all five sentences in one file; those longer than "
        "dataset.maximum_seconds are left out"
    ]


def test_a_model_of_the_words_alone_is_told_of_a_scripted_corpus_even_if_no_sentence_tells_a_class() -> None:
    both = said({"It is eleven o'clock": "sad", "it is eleven o'clock!": "angry"})
    assert words_alone_note(both, "x") == [
        "The speakers of 'x' read 1 sentence, in all 10 utterances: a score of the words there is about the "
        "choice of sentences, and says nothing about emotion."
    ]
    free = said({f"text {number}": ("sad", "angry")[number % 2] for number in range(40)}, times=4)
    assert words_alone_note(free, "x") == []
