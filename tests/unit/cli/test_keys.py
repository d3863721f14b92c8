"""Keys: what nothing reads is refused however it is typed, and a dictionary takes any entry that is known."""

from __future__ import annotations

import subprocess
import sys
from enum import Enum
from pathlib import Path

import pytest

from melt_ser import config as settings
from melt_ser.cli.compose import SCHEMAS, compose, compose_settings, load_config, typed
from melt_ser.cli.failures import failure_of
from melt_ser.cli.overrides import as_typed, for_hydra
from melt_ser.config import Config, Target
from melt_ser.core.errors import SetupError


def refusal(*overrides: str, verb: str = "config") -> str:
    """Return the sentence that refuses a command's overrides."""
    given = ["run=x", "dataset=demo"] if verb == "evaluate" else []
    with pytest.raises(Exception) as caught:
        typed(compose([*given, *overrides], verb), SCHEMAS[verb])
    failure = failure_of(caught.value, SCHEMAS[verb])
    assert failure.known and failure.exit_code == 2, failure.sentence
    return failure.sentence


@pytest.mark.parametrize("sign", ["", "+", "++", "~"])
@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("trainer.earning_rate", "There is no key 'earning_rate' in 'trainer'; did you mean 'head_learning_rate'?"),
        ("trainer.lora.r", "There is no key 'lora' in 'trainer'; did you mean 'lora_rank'?"),
        ("epochs", "There is no key 'epochs'; did you mean 'trainer.epochs'?"),
        ("trainr.epochs", "There is no key 'trainr'; did you mean 'trainer'?"),
        ("hydra.jobb.name", "There is no key 'jobb' in 'hydra'; did you mean 'job'?"),
        ("seed.first", "There is no key 'seed.first': seed has no keys; write seed=<value>."),
    ],
)
def test_an_unknown_key_is_refused_whatever_its_sign(sign: str, key: str, sentence: str) -> None:
    assert refusal(sign + key + ("" if sign == "~" else "=1")).startswith(sentence)


@pytest.mark.parametrize(
    ("added", "sentence"),
    [
        ("+foo@bar=x", "There is no key 'foo'; choose from: augment,"),
        ("+head@trainer.extra=mlp", "There is no key 'extra' in 'trainer'; choose from:"),
        ("+backbone@teacher=wavlm", "There is no key 'teacher'"),
        ("++dataset.protocols.split.grop=session", "There is no key 'grop' in 'dataset.protocols.split'; did you mean"),
        ("dataset.download=[{urll: x}]", "There is no key 'urll' in 'dataset.download'; did you mean 'url'?"),
        ("+dataset.member_settings.emodb.name=x", "dataset.member_settings is filled in from the YAML files of"),
    ],
)
def test_an_unknown_key_is_refused_wherever_it_is_added(added: str, sentence: str) -> None:
    assert refusal(added).startswith(sentence)


@pytest.mark.parametrize(
    ("verb", "key"), [("prepare", "trainer.epochs"), ("prepare", "experiment"), ("evaluate", "force")]
)
@pytest.mark.parametrize("sign", ["", "+"])
def test_a_key_of_another_verb_is_refused(verb: str, key: str, sign: str) -> None:
    name = key.split(".")[0]
    assert refusal(f"{sign}{key}=1", verb=verb).startswith(f"There is no key '{name}'; choose from: ")


@pytest.mark.parametrize("key", ["~trainer", "~seed", "~trainer.epochs", "~dataset.label_map", "~head=linear"])
def test_a_setting_is_not_taken_away(key: str) -> None:
    assert "a setting cannot be removed; give it a value" in refusal(key)


def test_an_entry_is_taken_away() -> None:
    assert "angry" not in load_config("~dataset.label_map.angry").dataset.label_map


@pytest.mark.parametrize("sign", ["", "+", "++"])
@pytest.mark.parametrize("override", ["eval.roots={emodb: /x}", 'eval.roots={"emodb": "/x"}', "eval.roots.emodb=/x"])
def test_a_dictionary_takes_entries_with_and_without_a_plus(sign: str, override: str) -> None:
    assert load_config(sign + override).eval.roots == {"emodb": "/x"}


@pytest.mark.parametrize("sign", ["", "+", "++"])
def test_a_plus_before_a_known_key_changes_nothing(sign: str) -> None:
    config = load_config(f"{sign}seed=3", f"{sign}head=mlp")
    assert (config.seed, config.head.name) == (3, "mlp")


@pytest.mark.parametrize("label", ["Überdruss", "a b", "a.b", "Ärger (kalt)", "1", "no", "null", "x/y", "x@y", "it's"])
@pytest.mark.parametrize("sign", ["", "+"])
def test_an_entry_of_any_name_can_be_typed(label: str, sign: str) -> None:
    assert load_config("dataset=csv", f"{sign}dataset.label_map.{label}=null").dataset.label_map == {label: None}


