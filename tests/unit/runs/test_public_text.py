"""Texts of a run for strangers have no path of the machine, and no file or sentence of a corpus."""

from __future__ import annotations

import pytest

from melt_ser.runs.public_text import public_command, public_settings, without_examples, without_paths


@pytest.mark.parametrize(
    ("command", "public"),
    [
        ("backbone=wavlm dataset=emodb seed=1", "backbone=wavlm dataset=emodb seed=1"),
        ("dataset.root='/home/ann/my corpora' out=/tmp/x force=true", "'dataset.root=<path>'"),
        ("dataset.table=/home/ann/mine.csv", "'dataset.table=<path>/mine.csv'"),
        ("'eval.roots={emodb: /data/a, urdu: ~/b}'", "'eval.roots={emodb: <path>, urdu: <path>}'"),
        ("backbone.checkpoint=facebook/hubert-base-ls960", "backbone.checkpoint=facebook/hubert-base-ls960"),
        ("device=cuda:1 cache.folder=/c trainer.workers=4 hydra/launcher=joblib", ""),
        ("+dataset.roots.emodb=/data/emodb", "'+dataset.roots.emodb=<path>'"),
    ],
)
def test_a_public_command_keeps_what_the_numbers_depend_on(command: str, public: str) -> None:
    assert public_command(command) == public


def test_settings_have_no_absolute_path() -> None:
    settings = {"table": "/home/ann/my data/t.csv", "list": ["~/x", 3, None], "name": "facebook/hubert", "rate": "1/2"}
    assert public_settings(settings) == {
        "table": "<path>/t.csv",
        "list": ["<path>", 3, None],
        "name": "facebook/hubert",
        "rate": "1/2",
    }


def test_a_sentence_of_a_result_gives_no_example_from_the_corpus() -> None:
    sentence = "files that are damaged or differ from their headers: 3; the first: wav/a.wav has 3 s less"
    assert without_examples(sentence) == "files that are damaged or differ from their headers: 3"
    shared = "40 of the 80 utterances say 4 sentences of the training data (such as 'it is late'): they are not new."
    assert without_examples(shared) == "40 of the 80 utterances say 4 sentences of the training data: they are not new."
    assert without_paths("see C:\\Users\\ann\\x and ~ann/y, about ~5 %") == "see <path> and <path>, about ~5 %"
