"""`annotate --review`: the lines that need a person, the page, and what comes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from browser import CONTRASTS, Seen
from make_audio import sine
from melt_ser.annotate import main

HOSTILE = "<script>alert(1)</script>"
LABELS = ("anger", "joy", "neutral")


def labels_file(path: Path, labels: list[str], confidences: list[float] | None = None, **columns: Any) -> Path:
    """Write a labels file of one dialogue; its lines are named u0, u1, …"""
    rows = [(f"u{number}", f"Line {number}.") for number in range(len(labels))]
    table = pd.DataFrame(rows, columns=["utterance", "text"])
    table = table.assign(speaker="Ross", dialogue="d1", llm_label=labels, **columns)
    if confidences is not None:
        table["confidence"] = confidences
        table = table.assign(**{f"confidence_{label}": "" for label in LABELS})
    table.to_csv(path, index=False)
    return path


def built(folder: Path, *paths: Path, lines: int = 3, more: tuple[str, ...] = ()) -> dict[str, Any]:
    assert main([*map(str, paths), "--review", str(lines), "--out", str(folder / "review"), *more]) == 0
    key: dict[str, Any] = json.loads((folder / "review" / "key.json").read_text())
    return key


def answered(folder: Path, key: dict[str, Any], rater: str, labels: dict[str, str | None]) -> Path:
    """Write the file of a rater, with a label for some utterances."""
    items = {item["utterance"]: item["id"] for item in key["items"]}
    same = {"side": None, "plays": 0, "seconds": 1.0}
    given = [{"item": items[name], "chosen": label, **same} for name, label in labels.items()]
    path = folder / "answers" / f"{rater}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"schema_version": 1, "study": key["study"], "rater": rater, "answers": given}))
    return path


def test_the_least_certain_lines_are_reviewed_first_those_without_a_label(tmp_path: Path) -> None:
    path = labels_file(tmp_path / "a.csv", ["joy", "", "anger", "joy"], [0.5, 1.0, 0.9, 0.6])
    key = built(tmp_path, path)
    assert [item["utterance"] for item in key["items"]] == ["u1", "u0", "u3"]
    assert key["items"][1]["said"] == [{"source": "", "label": "joy", "confidence": 0.5}]
    assert key["items"][0]["labels"] == list(LABELS), "the prompt's labels, though nobody gave neutral"


def test_of_several_files_the_most_disputed_lines_are_reviewed(tmp_path: Path) -> None:
    first = labels_file(tmp_path / "a.csv", ["joy", "joy", "anger", "joy"], [0.1, 1.0, 1.0, 0.9])
    second = labels_file(tmp_path / "b.csv", ["joy", "anger", "neutral", "JOY"])
    third = labels_file(tmp_path / "c.csv", ["joy", "neutral", "neutral", "joy"])
    key = built(tmp_path, first, second, third, lines=4)
    assert [item["utterance"] for item in key["items"]] == ["u1", "u2", "u0", "u3"]
    assert [one["source"] for one in key["items"][0]["said"]] == ["a.csv", "b.csv", "c.csv"]


def test_lines_without_confidence_are_drawn_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built(tmp_path, labels_file(tmp_path / "a.csv", ["joy", "anger"] * 10))
    assert "they are drawn at random; see --samples" in capsys.readouterr().err


def test_the_answers_come_back_beside_the_models_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = labels_file(tmp_path / "a.csv", ["joy", "anger", "anger", "neutral"], [0.4, 0.5, 0.6, 0.7])
    key = built(tmp_path, path, lines=4)
    answered(tmp_path, key, "ben", {"u0": "joy", "u1": "joy", "u2": "anger"})
    answered(tmp_path, key, "anna", {"u0": "joy", "u1": "joy", "u2": None})
    out = tmp_path / "reviewed.csv"
    capsys.readouterr()
    assert main([str(tmp_path / "review/key.json"), str(tmp_path / "answers"), "--reviewed", "--out", str(out)]) == 0
    table = pd.read_csv(out, keep_default_na=False).set_index("utterance")
    assert list(table.index) == ["u0", "u1", "u2"], "nobody answered u3"
    told = capsys.readouterr().err
    assert "left out: 1 lines that no rater gave a label" in told
    assert table["rater_anna"].tolist() == ["joy", "joy", ""]
    assert table["rater_ben"].tolist() == ["joy", "joy", "anger"]
    assert table["model"].tolist() == ["joy", "anger", "anger"]
    assert table["label"].tolist() == ["joy", "joy", "anger"]
    assert table["confidence"].tolist() == pytest.approx([1, 2 / 3, 1], abs=1e-4)
    assert "agreement of raters and label sources (3): Krippendorff's alpha" in told
    assert "model: the consensus keeps its label on 66.7 % of 3 lines" in told
    assert f"melt-ser agreement {out} --columns rater_anna,rater_ben,model" in told

    whole = tmp_path / "whole.csv"  # the labels file with the reviewed lines corrected
    assert main([str(out), str(path), "--combine", "--out", str(whole)]) == 0
    assert pd.read_csv(whole)["llm_label"].tolist() == ["joy", "joy", "anger", "neutral"]


def test_labels_keep_the_spelling_of_the_files(tmp_path: Path) -> None:
    """The page takes them from columns too, whose names are read in lower case."""
    paths = [labels_file(tmp_path / f"{name}.csv", ["Freude", "Ärger", "Freude"], [0.4, 0.5, 0.6]) for name in "ab"]
    for path in paths:
        table = pd.read_csv(path)
        names = dict(zip([f"confidence_{label}" for label in LABELS], ["Freude", "Ärger", "Trauer"], strict=True))
        table.rename(columns={old: f"confidence_{new}" for old, new in names.items()}).to_csv(path, index=False)
    key = built(tmp_path, *paths)
    assert key["items"][0]["labels"] == ["Freude", "Ärger", "trauer"], "nobody gave the last one"
    answered(tmp_path, key, "anna", {"u0": "Freude", "u1": "trauer", "u2": "trauer"})
    command = [str(tmp_path / "review/key.json"), str(tmp_path / "answers"), "--reviewed"]
    for method in ("majority", "one_coin"):
        assert main([*command, "--method", method, "--out", str(tmp_path / "o.csv")]) == 0
        table = pd.read_csv(tmp_path / "o.csv").set_index("utterance")
        assert table["label"].to_dict() == {"u0": "Freude", "u1": "Ärger", "u2": "Freude"}
        if method == "majority":
            assert table["confidence"].tolist() == pytest.approx([1, 2 / 3, 2 / 3], abs=1e-4)


def test_labels_files_of_one_name_keep_their_answers_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("gemma", "qwen"):
        (tmp_path / folder).mkdir()
    first = labels_file(tmp_path / "gemma" / "labels.csv", ["joy", "joy", "anger"])
    second = labels_file(tmp_path / "qwen" / "labels.csv", ["anger", "joy", "joy"])
    key = built(tmp_path, first, second)
    assert key["sources"] == [one["source"] for one in key["items"][0]["said"]] == [str(first), str(second)]
    answered(tmp_path, key, "anna", {"u0": "anger", "u1": "joy", "u2": "joy"})
    command = [str(tmp_path / "review/key.json"), str(tmp_path / "answers"), "--reviewed"]
    assert main([*command, "--out", str(tmp_path / "o.csv")]) == 0
    table = pd.read_csv(tmp_path / "o.csv").set_index("utterance").sort_index()
    assert table[f"model_{first}"].tolist() == ["joy", "joy", "anger"]
    assert table[f"model_{second}"].tolist() == ["anger", "joy", "joy"]
    assert "agreement of raters and label sources (3)" in capsys.readouterr().err


def test_the_labels_of_any_files_prompt_may_be_chosen(tmp_path: Path) -> None:
    people = labels_file(tmp_path / "people.csv", ["joy", "joy", "anger"])
    model = labels_file(tmp_path / "model.csv", ["joy", "anger", "anger"], [0.5, 0.6, 0.7])
    assert built(tmp_path, people, model)["items"][0]["labels"] == list(LABELS), "though nobody gave neutral"


def test_reviews_of_earlier_versions_with_labels_in_lower_case_are_read(tmp_path: Path) -> None:
    key = built(tmp_path, labels_file(tmp_path / "a.csv", ["Joy", "Anger", "Joy"], [0.4, 0.5, 0.6]))
    for item in key["items"]:
        item["labels"] = ["anger", "joy", "neutral"]
    (tmp_path / "review" / "key.json").write_text(json.dumps(key))
    answered(tmp_path, key, "anna", {"u0": "joy", "u1": "anger"})
    command = [str(tmp_path / "review/key.json"), str(tmp_path / "answers"), "--reviewed"]
    assert main([*command, "--out", str(tmp_path / "o.csv")]) == 0
    table = pd.read_csv(tmp_path / "o.csv")
    assert table["label"].tolist() == ["joy", "anger"] and table["confidence"].tolist() == [1, 1]


def test_a_model_of_errors_needs_three_votes_and_cautions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = built(tmp_path, labels_file(tmp_path / "a.csv", ["joy", "anger", "anger"], [0.4, 0.5, 0.6]))
    answered(tmp_path, key, "anna", {"u0": "joy", "u1": "joy", "u2": "anger"})
    command = [str(tmp_path / "review/key.json"), str(tmp_path / "answers"), "--reviewed"]
    command += ["--out", str(tmp_path / "o.csv")]
    assert main([*command, "--method", "one_coin"]) == 2
    assert "one_coin needs 3 raters and label sources or more, not 2" in capsys.readouterr().err
    answered(tmp_path, key, "ben", {"u0": "joy", "u1": "anger", "u2": "anger"})
    assert main([*command, "--method", "dawid_skene"]) == 0
    assert "caution: 3 lines with 2 labels are few for dawid_skene" in capsys.readouterr().err
    assert pd.read_csv(tmp_path / "o.csv")["label"].tolist()[::2] == ["joy", "anger"]


@pytest.mark.parametrize(
    ("tables", "options", "code", "words"),
    [
        (["gone.csv"], ["--review", "2"], 2, "There is no labels file"),
        (["a.csv"], ["--review", "2", "--root", "."], 2, "--root needs labels of a table with the column audio"),
        (["a.csv"], ["--review", "2", "--words", "klingon"], 2, "There are no words 'klingon'"),
        (["one.csv"], ["--review", "2"], 1, "have 1 different labels, and a page shows 2 to 60"),
        (["a.csv"], ["--reviewed"], 2, "--reviewed needs the key.json of the review and the raters' answers"),
        (["gone.json", "answers"], ["--reviewed"], 2, "give the key.json that `annotate --review` wrote"),
    ],
)
def test_bad_input_is_refused_in_one_sentence_and_leaves_nothing(
    tmp_path: Path, tables: list[str], options: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    labels_file(tmp_path / "a.csv", ["joy", "anger"])
    labels_file(tmp_path / "one.csv", ["joy", "joy"])
    assert main([*(str(tmp_path / table) for table in tables), *options, "--out", str(tmp_path / "out")]) == code
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and words in line and not (tmp_path / "out").exists()


def test_the_review_page_shows_context_answer_and_clip_and_its_file_is_read(browser: Any, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sine(16_000, 0.2, 300), 16_000)
    audio = ["a.wav", "gone.wav", "a.wav", "a.wav"]
    path = labels_file(tmp_path / "a.csv", ["joy", "anger", "", "neutral"], [0.4, 0.5, 0.6, 0.9], audio=audio)
    table = pd.read_csv(path, keep_default_na=False)
    table.loc[1, "text"] = HOSTILE
    table.to_csv(path, index=False)
    key = built(tmp_path, path, more=("--root", str(tmp_path)))
    assert [item["utterance"] for item in key["items"]] == ["u2", "u0", "u1"]
    seen = Seen(browser, tmp_path / "review" / "share" / "index.html", 390)
    seen.page.get_by_role("textbox").fill("anna")
    seen.page.get_by_role("button", name="Start").click()
    said = {}
    for _ in range(3):
        name = next(one["utterance"] for one in key["items"] if one["text"] == marked(seen))
        said[name] = (seen.page.locator("#said").inner_text(), seen.page.locator("#lines p.quiet").all_inner_texts())
        assert seen.page.locator("#play").is_visible() == (name != "u1"), "the clip of u1 is gone"
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390
        assert min(contrast for contrast, _ in seen.page.evaluate(CONTRASTS)) >= 4.5
        assert seen.page.locator("#choice button").all_inner_texts() == list(LABELS)
        if name == "u0":
            seen.page.get_by_role("button", name="I cannot say").click()
        else:
            seen.page.keyboard.press("2" if name == "u1" else "3")
    assert said["u0"] == ("Label so far: joy (40 %)", [])
    assert said["u1"] == ("Label so far: anger (50 %)", ["Ross: Line 0."])
    assert said["u2"] == ("Label so far: no label (60 %)", ["Ross: Line 0.", f"Ross: {HOSTILE}"])
    with seen.page.expect_download() as download:
        seen.page.locator(".save:visible").click()
    download.value.save_as(tmp_path / "answers" / "anna.json")
    assert seen.complaints == []
    seen.context.close()
    out = tmp_path / "reviewed.csv"
    assert main([str(tmp_path / "review/key.json"), str(tmp_path / "answers"), "--reviewed", "--out", str(out)]) == 0
    table = pd.read_csv(out, keep_default_na=False).set_index("utterance")
    assert table["rater_anna"].to_dict() == {"u2": "neutral", "u1": "joy"}, "u0 got no label"
    samples, rate = soundfile.read(next((tmp_path / "review/share/clips").iterdir()))
    np.testing.assert_allclose(samples, sine(16_000, 0.2, 300), atol=1e-4)
    assert rate == 16_000


def marked(seen: Seen) -> str:
    """Return the text of the marked line, without its speaker."""
    text: str = seen.page.locator("#lines p.marked").inner_text()
    return text.removeprefix("Ross: ")