@pytest.mark.parametrize(
    "text", ["{Überdruss: null, no: sad}", '{"Überdruss": null, "no": "sad"}', "{'Überdruss': null, no: sad}"]
)
def test_entries_of_any_name_can_be_typed_together(text: str) -> None:
    assert load_config("dataset=csv", f"dataset.label_map={text}").dataset.label_map == {"Überdruss": None, "no": "sad"}


def test_classes_can_be_typed() -> None:
    assert load_config("labels.classes={bad: [sad, angry], good: [happy]}").labels.classes == {
        "bad": ["sad", "angry"],
        "good": ["happy"],
    }
    assert load_config("labels.classes.bad=[sad]", "labels.classes.gut ü=[happy]").labels.classes == {
        "bad": ["sad"],
        "gut ü": ["happy"],
    }


def test_a_scale_has_whole_numbers_wherever_it_is_given(tmp_path: Path) -> None:
    as_typed_together = load_config("dataset=csv", "dataset.attributes={arousal: [1, 7]}")
    in_python = typed(compose_settings({"dataset": "csv", "dataset.attributes": {"arousal": [1, 7]}}), Config)
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "mine.yaml").write_text("defaults: [csv]\nattributes: {arousal: [1, 7]}\n")
    in_yaml = load_config("dataset=mine", f"hydra.searchpath=['file://{tmp_path}']")
    for config in (as_typed_together, in_python, in_yaml):
        assert config.dataset.attributes == {"arousal": [1.0, 7.0]}


def test_a_protocol_can_be_typed() -> None:
    config = load_config("dataset.protocols.mine.group=session", "dataset.protocol=mine")
    assert config.dataset.group == "session"


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("eval.roots.emodbb=/x", "eval.roots: there is no corpus 'emodbb'; did you mean 'emodb'?"),
        ("eval.roots={a: b}", "eval.roots: there is no corpus 'a'; choose from: "),
        ("dataset.roots.emodb=/x", "dataset.members, dataset.left_out and dataset.roots are for dataset=union."),
        ("dataset.expected.tset=3", "dataset.expected: there is no part 'tset'; did you mean 'test'?"),
        ("dataset.expected.test=many", "dataset.expected.test: Value 'many' of type 'str' could not be converted"),
        ('dataset.label_map={"x": [1]}', "dataset.label_map.x is [1]; it has to be text."),
        ("eval.corpora=[[emodb]]", "eval.corpora.0 is ['emodb']; it has to be text."),
        ("head.hidden_sizes=[8,{a: 1}]", "head.hidden_sizes.1 is {'a': 1}; it has to be a whole number."),
        ("labels.classes={a: happy}", "labels.classes.a is a list: give it in brackets"),
        ("dataset.attributes.arousal=7", "dataset.attributes.arousal is a list: give it in brackets"),
        ("dataset.attributes={arousal: [low, 7]}", "dataset.attributes.arousal is two numbers, [lowest, highest], not"),
        ("/backbone=wavlm", "/backbone=wavlm is no setting; write it as <key>=<value>."),
        (
            "backbone=[wavlm,hubert]",
            "backbone=[wavlm,hubert] mixes YAMLs; choose one, or run each: --multirun backbone=",
        ),
        (
            "dataset=[emodb,urdu]",
            "dataset=[emodb,urdu] mixes YAMLs; choose one, or run each: --multirun dataset=emodb,urdu, or train on "
            "them together: dataset=union 'dataset.members=[emodb,urdu]'.",
        ),
        ("dataset.label_map.ü=sad,happy", "dataset.label_map.ü cannot be swept; write a YAML for each"),
        ("dataset.label_map.ü=säd", "dataset.label_map.ü: the value needs quotes: 'dataset.label_map.ü=\"säd\"'."),
        ('dataset.label_map={"a: sad', 'dataset.label_map: {"a: sad cannot be read; close each bracket and quote'),
        (
            "dataset.label_map.x=angr",
            "dataset.label_map maps 'x' of 'demo' to 'angr', which is no emotion of the shared",
        ),
        ("dataset.label_map.x=Joy", "dataset.label_map maps 'x' of 'demo' to 'Joy', which is no emotion of the shared"),
        ("labels.classes.bad=[sad,angr]", "labels.classes puts 'angr' into 'bad', which is no emotion of the shared"),
        ("~dataset.label_map.ü", "'~dataset.label_map.ü': only an entry of ASCII letters"),
    ],
)
def test_an_entry_that_nothing_would_read_is_refused(override: str, sentence: str) -> None:
    assert refusal(override).startswith(sentence)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("trainer.epochs=null", "trainer.epochs cannot be null; give it a value, or leave it out."),
        ("trainer.freeze=true", "trainer.freeze is a whole number or a word, not true."),
        ("trainer.step_seconds=12.5", "trainer.step_seconds is a whole number or a word, not 12.5."),
        ("trainer.refit=1", "trainer.refit is true, false or a word, not 1."),
        ("experiment=null", "experiment=null names no YAML; leave it out, or choose one that --help lists."),
        ("augment=", "augment= names no YAML; leave it out, or choose one that --help lists."),
        ("trainer.epochs=3,5", "trainer.epochs has a comma: add --multirun to run each."),
        ("seed=0,1", "seed has a comma: add --multirun to run each."),
        (
            "trainer.weight_decay=0,01",
            "trainer.weight_decay has a comma: write decimals with a point, or add --multirun to run each.",
        ),
        ("labels=four,six", "labels has a comma: add --multirun to run each."),
        (
            "augment=speed,room",
            "augment has a comma: write 'augment=[speed,room]' for all together, or add --multirun to run each.",
        ),
    ],
)
def test_a_value_that_cannot_be_is_told_in_words(override: str, sentence: str) -> None:
    assert refusal(override) == sentence


