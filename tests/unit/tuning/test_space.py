"""The search space: what a YAML may say, the values it leads to, and one sentence for each mistake."""

from __future__ import annotations

import warnings
from pathlib import Path

import hydra
import optuna
import pytest

from melt_ser.cli.compose import compose, load_config
from melt_ser.config import Target
from melt_ser.core.errors import SetupError
from melt_ser.core.package import conf_folder
from melt_ser.tuning.command import keys_set_by
from melt_ser.tuning.search import check_space
from melt_ser.tuning.space import Choice, Range, default_space, read_space


def space(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("trainer.head_learning_rte: [1]", "There is no key 'head_learning_rte' in 'trainer'; did you mean 'head_lear"),
        ("trainr.epochs: [1]", "There is no key 'trainr'; did you mean 'trainer'?"),
        ("trainer.learning_rate: [1]", "trainer.learning_rate is called trainer.head_learning_rate now"),
        ("dataset.fold: [1, 2]", "dataset.fold is not searched, only augment, backbone, head, trainer are"),
        ("seed: [1, 2]", "seed is not searched, only"),
        ("head: []", "head has an empty list"),
        ("head: linear", "head is 'linear'; give a list of choices, or a range"),
        ("head: {low: 1, high: 2}", "head takes no numbers, so it has no range"),
        ("trainer.schedule: {low: 1, high: 2}", "trainer.schedule takes no numbers, so it has no range"),
        ("head.dropout: {low: 0.1, hihg: 0.2}", "head.dropout has no 'hihg'; did you mean 'high'?"),
        ("head.dropout: {low: 0.1}", "head.dropout needs a number as 'high', not None"),
        ("head.dropout: {low: 0.3, high: 0.2}", "low has to be below high"),
        ("head.dropout: {low: 0.0, high: 0.2, log: true}", "log: true, which needs low above 0"),
        ("head.dropout: {low: 0.0, high: 0.2, log: 3}", "log: 3; give true or false"),
        ("head.dropout: {low: 0.0, high: 0.2, step: 0}", "step: 0; it has to be above 0"),
        ("trainer.batch_size: {low: 0.5, high: 8}", "trainer.batch_size needs a whole number as 'low', not 0.5"),
        ("[1, 2]", "has no settings; write lines such as"),
        ("a: [", "is not YAML in UTF-8"),
    ],
)
def test_a_wrong_line_is_one_sentence(line: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(SetupError) as caught:
        read_space(space(tmp_path, line))
    assert sentence in str(caught.value) and "space.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            "head: [statistics, statistisc]",
            "with head=statistisc: There is no head 'statistisc'; did you mean 'statist",
        ),
        ("trainer.schedule: [cosinus]", "trainer.schedule cannot be 'cosinus'; did you mean 'cosine'?"),
        ("trainer.batch_size: [8, many]", "trainer.batch_size: Value 'many' of type 'str' could not be converted"),
        (
            "head.dropout: {low: 0.0, high: 1.5}",
            "with head.dropout=1.5: head.dropout is at least 0 and below 1, not 1.5",
        ),
        ("head.layers: [last, chosen]", "head.layers=chosen is for trainer=probe"),
    ],
)
def test_a_value_that_no_trial_can_have_is_one_sentence(line: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(SetupError) as caught:
        check_space(read_space(space(tmp_path, line)), ["trainer=frozen"], Target.label)
    assert sentence in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["finetune", "lora", "frozen", "probe"])
def test_the_space_of_each_trainer_fits_it(name: str) -> None:
    path = default_space(load_config(f"trainer={name}").trainer)
    assert path == Path(conf_folder()) / "tune" / f"{name}.yaml"
    with hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):  # once, as in the verb
        check_space(read_space(path), [f"trainer={name}"], Target.label)


def test_a_recipe_without_a_space_has_that_of_its_kind() -> None:
    assert default_space(load_config("trainer=paper").trainer).stem == "frozen"


def test_values_are_texts_as_one_types_them(tmp_path: Path) -> None:
    lines = "head.hidden_sizes: [[], [256]]\ntrainer.patience: [null, 3]\ntrainer.epochs: {low: 2, high: 4}\n"
    lines += (
        "trainer.head_learning_rate: {low: 1e-4, high: 1e-2, log: true}\naugment.gain_decibels: {low: 0, high: 6}\n"
    )
    read = read_space(space(tmp_path, lines))
    assert read.settings["head.hidden_sizes"] == Choice(["[]", "[256]"])
    assert read.settings["trainer.patience"] == Choice(["null", "3"])
    assert read.settings["trainer.epochs"] == Range(2, 4, whole=True)
    assert read.settings["augment.gain_decibels"].size is None  # whole ends, but any number
    trial = optuna.trial.FixedTrial(
        {
            "head.hidden_sizes": "[256]",
            "trainer.patience": "null",
            "trainer.epochs": 3,
            "trainer.head_learning_rate": 0.0012345678,
            "augment.gain_decibels": 5.9999,
        }
    )
    assert read.suggest(trial) == {
        "head.hidden_sizes": "[256]",
        "trainer.patience": "null",
        "trainer.epochs": "3",
        "trainer.head_learning_rate": "0.00123",
        "augment.gain_decibels": "6.0",
    }


def test_the_number_of_combinations_and_their_values(tmp_path: Path) -> None:
    read = read_space(space(tmp_path, "head: [linear, mlp]\nhead.dropout: {low: 0.0, high: 0.5, step: 0.1}\n"))
    assert read.size == 12
    assert read.settings["head.dropout"].values() == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert read_space(space(tmp_path, "head.dropout: {low: 0.0, high: 0.5}")).size is None
    assert Range(0, 0.3, step=0.1).values() == [0.0, 0.1, 0.2, 0.3]
    assert read_space(space(tmp_path, "trainer.epochs: {low: 3, high: 7, step: 2}")).size == 3


@pytest.mark.parametrize("high", [0.3, 0.35])
def test_every_value_of_a_range_with_steps_is_one_of_the_studys(high: float) -> None:
    """Three steps of 0.1 were 0.30000000000000004: beyond the end, about which optuna warned on the screen."""
    choices, study = Range(0.0, high, step=0.1), optuna.create_study()
    study.enqueue_trial({"head.dropout": choices.values()[-1]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choices.suggest("head.dropout", study.ask()) == 0.3
    assert choices.ends == ["0.0", "0.3"]


@pytest.mark.parametrize(("trainer", "is_searched"), [("finetune", False), ("lora", True)])
def test_a_rate_that_the_command_sets_as_the_backbones_default_is_not_searched(trainer: str, is_searched: bool) -> None:
    """It was, and the rate of the command did nothing. trainer=lora has a rate of its own."""
    words = [f"trainer={trainer}", "backbone.learning_rate=1e-5"]
    assert ("trainer.backbone_learning_rate" not in keys_set_by(words, compose(words))) == is_searched


def test_what_the_command_sets_is_not_searched(tmp_path: Path) -> None:
    read = read_space(space(tmp_path, "head: [linear, mlp]\nhead.dropout: [0.0, 0.5]\n"))
    assert list(read.without(["head", "trainer"]).settings) == ["head.dropout"]
    with pytest.raises(SetupError, match=r"sets every key of .*space\.yaml, so nothing is left to search"):
        read.without(["head", "head.dropout"])
