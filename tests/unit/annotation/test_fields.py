"""Fields of an answer of the user's own: read as models write them, and summed up in the labels file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from melt_ser.annotation.answers import Answer, AnswerError, label_of, parse_answer, parse_rules
from melt_ser.annotation.combining import combine
from melt_ser.annotation.labels_file import Origin, label_line, replaced_columns, write_labels
from melt_ser.annotation.prompts import Prompt, load_prompt
from melt_ser.corpora.lines import Line, read_lines

LABELS = ["Spaß", "Ärger", "高兴", "neutral"]
ORIGIN = Origin("a model", "mine", "1-0", "1")
FIELDS: dict[str, Any] = {
    "label": {"mood": "label"},
    "labels": {"moods": "labels"},
    "distribution": {"mood": "distribution"},
    "scores": {name: {"type": "score", "from": 1, "to": 7} for name in ("arousal", "valence")},
    "all": {
        "mood": "label",
        "tone": {"type": "label", "labels": ["warm", "cold"], "optional": True},
        "irony": {"type": "distribution", "labels": ["yes", "no"], "optional": True},
        "arousal": {"type": "score", "from": 1, "to": 7, "optional": True},
        "why": {"type": "text", "optional": True},
    },
}


@pytest.fixture
def prompt(tmp_path: Path, request: pytest.FixtureRequest) -> Prompt:
    return prompt_of(tmp_path, request.param)


def prompt_of(folder: Path, name: str) -> Prompt:
    content = {"name": "mine", "version": 1, "labels": LABELS, "template": "{{ utterance }}", "answer": FIELDS[name]}
    (folder / "mine.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return load_prompt(str(folder / "mine.yaml"))


def line(name: str = "a", **columns: str) -> Line:
    return Line(name, "Hi!", "Anna", "", "", "d", 0, None, "", {"utterance": name, "text": "Hi!", **columns})


def rows(folder: Path, prompt: Prompt, *answers: str, rules: dict[str, str] | None = None) -> dict[str, str]:
    """Return the row of the labels file for a line with these answers."""
    read = {number: parse_answer(text, prompt) for number, text in enumerate(answers)}
    write_labels(folder / "labels.csv", [label_line(line(), read, prompt.fields, rules or {}, ORIGIN)])
    row: dict[str, str] = pd.read_csv(folder / "labels.csv", dtype=str, keep_default_na=False).iloc[0].to_dict()
    return row


@pytest.mark.parametrize("prompt", ["scores"], indirect=True)
@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('{"arousal": 4, "valence": 7}', (4, 7)),
        ('{"Arousal": "4,5", "VALENCE": 1.0}', (4.5, 1)),
        ('```json\n{"scores": {"arousal": [4], "valence": 2}}\n```', (4, 2)),
        ("{arousal: 4, valence: 2,}", (4, 2)),
    ],
)
def test_scores_are_read_as_models_write_them(prompt: Prompt, text: str, values: tuple[float, float]) -> None:
    assert parse_answer(text, prompt) == Answer(dict(zip(("arousal", "valence"), values, strict=True)))


@pytest.mark.parametrize("prompt", ["scores"], indirect=True)
@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"arousal": 4}', "no JSON object with the field 'arousal', 'valence'; .* its valence a number from 1 to 7"),
        ('{"arousal": 8, "valence": 2}', "'arousal' must be a number from 1 to 7; answer with the JSON again"),
        ('{"arousal": "high", "valence": 2}', "'arousal' must be a number"),
        ('{"arousal": NaN, "valence": 2}', "'arousal' must be a number"),
        ('{"arousal": true, "valence": 2}', "'arousal' must be a number"),
        ('{"arousal": 1e999, "valence": 2}', "'arousal' must be a number"),
        ('{"arousal": 4, "a": {"arousal": 5}, "valence": 2}', "two values of 'arousal'"),
    ],
)
def test_a_score_that_is_none_is_an_answer_error(prompt: Prompt, text: str, error: str) -> None:
    with pytest.raises(AnswerError, match=error):
        parse_answer(text, prompt)


def test_labels_of_any_script_and_case_are_found_and_written_as_the_prompt_spells_them() -> None:
    raw = ("spaß", "SPASS!", "„Ärger“", "「高兴」。", "A\u0308rger", "Freude", "快乐")
    rules = parse_rules(["FREUDE=spaß", "快乐=高兴"], LABELS)
    found = [label_of(label, LABELS, rules) for label in raw]
    assert found == ["Spaß", "Spaß", "Ärger", "高兴", "Ärger", "Spaß", "高兴"]


@pytest.mark.parametrize("prompt", ["label"], indirect=True)
def test_a_label_of_the_users_own_is_the_label_of_the_line(prompt: Prompt, tmp_path: Path) -> None:
    row = rows(tmp_path, prompt, '{"mood": "spaß"}', '{"Mood": "SPASS"}', '{"mood": "ärger"}')
    assert (row["llm_label"], row["label_raw"]) == ("Spaß", "spaß")
    assert float(row["confidence_Spaß"]) == pytest.approx(2 / 3)
    assert not {"loudness", "character", "llm_mood"} & set(row)  # nothing that was not asked for


@pytest.mark.parametrize("prompt", ["labels"], indirect=True)
def test_several_labels_share_the_vote_of_an_answer(prompt: Prompt, tmp_path: Path) -> None:
    row = rows(tmp_path, prompt, '{"moods": ["高兴", "spaß"]}', '{"moods": ["Spaß"]}', '{"moods": "Ruhe"}')
    assert row["llm_label"] == "Spaß"
    assert row["llm_moods"] == "Spaß"  # named by more than half of the answers
    assert [float(row[f"confidence_{label}"]) for label in LABELS] == pytest.approx([0.5, 0, 1 / 6, 0])
    [one] = [rows(tmp_path, prompt, '{"moods": ["高兴", "spaß"]}')]
    assert (one["llm_label"], one["llm_moods"], one["label_raw"]) == ("高兴", "Spaß + 高兴", "高兴 + spaß")


@pytest.mark.parametrize("prompt", ["distribution"], indirect=True)
def test_a_distribution_is_a_soft_label(prompt: Prompt, tmp_path: Path) -> None:
    row = rows(tmp_path, prompt, '{"mood": {"spaß": 60, "neutral": 40}}', '{"mood": {"neutral": 0.9, "Zorn": 0.1}}')
    assert row["llm_label"] == "neutral"
    assert [float(row[f"confidence_{label}"]) for label in LABELS] == pytest.approx([0.3, 0, 0, 0.65])
    assert json.loads(row["label_raw"]) == {"neutral": 0.9, "Zorn": 0.1}
    by_rule = rows(tmp_path, prompt, '{"mood": {"neutral": 0.4, "Zorn": 0.6}}', rules={"zorn": "Ärger"})
    assert (by_rule["llm_label"], float(by_rule["confidence_Ärger"])) == ("Ärger", pytest.approx(0.6))
    for wrong in ('{"mood": {"neutral": -1}}', '{"mood": {"neutral": 0}}', '{"mood": {"neutral": "much"}}'):
        with pytest.raises(AnswerError, match="'mood' must be an object with a number for each label"):
            parse_answer(wrong, prompt)


@pytest.mark.parametrize("prompt", ["scores"], indirect=True)
def test_scores_are_means_with_their_deviation_and_there_is_no_label(prompt: Prompt, tmp_path: Path) -> None:
    row = rows(tmp_path, prompt, '{"arousal": 4, "valence": 2}', '{"arousal": 5, "valence": 2}')
    assert (row["llm_arousal"], row["llm_valence"]) == ("4.5", "2")
    assert (row["llm_arousal_deviation"], row["llm_valence_deviation"]) == ("0.707107", "0")
    assert not {"llm_label", "label_raw", "confidence", "entropy"} & set(row)
    read = {0: parse_answer('{"arousal": 4, "valence": 2}', prompt)}
    assert label_line(line(), read, prompt.fields, {}, ORIGIN).is_labelled
    assert not label_line(line(), {}, prompt.fields, {}, ORIGIN).is_labelled


@pytest.mark.parametrize("prompt", ["all"], indirect=True)
def test_every_kind_of_field_has_its_column(prompt: Prompt, tmp_path: Path) -> None:
    first = '{"mood": "spaß", "tone": "Warm", "irony": {"yes": 1, "no": 3}, "arousal": 6, "why": "=lacht"}'
    row = rows(tmp_path, prompt, first, '{"mood": "spaß", "tone": null, "arousal": null, "why": "x"}')
    expected = {"llm_label": "Spaß", "llm_tone": "warm", "llm_irony_yes": "0.25", "llm_irony_no": "0.75"}
    expected |= {"llm_arousal": "6", "llm_why": "'=lacht"}
    assert {column: row[column] for column in expected} == expected
    empty = rows(tmp_path, prompt)
    assert (empty["llm_label"], empty["llm_why"], empty["samples"]) == ("", "", "0")


@pytest.mark.parametrize("prompt", ["all"], indirect=True)
def test_a_labels_file_of_own_fields_is_read_again_combined_and_annotated_anew(prompt: Prompt, tmp_path: Path) -> None:
    rows(tmp_path, prompt, '{"mood": "spaß", "why": "lacht"}')
    again = read_lines(tmp_path / "labels.csv")
    assert [(line.utterance, line.text) for line in again] == [("a", "Hi!")]
    both = combine([tmp_path / "labels.csv", tmp_path / "labels.csv"])
    assert (both[0].label, both[0].described["llm_why"]) == ("Spaß", "lacht")
    scores = prompt_of(tmp_path, "scores")
    read = {0: parse_answer('{"arousal": 4, "valence": 2}', scores)}
    write_labels(tmp_path / "labels.csv", [label_line(again[0], read, scores.fields, {}, ORIGIN)])
    columns = list(pd.read_csv(tmp_path / "labels.csv"))
    assert [column for column in columns if column.startswith("llm_")] == ["llm_arousal", "llm_valence"]


def test_columns_that_the_model_replaces_are_known_before() -> None:
    fields = load_prompt("melt").fields
    assert replaced_columns([line(context="Küche", pitch="220", topic="x")], fields) == ["context", "pitch"]
    assert replaced_columns([line(context="a", prompt_version="1-0")], fields) == []  # a labels file of ours