@pytest.mark.parametrize(("word", "nearest"), [("angr", "angry"), ("Joy", "happy"), ("happiness", "happy")])
def test_a_word_that_is_no_emotion_is_told_with_the_nearest_before_a_corpus_is_read(word: str, nearest: str) -> None:
    assert refusal("dataset=emodb", f"dataset.label_map.x={word}").endswith(f"; did you mean '{nearest}'?")


@pytest.mark.parametrize("reader", ["csv", "hub", "audformat", "shards"])
def test_a_column_that_is_none_of_ours_is_told_before_a_corpus_is_read(reader: str) -> None:
    sentence = refusal(f"dataset={reader}", "dataset.columns.speakr=who")
    assert sentence == "dataset.columns has 'speakr', which is no column of ours; did you mean 'speaker'?"


def test_a_reader_of_ones_own_may_have_columns_of_its_own() -> None:
    config = load_config("dataset=csv", "dataset.reader=my_reader", "dataset.columns.mood=m")
    assert config.dataset.columns == {"mood": "m"}


@pytest.mark.parametrize("sign", ["", "+", "++"])
@pytest.mark.parametrize("key", ["dataset.label_map", "dataset.columns", "labels.classes", "eval.roots"])
@pytest.mark.parametrize("empty", ["{}", " { } "])
def test_no_entries_at_all_change_nothing_and_are_refused(sign: str, key: str, empty: str) -> None:
    sentence = refusal(f"{sign}{key}={empty}")
    assert sentence == (
        f"'{sign}{key}={empty}' changes nothing, since entries are added to those of the YAML; leave it out, or take "
        f"one entry away with '~{key}.<name>'."
    )


def test_a_corpus_of_ones_own_has_a_root_by_its_name() -> None:
    assert load_config("dataset=csv", "dataset.name=mine", "eval.roots.mine=/x").eval.roots == {"mine": "/x"}


def test_what_hydra_cannot_read_is_shown_as_it_was_typed() -> None:
    override = "dataset.label_map.Über'\"druss=null"
    [readable] = for_hydra([override], Config)
    assert readable.startswith("++entries.0=")
    assert as_typed(readable) == override
    assert for_hydra(["--config-dir", "a=b", "-m", "seed=0,1"], Config) == ["--config-dir", "a=b", "-m", "seed=0,1"]


def test_settings_from_python_take_any_entry() -> None:
    composed = compose_settings(
        {"eval.roots": {"emodb": "/ü ${x}"}, "labels.classes": {"a b": ["sad"], "c": ["angry"]}}
    )
    config = typed(composed, Config)
    assert config.eval.roots == {"emodb": "/ü ${x}"}
    assert config.labels.classes == {"a b": ["sad"], "c": ["angry"]}
    with pytest.raises(SetupError, match="There is no key 'epochz' in 'trainer'"):
        compose_settings({"trainer": {"epochz": 3}})


@pytest.mark.parametrize(
    ("yaml", "sentence"),
    [
        ("defaults:\n  - /head@trainer.extra: mlp", "There is no key 'extra' in 'trainer'"),
        ("defaults:\n  - /backbone@teacher: wavlm", "There is no key 'teacher'"),
        ("trainer:\n  epochz: 3", "There is no key 'epochz' in 'trainer'; did you mean 'epochs'?"),
        ("eval:\n  roots: {emodbb: /x}", "eval.roots: there is no corpus 'emodbb'; did you mean 'emodb'?"),
        ("dataset:\n  label_map: {x: [1]}", "dataset.label_map.x is [1]; it has to be text."),
        ("hydra:\n  jobb: 3", "There is no key 'jobb' in 'hydra'; did you mean 'job'?"),
    ],
)
def test_an_unknown_key_in_an_experiment_is_refused(yaml: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{yaml}\n")
    command = [sys.executable, "-m", "melt_ser.train", "--config-dir", str(tmp_path), "experiment=mine"]
    done = subprocess.run([*command, f"out={tmp_path}/runs"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {sentence}")
    assert not (tmp_path / "runs").exists()


def test_every_choice_is_typed_as_the_settings_page_names_it() -> None:
    """The page names values, and OmegaConf reads names."""
    enums = [each for each in vars(settings).values() if isinstance(each, type) and issubclass(each, Enum)]
    assert [(enum, member) for enum in enums for member in enum if member.name != member.value] == []
    for word in ("class", "label"):  # the latter in older files
        assert load_config("dataset=emodb", f"dataset.target={word}").dataset.target is Target.label
