"""`agreement`: the paper's figures from the released files, and measures that equal those of other libraries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, f1_score

from agreements import compare, write
from browser import CONTRASTS, Seen
from melt_ser.agreement import main
from melt_ser.evaluation.metrics import confusion_matrix
from melt_ser.label_study.agreement import LABELS, Agreement, agreement
from melt_ser.label_study.label_pairs import LabelPairs
from melt_ser.label_study.reliability import (
    cohens_kappa,
    coincidences_of_items,
    coincidences_of_pairs,
    krippendorffs_alpha,
)

HOSTILE = "<script>alert(1)</script>"


@pytest.mark.parametrize(
    ("part", "n", "changed", "kappa", "human", "machine"),
    [  # from the paper and the released files; label counts are in the order of LABELS
        ("train", 7024, 46.43, 0.392, [852, 215, 208, 1244, 3172, 570, 763], [464, 473, 418, 1578, 2519, 363, 1209]),
        ("test", 1794, 47.55, 0.378, None, [126, 123, 103, 388, 659, 90, 302]),
    ],
)
def test_agreement_of_the_released_files_equals_the_papers(
    shared_data: Path,
    part: str,
    n: int,
    changed: float,
    kappa: float,
    human: list[int] | None,
    machine: list[int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    released = shared_data / "melt" / f"meld_{part}.csv"
    result = compare(released, capsys=capsys)
    assert result["n"] == n
    assert round(100 * result["as_given"]["changed"], 2) == changed
    assert round(result["as_given"]["kappa"], 3) == kappa
    confusion = np.asarray(result["confusion"])
    size = len(LABELS)
    assert confusion[:, :size].sum(axis=0).tolist() == machine
    if human:
        assert confusion.sum(axis=1).tolist() == human
    from_two_files = compare(shared_data / "meld" / f"{part}_sent_emo.csv", released, capsys=capsys)
    assert from_two_files["confusion"] == result["confusion"]
    assert sum(from_two_files["left_out"].values()) == {"train": 2965, "test": 816}[part]


def test_agreement_counts_labels_outside_the_set_and_never_changes_them(
    shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = compare(shared_data / "melt" / "meld_test.csv", capsys=capsys)
    assert result["outside"] == {"first": {}, "second": {"frustration": 2, "comfort": 1}}
    assert result["categories"] == [*LABELS, "comfort", "frustration"]
    assert result["as_given"]["n"] == 1794 and result["within"]["n"] == 1791
    assert sum(row["first"] for row in result["classes"]) == 1791
    assert round(100 * result["within"]["changed"], 2) == 47.46


def test_agreement_slices_cover_all_utterances_with_their_own_figures(
    shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shared_data / "melt" / "meld_test.csv"
    result, table = compare(path, capsys=capsys), pd.read_csv(path)
    for name in ("speaker", "season", "length"):
        assert sum(row["n"] for row in result["slices"] if row["by"] == name) == 1794
    [joey] = [row for row in result["slices"] if row["value"] == "joey"]
    rows = table[table["Speaker"] == "joey"]
    assert joey["kappa"] == pytest.approx(cohen_kappa_score(rows["Emotion"], rows["llm_label"]))
    assert joey["kappa_ci95"][0] < joey["kappa"] < joey["kappa_ci95"][1]
    assert [row["value"] for row in result["slices"] if row["by"] == "season"] == list("123456789")
    episodes = compare(path, "--by", "Episode,Sentiment", capsys=capsys)["slices"]
    assert {row["by"] for row in episodes} == {"episode", "sentiment"}


def test_agreement_shift_is_the_gain_and_loss_of_each_label(
    shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = compare(shared_data / "melt" / "meld_train.csv", capsys=capsys)
    shift = np.asarray(result["shift"])
    assert (shift == -shift.T).all()
    lost = {row["label"]: row["first"] - row["second"] for row in result["classes"]}
    assert dict(zip(result["categories"], shift.sum(axis=1).tolist(), strict=True)) == lost


LABELLED = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=2, max_size=40)


@given(LABELLED)
@settings(max_examples=100)
def test_kappa_and_f1_equal_scikit_learns(rows: list[tuple[str, str]]) -> None:
    first, second = map(list, zip(*rows, strict=True))
    kappa = float(cohens_kappa(confusion_matrix(first, second, "abc")))
    if len(set(first + second)) == 1:
        assert np.isnan(kappa)
        return
    assert kappa == pytest.approx(cohen_kappa_score(first, second))
    pairs = LabelPairs(pd.DataFrame({"first": first, "second": second}), ("one", "two"), {})
    for row in agreement(pairs, list("abc"), resamples=20).classes:
        occurs = row.label in first + second
        expected = f1_score(first, second, labels=[row.label], average=None)[0] if occurs else None
        assert row.f1 == (None if expected is None else pytest.approx(expected))


@given(LABELLED)
@settings(max_examples=50)
def test_alpha_of_pairs_equals_alpha_of_items_with_two_raters(rows: list[tuple[str, str]]) -> None:
    counts = np.asarray([[pair.count(label) for label in "abc"] for pair in rows])
    confusion = confusion_matrix(*map(list, zip(*rows, strict=True)), "abc")
    np.testing.assert_allclose(coincidences_of_pairs(confusion), coincidences_of_items(counts))


def test_alpha_equals_its_authors_examples() -> None:
    """Krippendorff 2011: two observers and five labels, then four observers with missing values."""
    confusion = confusion_matrix(list("aabbdcccedda"), list("babbbccceddd"), list("abcde"))
    assert float(krippendorffs_alpha(coincidences_of_pairs(confusion))) == pytest.approx(0.692, abs=5e-4)
    columns = zip("123321412...", "1233224125.3", ".3332342251.", "12332441251.", strict=True)
    counts = np.asarray([[item.count(label) for label in "12345"] for item in columns])
    assert float(krippendorffs_alpha(coincidences_of_items(counts))) == pytest.approx(0.743, abs=5e-4)


@given(LABELLED, st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_agreement_does_not_depend_on_the_order_of_rows(rows: list[tuple[str, str]], random: Any) -> None:
    def result(rows: list[tuple[str, str]]) -> Agreement:
        pairs = LabelPairs(pd.DataFrame(rows, columns=["first", "second"]), ("one", "two"), {})
        return agreement(pairs, list("abc"), resamples=20)

    shuffled = rows.copy()
    random.shuffle(shuffled)
    assert result(rows) == result(shuffled)


def test_agreement_ignores_the_case_of_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "JOY,joy\nAnger,anger\nanger,Joy\nWut,wut\n"
    path = write(tmp_path / "a.csv", "Emotion,llm_label\n" + rows)
    result = compare(path, capsys=capsys)
    assert result["outside"] == {"first": {"wut": 1}, "second": {"wut": 1}}
    assert result["as_given"]["changed"] == 0.25
    named = compare(path, "--labels", "Joy,Anger", capsys=capsys)
    assert named["labels"] == ["Joy", "Anger"] and named["confusion"][:2] == [[1, 0, 0], [1, 1, 0]]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["joy", "anger", "calm"], "anger, disgust, fear, joy, neutral, sadness, surprise"),
        (["Freude", "Spaß", "Ärger", "neutral"], "Freude, Spaß, neutral, Ärger"),
        (["angry", "anger", "calm", "bored"], "anger, angry, bored, calm"),
    ],
)
def test_the_usual_set_is_melds_unless_most_labels_are_others(
    labels: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"u{number},{label},{label.upper()}\n" for number, label in enumerate(labels))
    path = tmp_path / "a.csv"
    path.write_text(f"utterance,label,llm_label\n{rows}", encoding="utf-8")
    assert main([str(path)]) == 0
    assert f"The set: {expected}." in capsys.readouterr().out


def test_two_sources_with_one_label_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = compare(
        write(tmp_path / "a.csv", "utterance,label,llm_label\nu1,calm,Calm\nu2,calm,calm\n"), capsys=capsys
    )
    assert result["labels"] == ["calm"] and result["within"]["changed"] == 0.0 and result["within"]["kappa"] is None


def test_the_length_of_a_name_is_no_length_of_a_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "u1,joy,joy\nu2,fear,joy\n"
    path = write(tmp_path / "a.csv", f"utterance,label,llm_label\n{rows}")
    assert compare(path, capsys=capsys)["slices"] == []
    melds = rows.replace("u1", "1,1,Oh my god!").replace("u2", "1,2,No.")
    path = write(tmp_path / "b.csv", f"Dialogue_ID,Utterance_ID,Utterance,Emotion,llm_label\n{melds}")
    assert [row["value"] for row in compare(path, capsys=capsys)["slices"]] == ["up to 5 words"]


def test_three_speakers_and_one_value_have_no_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"joy,{'fear' if number % 4 == 0 else 'joy'},{number % 3}" for number in range(24)] + ["fear,fear,0"] * 9
    path = write(tmp_path / "a.csv", "\n".join(["Emotion,llm_label,Speaker", *rows]))
    result = compare(path, "--html", str(tmp_path / "a.html"), capsys=capsys)
    measured = [result["as_given"], *result["classes"]]
    assert all(row[name] is None for row in measured for name in row if name.endswith("_ci95"))
    assert result["as_given"]["changed"] == pytest.approx(6 / 33) and result["as_given"]["kappa"] is not None
    by_speaker = {row["value"]: row for row in result["slices"]}
    assert by_speaker["0"]["kappa_ci95"] is not None, "over the utterances of one speaker"
    assert main([str(path)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "as given 33 18.2 [–]" in text and "[–]: there is no interval if speakers are fewer than four" in text
    same = write(tmp_path / "b.csv", "Emotion,llm_label\n" + "joy,joy\nfear,fear\n" * 9)
    assert compare(same, capsys=capsys)["as_given"]["kappa_ci95"] is None, "1 on all resamples too"


def test_agreement_text_and_markdown_agree_and_escape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.csv", f"Emotion,llm_label,Speaker\njoy,joy,[red]a|b\njoy,{HOSTILE},ann\nfear,fear,ann\n")
    assert main([str(path)]) == 0
    text = capsys.readouterr().out
    assert f"1 label of the second source, {HOSTILE} (1)" in " ".join(text.split()) and "[red]a|b" in text
    assert main([str(path), "--out", str(tmp_path / "a.md")]) == 0
    markdown = (tmp_path / "a.md").read_text()
    assert "a\\|b" in markdown and "<script>" not in markdown


def test_agreement_needs_no_torch(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "Emotion,llm_label\njoy,joy\njoy,fear\n")
    code = (
        "import sys; from melt_ser.agreement import main\n"
        "light = not {'pandas', 'numpy'} & set(sys.modules)\n"
        f"main([{str(path)!r}, '--html', {str(tmp_path / 'a.html')!r}])\n"
        "sys.exit('torch' in sys.modules or not light)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_agreement_page_fits_the_screen_and_every_text_stands_out(
    browser: Any, shared_data: Path, tmp_path: Path, width: int, scheme: str
) -> None:
    table = pd.read_csv(shared_data / "melt" / "meld_test.csv", dtype=str)
    table.loc[0, ["Speaker", "llm_label"]] = HOSTILE
    table.to_csv(tmp_path / "labels.csv", index=False)
    assert main([str(tmp_path / "labels.csv"), "--html", str(tmp_path / "page.html")]) == 0
    seen = Seen(browser, tmp_path / "page.html", width, 844, scheme)
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    assert [text for contrast, text in seen.page.evaluate(CONTRASTS) if contrast < 4.5] == []
    assert seen.page.get_by_role("heading", name="Confusion").is_visible()
    assert seen.requests == [(tmp_path / "page.html").as_uri()] and seen.complaints == []
    seen.context.close()
