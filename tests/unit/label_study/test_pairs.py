"""`agreement` joins the rows of two label files, and refuses files that do not fit."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from agreements import compare, write
from melt_ser.agreement import main
from melt_ser.core.errors import InputError, SetupError
from melt_ser.label_study.label_pairs import read_pairs


def test_read_pairs_joins_on_keys_of_different_names_and_counts_rows_without_a_partner(tmp_path: Path) -> None:
    first = write(tmp_path / "a.csv", "utterance,label\nu1,joy\nu2,fear\nu3,joy\n")
    second = write(tmp_path / "b.csv", "filename,llm_label\nu1,joy\nu2,anger\nu4,joy\nu5,joy\n")
    pairs = read_pairs(first, second, keys=["utterance=filename"])
    assert pairs.table[["first", "second"]].values.tolist() == [["joy", "joy"], ["fear", "anger"]]
    assert pairs.left_out == {"only in a.csv": 1, "only in b.csv": 2}


def test_read_pairs_tells_two_files_of_one_name_apart_by_their_folders(tmp_path: Path) -> None:
    for name, rows in (("a", "u1,joy\nu2,\nu3,joy\n"), ("b", "u1,joy\nu2,joy\nu4,joy\nu5,joy\n")):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "labels.csv", "utterance,llm_label\n" + rows)
    first, second = tmp_path / "a" / "labels.csv", tmp_path / "b" / "labels.csv"
    pairs = read_pairs(first, second)
    assert pairs.names == (f"{first}, llm_label", f"{second}, llm_label")
    assert pairs.left_out == {f"only in {first}": 1, f"only in {second}": 2, f"no label: {first}, llm_label": 1}


def test_read_pairs_counts_rows_without_a_label(tmp_path: Path) -> None:
    pairs = read_pairs(write(tmp_path / "a.csv", "Emotion,llm_label\njoy,\n,fear\njoy,joy\n"))
    assert len(pairs.table) == 1
    assert pairs.left_out == {"no label: emotion": 1, "no label: llm_label": 1}


def test_agreement_joins_a_file_of_all_splits_with_the_file_of_one(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A labels file of MELD has the column split; MELD's own files have it in their names."""
    parts = [
        pd.read_csv(shared_data / "melt" / f"meld_{part}.csv", dtype=str).assign(split=part)
        for part in ("train", "test")
    ]
    pd.concat(parts).to_csv(tmp_path / "labels.csv", index=False)
    result = compare(shared_data / "meld" / "test_sent_emo.csv", tmp_path / "labels.csv", capsys=capsys)
    assert result["n"] == 1794 and round(result["as_given"]["kappa"], 3) == 0.378
    assert result["left_out"] == {"only in test_sent_emo.csv": 816, "only in labels.csv": 7024}


def test_agreement_refuses_rows_of_another_split(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each split numbers its dialogues anew, so the keys of one also occur in another."""
    copies = [tmp_path / "a.csv", tmp_path / "b.csv"]  # names without the split
    for released, copy in zip(("meld/test_sent_emo.csv", "melt/meld_train.csv"), copies, strict=True):
        copy.write_bytes((shared_data / released).read_bytes())
    assert main([str(copy) for copy in copies]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "1068 of 1221 utterances with equal keys have another season" in line
    assert line.endswith("compare files of the same split.")


@pytest.mark.parametrize(
    ("text", "options", "error", "words"),
    [
        ("Emotion,label\njoy,joy\n", [], InputError, "has no column 'llm_label'"),
        ("Emotion,llm_label\njoy,joy\n", ["--second-column", "Emotion"], SetupError, "Both labels are the column"),
        (
            "Emotion,llm_label\nwut,wut\n",
            ["--labels", "anger,joy"],
            InputError,
            "No utterance has two labels of the set anger",
        ),
        ("Emotion,llm_label\njoy,joy\n", ["--labels", "joy"], SetupError, "two or more different labels"),
        ("Emotion,llm_label\njoy,joy\n", ["--by", "spaeker"], SetupError, "have no column 'spaeker'"),
        ("Emotion,llm_label\n,joy\n", [], InputError, "no utterance with two labels (1 no label: emotion)"),
        (
            "Emotion,llm_label\n" + "".join(f"joy,answer {number}\n" for number in range(51)),
            [],
            InputError,
            "has 51 different labels outside the set",
        ),
    ],
)
def test_agreement_refuses_bad_input_in_one_sentence(
    tmp_path: Path,
    text: str,
    options: list[str],
    error: type[InputError | SetupError],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([str(write(tmp_path / "a.csv", text)), *options]) == error.exit_code
    shown = capsys.readouterr()
    [line] = shown.err.splitlines()
    assert line.startswith("error: ") and words in line and not shown.out


def test_agreement_refuses_a_suffix_that_names_no_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write(tmp_path / "a.csv", "Emotion,llm_label\njoy,joy\n")
    page = tmp_path / "page.html"
    page.write_text("<html>")
    assert main([str(table), "--out", str(page)]) == 2
    assert "page.html ends in none of .txt, .md and .json" in capsys.readouterr().err
    assert page.read_text() == "<html>"


def test_read_pairs_keeps_columns_called_first_and_second_apart_from_labels(tmp_path: Path) -> None:
    first = write(tmp_path / "a.csv", "id,second,label\n1,fear,joy\n2,fear,joy\n")
    second = write(tmp_path / "b.csv", "id,first,label\n1,fear,joy\n2,fear,anger\n")
    pairs = read_pairs(first, second, keys=["id"])
    assert pairs.table[["first", "second"]].values.tolist() == [["joy", "joy"], ["joy", "anger"]]


def test_agreement_names_a_key_that_repeats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "Dialogue_ID,Utterance_ID,sample,llm_label\n0,1,0,joy\n0,1,1,fear\n"
    first, second = write(tmp_path / "a.csv", text), write(tmp_path / "b.csv", text)
    assert main([str(first), str(second)]) == 1
    assert "dialogue_id 0, utterance_id 1); name columns that tell them apart" in capsys.readouterr().err
    assert main([str(first), str(second), "--keys", "Dialogue_ID,Utterance_ID,sample"]) == 0
