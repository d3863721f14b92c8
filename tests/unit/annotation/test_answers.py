"""Answers as models write them: reading them, keeping raw labels, and refusing texts without an emotion."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from melt_ser.annotation.answers import Answer, AnswerError, label_of, parse_answer, parse_rules
from melt_ser.annotation.prompts import load_prompt
from melt_ser.core.errors import SetupError

PROMPT = load_prompt("melt")
ELEMENTS = {
    "emotion": "joy",
    "loudness": "high",
    "pitch": "mid",
    "rhythm_speed": "fast",
    "emotional_impact": "it lifts the room",
}
CONTENT = {"character": "Joey", "context": "tells of the part he got", "elements": ELEMENTS}
TEXT = json.dumps(CONTENT, indent=2)
ANSWER = Answer({"character": "Joey", "context": "tells of the part he got", **ELEMENTS})


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"```json\n{TEXT}\n```",
        f"Sure! Here is the {{JSON}} that you asked for:\n{TEXT}\nLet me know if {{you}} need more.",
        f'<think>maybe {{"emotion": "anger"}}?</think>{TEXT}',
        TEXT.replace('"it lifts the room"', '"it lifts the room",').replace("}\n}", "},\n}"),
        str(CONTENT),  # single quotes, as Python writes them
        TEXT.replace('"joy"', '["joy"]'),
        TEXT.replace("rhythm_speed", "Rhythm Speed").replace("elements", "Elements").replace('emotion"', 'EMOTION"'),
        json.dumps({key: value for key, value in CONTENT.items() if key != "elements"} | ELEMENTS),
        json.dumps({"answer": CONTENT}),
        json.dumps([CONTENT]),
        TEXT.replace("the part he got", "the part\nhe got"),
    ],
)
def test_parse_answer_reads_json_as_models_write_it(text: str) -> None:
    assert parse_answer(text, PROMPT) == ANSWER


def test_parse_answer_leaves_missing_fields_empty_and_raw_labels_as_written() -> None:
    answer = parse_answer('{"emotion": "Frustration!", "pitch": null}', PROMPT)
    assert answer == Answer({"emotion": "Frustration!"})
    assert parse_answer("{emotion: no}", PROMPT) == Answer({"emotion": "no"})


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "no JSON object with the field 'emotion'"),
        ("I think that it is joy.", "no JSON object with the field 'emotion'"),
        ('{"character": "Joey"}', "for its emotion one of anger, disgust"),
        (TEXT[:-60], "complete"),  # cut off by a token limit
        ('{"emotion": {}}', "no JSON object"),
        ('{"emotion": ["joy", "fear"]}', "no JSON object"),
        ('{"emotion": "joy", "elements": {"emotion": "fear"}}', "two values of 'emotion'"),
        ("{" * 19_000, "no JSON object"),
        ('{"a":' * 3_000, "no JSON object"),
        ("x" * 20_001, "20001 characters"),
    ],
)
def test_parse_answer_refuses_a_text_without_one_emotion(text: str, error: str) -> None:
    with pytest.raises(AnswerError, match=error):
        parse_answer(text, PROMPT)


def test_parse_answer_survives_yaml_aliases_that_multiply() -> None:
    doubled = "".join(f"a{n}: &a{n} {{l: *a{n - 1}, r: *a{n - 1}}}," for n in range(1, 60))
    laughs = "{a0: &a0 {b: x}," + doubled + "emotion: joy}"
    assert parse_answer(laughs, PROMPT).values["emotion"] == "joy"


@given(st.text())
def test_parse_answer_turns_any_text_into_an_answer_or_an_answer_error(text: str) -> None:
    for candidate in (text, "{" + text + "}", '{"emotion": ' + text + "}"):
        try:
            answer = parse_answer(candidate, PROMPT)
        except AnswerError:
            continue
        assert str(answer.values["emotion"]).strip()


@given(st.text(min_size=1).filter(lambda text: text.split() and len(text) < 1000), st.text(max_size=1000))
def test_parse_answer_reads_json_with_any_texts(emotion: str, context: str) -> None:
    answer = parse_answer(json.dumps({"context": context, "elements": {"emotion": emotion}}), PROMPT)
    raw = str(answer.values["emotion"])
    assert label_of(raw, ["joy"], {}) in ("joy", None)
    if emotion.isprintable():
        assert raw == " ".join(emotion.split())


def test_label_of_maps_a_label_outside_the_set_by_rule_or_not_at_all() -> None:
    rules = parse_rules(["Frustration=anger"], PROMPT.labels)
    assert [label_of(raw, PROMPT.labels, rules) for raw in ("Joy", "**joy**", "frustration.", "comfort", "")] == [
        "joy",
        "joy",
        "anger",
        None,
        None,
    ]
    for rule, error in (
        ("frustration", "does not end in a label"),
        ("frustration=angr", "did you mean 'anger'"),
        ("=anger", "does not end in a label"),
        ("joy=anger", "'joy' is a label of the prompt"),
    ):
        with pytest.raises(SetupError, match=error):
            parse_rules([rule], PROMPT.labels)
