"""Mistakes in the user's own YAMLs (--config-dir) and in settings."""

from __future__ import annotations

from pathlib import Path

from bad_inputs import Expected, kind
from bad_inputs.corpora import refused, train, typed
from small_runs import corpus


def dataset_yaml(folder: Path, content: str | bytes) -> list[str]:
    """Return a command with a dataset YAML of the user's own."""
    (folder / "dataset").mkdir()
    (folder / "dataset" / "mine.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    return ["prepare", "--config-dir", str(folder), "dataset=mine"]


@kind
def a_yaml_with_a_wrong_type(folder: Path) -> Expected:
    command = dataset_yaml(folder, "defaults: [csv]\nname: mine\nminimum_seconds: soon\n")
    return refused(command, "dataset.minimum_seconds: Value 'soon'", "could not be converted to Float", code=2)


@kind
def a_yaml_with_a_number_for_a_map(folder: Path) -> Expected:
    return refused(dataset_yaml(folder, "defaults: [csv]\nlabel_map: 3\n"), "dataset.label_map: Cannot assign", code=2)


@kind
def a_yaml_with_an_unknown_key(folder: Path) -> Expected:
    command = dataset_yaml(folder, "defaults: [csv]\nminimum_second: 1\n")
    return refused(command, "no key 'minimum_second' in 'dataset'; did you mean 'minimum_seconds'?", code=2)


@kind
def a_yaml_with_a_renamed_key(folder: Path) -> Expected:
    (folder / "trainer").mkdir()
    (folder / "trainer" / "mine.yaml").write_text("name: mine\nclip_norm: 2.0\n")
    command = ["train", "--config-dir", str(folder), "trainer=mine"]
    return refused(command, "trainer.clip_norm is called trainer.max_grad_norm now", code=2)


@kind
def an_unknown_key_behind_a_plus(folder: Path) -> Expected:
    return refused(train(corpus(folder / "corpus"), "+trainer.epochz=3"), "did you mean 'epochs'?", code=2)


@kind
def a_yaml_that_does_not_parse(folder: Path) -> Expected:
    return refused(dataset_yaml(folder, "name: [mine\n"), "mine.yaml, line 2 is not YAML", "correct it", code=2)


@kind
def a_yaml_with_defaults_that_are_no_list(folder: Path) -> Expected:
    return refused(dataset_yaml(folder, "defaults: 1\nname: mine\n"), "Invalid defaults list in 'dataset/mine'", code=2)


@kind
def a_yaml_that_is_a_list(folder: Path) -> Expected:
    return refused(dataset_yaml(folder, "- 1\n- 2\n"), "dataset/mine is of the type list", "keys and values", code=2)


@kind
def a_yaml_that_is_binary(folder: Path) -> Expected:
    return refused(dataset_yaml(folder, b"\xff\xfe\0\0"), "mine.yaml is not YAML in UTF-8", code=2)


@kind
def a_missing_folder_of_yamls(folder: Path) -> Expected:
    command = ["prepare", "--config-dir", str(folder / "nowhere"), "dataset=demo"]
    return refused(command, "--config-dir", "nowhere is no folder; correct the path", code=2)


def labels_yaml(folder: Path, classes: str) -> list[str]:
    """Return a command with a label space of the user's own."""
    (folder / "labels").mkdir()
    (folder / "labels" / "mine.yaml").write_text(f"name: mine\nclasses: {classes}\n")
    verb, *settings = train(corpus(folder / "corpus"), "labels=mine")
    return [verb, "--config-dir", str(folder), *settings]


@kind
def a_class_named_like_a_column(folder: Path) -> Expected:
    command = labels_yaml(folder, "{prediction: [sad], angry: [angry]}")
    return refused(command, "cannot have a class 'prediction'", "choose a name", code=2)


@kind
def a_class_of_an_unknown_emotion(folder: Path) -> Expected:
    command = labels_yaml(folder, "{bad: [sadd], angry: [angry]}")
    return refused(command, "labels.classes puts 'sadd' into 'bad', which is no emotion", "did you mean 'sad'?", code=2)


@kind
def classes_on_the_command_line(folder: Path) -> Expected:
    command = train(corpus(folder / "corpus"), "+labels.classes={sad: [sad], angry: [angry]}")
    return Expected(command, 0, ["result: "])


# Markup for rich, mathematics for figures.
MARKUP = """{"[red]": [sad], "[/]a_b:smile:": [angry], "$\\\\frac{1$": [happy]}"""


@kind
def classes_that_look_like_markup_in_figures(folder: Path) -> Expected:
    return Expected(labels_yaml(folder, MARKUP), 0, ["result: "])


@kind
def classes_that_look_like_markup_on_the_terminal(folder: Path) -> Expected:
    labels_yaml(folder, MARKUP)
    command = ["prepare", "--config-dir", str(folder), *typed(folder / "corpus"), "labels=mine"]
    return Expected(command, 0, ["[red]", "[/]a_b:smile:", "$\\frac{1$"])


@kind
def an_unknown_device(folder: Path) -> Expected:
    return refused(train(corpus(folder / "corpus"), "device=tpu"), "device is auto, cpu, cuda", code=2)


@kind
def masking_with_a_frozen_backbone(folder: Path) -> Expected:
    command = train(corpus(folder / "corpus"), "augment=masking", "trainer=frozen")
    return refused(command, "augment.time_mask_probability", "trainer.freeze=everything", "set both to 0", code=2)
