"""`run=hub:<owner>/<name>` chooses the YAML of that name, and each shipped YAML has a sound label map."""

from __future__ import annotations

from pathlib import Path

import pytest

from melt_ser.cli.compose import compose, known_corpora, typed
from melt_ser.cli.help import yaml_choices
from melt_ser.cli.published_classifier import with_classifier
from melt_ser.config import EvaluateConfig
from melt_ser.runs.published_classifier import check_label_map, labels_of, space_of

SUPERB = "superb--hubert-base-superb-er"


@pytest.mark.parametrize("name", yaml_choices("classifier"))
def test_a_shipped_yaml_has_classes_for_its_labels_and_known_corpora(name: str) -> None:
    owner, _, checkpoint = name.partition("--")
    words = with_classifier([f"run=hub:{owner}/{checkpoint}", "dataset=urdu"])
    config = typed(compose(words, "evaluate"), EvaluateConfig)
    assert config.classifier.name == checkpoint
    check_label_map(config.classifier, list(config.classifier.label_map), name)
    space = space_of(config.classifier)
    assert all(labels_of(config.classifier.label_map, space.classes).values())
    assert set(config.classifier.trained_on) <= set(known_corpora())
    assert config.classifier.licence and config.classifier.source
    assert config.revision == config.classifier.revision
    assert config.revision is not None or not config.classifier.allow_pickle  # a pickle only of a fixed commit


def test_a_choice_of_the_user_wins_and_others_have_none() -> None:
    chosen = ["run=hub:superb/hubert-base-superb-er", "classifier=own"]
    assert with_classifier(chosen) == chosen
    for run in ("run=hub:someone/unknown", "run=/models/hubert-base-superb-er", "dataset=urdu"):
        assert with_classifier([run]) == [run]
    assert with_classifier(["run=hub:superb/hubert-base-superb-er"])[-1] == f"classifier={SUPERB}"


def test_a_yaml_of_ones_own_is_found_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "classifier").mkdir()
    (tmp_path / "classifier" / "me--mine.yaml").write_text("label_map: {a: angry, h: happy}\n")
    words = [f"--config-dir={tmp_path}", "run=hub:me/mine"]
    assert with_classifier(words) == [*words, "classifier=me--mine"]
    apart = ["--config-dir", str(tmp_path), "run='hub:me/mine'"]
    assert with_classifier(apart) == [*apart, "classifier=me--mine"]


def test_the_revision_of_the_command_wins_over_that_of_the_yaml() -> None:
    words = [f"classifier={SUPERB}", "run=hub:superb/hubert-base-superb-er", "revision=abc"]
    assert typed(compose(words, "evaluate"), EvaluateConfig).revision == "abc"
