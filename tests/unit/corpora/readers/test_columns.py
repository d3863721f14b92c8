"""The columns of a user's table: our names, common names, and names of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from melt_ser.core.errors import InputError
from melt_ser.core.vocabulary import USED_COLUMNS
from melt_ser.corpora.readers.columns import COMMON_NAMES, find_columns, listed

PATH = Path("my.csv")


@pytest.mark.parametrize(
    "header",
    [
        "file,emotion,speaker_id",
        "path,Emotion,Speaker ID",
        "filename,emotions,SpeakerID",
        "File Name,EMOTION,speaker-id",
        "wav,emo,spk",
        "wav_path,emotion_label,Actor",
        "audio_file,label,speaker",
        "AudioPath,labels,spk_id",
    ],
)
def test_common_headers_are_understood(header: str) -> None:
    present = [name.lower() for name in header.split(",")]
    columns, _ = find_columns(present, {}, PATH)
    assert [columns[our] for our in ("audio", "label", "speaker")] == present


def test_a_note_says_once_how_other_names_are_understood() -> None:
    _, notes = find_columns(["path", "emotion", "speaker", "sex", "mood"], {}, PATH)
    assert notes == [
        "columns found by their names: audio from 'path', label from 'emotion', gender from 'sex' "
        "(dataset.columns changes this)"
    ]
    assert find_columns(["audio", "label"], {}, PATH)[1] == []


def test_our_own_names_go_first_and_the_settings_before_them() -> None:
    present = ["audio", "path", "label", "emotion", "speaker_id"]
    assert find_columns(present, {}, PATH)[0] == {"audio": "audio", "label": "label", "speaker": "speaker_id"}
    columns, notes = find_columns(present, {"label": "Emotion", "audio": "path", "speaker": None}, PATH)
    assert columns == {"label": "emotion", "audio": "path"} and notes == []


def test_a_column_that_the_settings_take_is_no_candidate() -> None:
    assert find_columns(["path", "file", "emotion"], {"speaker": "file"}, PATH)[0] == {
        "speaker": "file",
        "audio": "path",
        "label": "emotion",
    }


def test_two_candidates_for_a_column_are_refused_with_the_choice() -> None:
    with pytest.raises(InputError) as caught:
        find_columns(["path", "file name", "label"], {}, PATH)
    assert str(caught.value) == (
        "my.csv has 2 columns that may be the audio: path, file name; choose one with +dataset.columns.audio=<column>."
    )
    assert find_columns(["path", "file name", "label"], {"audio": "File Name"}, PATH)[0]["audio"] == "file name"


def test_times_are_read_from_our_own_names_alone() -> None:
    """In MELD's tables the clips are cut, and StartTime is a time in the episode."""
    columns, _ = find_columns(["audio", "label", "starttime", "end_time"], {}, PATH)
    assert columns == {"audio": "audio", "label": "label"}


def test_a_common_name_belongs_to_one_column() -> None:
    names = [name for names in COMMON_NAMES.values() for name in names]
    assert len(set(names)) == len(names) and not USED_COLUMNS & set(names) and set(COMMON_NAMES) <= USED_COLUMNS
    assert all(name == name.lower() and name.isalnum() for name in names)


def test_a_sentence_lists_many_and_long_columns_in_short() -> None:
    assert listed([]) == "none"
    assert listed(["x" * 1000, "b"]) == f"{'x' * 40}…, b"
    assert listed(map(str, range(100))).endswith("18, 19 and 80 more")
