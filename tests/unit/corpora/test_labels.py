"""Label maps are total; label spaces pick and merge."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.labels import EMOTIONS, SYNONYMS, LabelSpace, common_label_map, map_labels

FOUR = {"angry": ["angry"], "happy": ["happy", "excited"], "neutral": ["neutral"], "sad": ["sad"]}


def test_map_labels_refuses_an_unknown_label_with_its_count() -> None:
    raw = pd.Series(["W", "X", "X", "Y"])
    with pytest.raises(InputError, match=r"'X' \(2\), 'Y' \(1\).*for example dataset\.label_map\.X=null"):
        map_labels(raw, {"W": "angry"}, "emodb")


def test_map_labels_refuses_an_emotion_outside_the_vocabulary() -> None:
    with pytest.raises(SetupError, match="maps 'W' to 'angri'.*did you mean 'angry'"):
        map_labels(pd.Series(["W"]), {"W": "angri"}, "emodb")


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1))
def test_map_labels_maps_every_label_to_an_emotion_or_null(labels: list[str]) -> None:
    label_map = {"a": "angry", "b": "excited", "c": None}
    mapped = map_labels(pd.Series(labels), label_map, "x")
    assert mapped.tolist() == [label_map[label] for label in labels]
    classes = LabelSpace("four", FOUR).classify(mapped)
    assert classes.tolist() == [{"a": "angry", "b": "happy", "c": None}[label] for label in labels]


def test_the_native_label_space_has_one_class_an_emotion_in_the_order_of_the_vocabulary() -> None:
    space = LabelSpace.native(["sad", None, "angry", "sad"])
    assert space.classes == {"angry": ["angry"], "sad": ["sad"]}


def test_a_label_space_refuses_an_emotion_in_two_classes() -> None:
    with pytest.raises(SetupError, match="has 'sad' in both 'a' and 'b'"):
        LabelSpace("twice", {"a": ["sad"], "b": ["sad"]})


def test_common_label_map_knows_common_words_in_any_letter_case() -> None:
    assert set(SYNONYMS.values()) <= set(EMOTIONS)
    assert common_label_map(pd.Series(["Anger", "JOY", "xyz"])) == {"Anger": "angry", "JOY": "happy"}
