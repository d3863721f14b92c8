"""A model that is tested on sentences of its training data says so, in its result and on the terminal."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from corpus_trees import italian_trees
from melt_ser.cli.compose import compose
from melt_ser.evaluate import evaluate
from melt_ser.runs.run import run
from small_runs import SMALL

SENTENCE = (
    "14 of the 28 utterances say 2 sentences of the training data (such as 'gli operai si alzano presto'): their words "
    "are not new to the model."
)


def test_train_and_evaluate_say_that_emozionalmente_has_sentences_of_emovo(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    emovo, emozionalmente = italian_trees(tmp_path)
    typed = [*SMALL, "dataset=emovo", f"dataset.root={emovo}", f"out={tmp_path / 'runs'}"]
    tested = ["eval.corpora=[emozionalmente]", f"+eval.roots.emozionalmente={emozionalmente}"]
    path = run(compose([*typed, *tested]))
    result = json.loads(path.read_text())
    assert f"emozionalmente: {SENTENCE}" in result["warnings"]
    assert all(row["warnings"][-1] == SENTENCE for row in result["evals"])
    assert result["train"]["sentences"][0] == "gli operai si alzano presto"

    result["evals"] = []
    path.write_text(json.dumps(result))
    with caplog.at_level(logging.WARNING, "melt_ser"):
        evaluate(
            compose(
                [f"run={path.parent}", "dataset=emozionalmente", f"dataset.root={emozionalmente}", "device=cpu"],
                "evaluate",
            )
        )
    assert f"note: emozionalmente: {SENTENCE}" in caplog.messages
    rows = json.loads(path.read_text())["evals"]
    assert {row["corpus"] for row in rows} == {"emozionalmente"}
    assert all(SENTENCE in row["warnings"] for row in rows)
