"""Words for an unknown speaker count as empty cells, and names that look like such words stay names."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from corpus_trees import tone
from melt_ser.cli.compose import load_config
from melt_ser.corpora.readers.csv import read
from melt_ser.corpora.readers.placeholders import WORDS, without_placeholders

NAMES = ["Na", "Nan", "na", "Noname", "unknown1", "N.A.", "Null", "0", "Naomi"]


def speakers_of(*values: str) -> tuple[list[str], list[str]]:
    table = pd.DataFrame({"speaker": values, "session": "", "source": "", "gender": ""}, dtype="str")
    cleaned, notes = without_placeholders(table)
    assert table["speaker"].tolist() == list(values)
    return cleaned["speaker"].tolist(), notes


@pytest.mark.parametrize("word", sorted(WORDS))
def test_a_word_for_an_unknown_speaker_is_an_empty_cell_and_is_noted(word: str) -> None:
    assert speakers_of("Ross", word, "", word, "Phoebe") == (
        ["Ross", "", "", "", "Phoebe"],
        [f"the speaker '{word}' (2 of 5 rows) counts as not known; if it is a name, rename it in the table"],
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_a_person_stays(name: str) -> None:
    assert speakers_of("Ross", name, "Phoebe") == (["Ross", name, "Phoebe"], [])


@pytest.mark.parametrize(
    ("word", "others"), [("NA", ("JK", "DC")), ("nan", ("ann", "bob")), ("none", ("anna", "otto"))]
)
def test_a_word_that_looks_like_the_other_names_is_a_name(word: str, others: tuple[str, ...]) -> None:
    names, [note] = speakers_of(word, *others)
    assert names == [word, *others]
    assert note.startswith(f"the speaker '{word}' (1 of 3 rows) counts as a name, since it looks like the others; if")
    assert speakers_of(word, others[0])[0] == ["", others[0]]  # one other name shows no pattern


def test_a_table_with_unknown_speakers_sessions_sources_and_genders(tmp_path: Path) -> None:
    rows = [("NA", "unknown", "-", "Unknown"), ("anna", "1", "rec", "F")]
    rows += [("?", "nan", "N/A", ""), ("Bert", "2", "rec2", "male")]
    lines = ["audio,label,speaker,session,source,gender"]
    for number, row in enumerate(rows):
        tone(tmp_path / f"{number}.wav")
        lines.append(",".join([f"{number}.wav", "angry", *row]))
    (tmp_path / "my.csv").write_text("\n".join(lines))
    config = load_config("dataset=csv", "dataset.table=my.csv", "dataset.name=mine", f"dataset.root={tmp_path}").dataset
    release = read(tmp_path, config)
    assert release.table["speaker"].tolist() == ["", "anna", "", "Bert"]
    assert release.table["session"].tolist() == ["", "1", "", "2"]
    assert release.table["source"].tolist() == ["mine/0", "rec", "mine/2", "rec2"]
    assert release.table["gender"].tolist() == ["", "female", "", "male"]
    fix = "counts as not known; if it is a name, rename it in the table"
    assert release.notes == [
        f"the speaker 'NA' (1 of 4 rows), '?' (1 of 4 rows) {fix}",
        f"the session 'unknown' (1 of 4 rows), 'nan' (1 of 4 rows) {fix}",
        f"the source '-' (1 of 4 rows), 'N/A' (1 of 4 rows) {fix}",
        "the gender 'Unknown' (1 of 4 rows) counts as not known",
    ]
