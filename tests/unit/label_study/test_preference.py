"""`listen score`: preferences, their tests and intervals, and what becomes of answers that do not fit."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

from melt_ser.label_study.mixed_effects import mixed_test
from melt_ser.label_study.preference import crossed_interval
from melt_ser.label_study.reliability import coincidences_of_items, krippendorffs_alpha
from melt_ser.listen import main
from simulations_listening import Design, found, judgements

REST = {"side": "left", "plays": 1, "seconds": 2.0}
LABELS = (("joy", "anger"), ("fear", "anger"), ("joy", "fear"), ("neutral", "fear"))


def write_key(folder: Path, clips: int = 12, checks: int = 2) -> dict[str, Any]:
    items = []
    for number in range(clips + checks):
        first, second = LABELS[number % len(LABELS)]
        labels = [first, second] if number % 2 else [second, first]
        check = first if number >= clips else None
        items.append({"id": f"i{number}", "labels": labels, "check": check, "first": first, "second": second})
    key = {"schema_version": 1, "study": "s1", "sources": {"first": "human", "second": "machine"}, "items": items}
    (folder / "key.json").write_text(json.dumps(key))
    return key


def write_answers(folder: Path, key: dict[str, Any], rater: str, **more: Any) -> dict[str, Any]:
    """A rater who prefers the second source's anger and else the first source, always on the left."""
    answers = [
        {
            "item": item["id"],
            "chosen": item["check"] or ("anger" if item["second"] == "anger" else item["first"]),
            **REST,
        }
        for item in key["items"]
    ]
    content = {"schema_version": 1, "study": key["study"], "rater": rater, "items": 14, "answers": answers, **more}
    (folder / "answers").mkdir(exist_ok=True)
    (folder / "answers" / f"{rater}.json").write_text(json.dumps(content))
    return content


def score(folder: Path, *more: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["score", str(folder / "key.json"), str(folder / "answers"), "--format", "json", *more]) == 0
    scored: dict[str, Any] = json.loads(capsys.readouterr().out)
    return scored


def test_preferences_are_counted_by_class_of_either_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = write_key(tmp_path)
    for rater in ("ann", "ben", "cleo"):
        write_answers(tmp_path, key, rater)
    scored = score(tmp_path, capsys=capsys)
    assert scored["overall"]["n"] == 36 and scored["clips"] == 12
    assert scored["overall"]["second"] == 0.5
    by_label = {row["label"]: row for row in scored["classes"]["second"]}
    assert by_label["anger"]["second"] == 1.0 and by_label["fear"]["second"] == 0.0
    assert by_label["anger"]["binomial_p"] == pytest.approx(binomtest(18, 18).pvalue)
    assert by_label["anger"]["binomial_p_holm"] == pytest.approx(2 * by_label["anger"]["binomial_p"])
    assert by_label["anger"]["second_ci95"] == pytest.approx(list(binomtest(3, 3).proportion_ci()))  # three raters
    assert by_label["anger"]["mixed"] is None  # all judgements are the same
    assert {row["label"]: row["second"] for row in scored["classes"]["first"]} == {"fear": 1, "joy": 0.5, "neutral": 0}
    assert scored["agreement"] == {"alpha": 1.0, "alpha_ci95": [1.0, 1.0], "same": 1.0}
    assert scored["left_side"]["chosen"] == 1.0 and scored["left_side"]["binomial_p"] < 0.001


def test_a_rater_who_fails_a_check_is_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = write_key(tmp_path)
    write_answers(tmp_path, key, "ann")
    asleep = write_answers(tmp_path, key, "ben")["answers"]
    asleep[-1]["chosen"] = key["items"][-1]["second"]
    write_answers(tmp_path, key, "ben", answers=asleep)
    scored = score(tmp_path, capsys=capsys)
    assert scored["raters"] == ["ann"] and scored["left_out"] == {"ben": "failed 1 of 2 checks"}
    assert score(tmp_path, "--allow-failed", "1", capsys=capsys)["raters"] == ["ann", "ben"]


def test_a_raters_files_are_put_together_and_skipped_clips_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = write_key(tmp_path)
    whole = write_answers(tmp_path, key, "ann")
    for name, part in (("aaa", whole["answers"][:3]), ("zzz", whole["answers"][2:])):
        (tmp_path / "answers" / f"{name}.json").write_text(json.dumps({**whole, "answers": part}))
    (tmp_path / "answers" / "ann.json").unlink()
    skipped = {**whole["answers"][0], "chosen": None, "side": None}
    write_answers(tmp_path, key, "ben", answers=[skipped, *whole["answers"][1:]])
    write_answers(tmp_path, key, "idle", answers=[])
    scored = score(tmp_path, capsys=capsys)
    assert scored["overall"]["n"] == 12 + 11 and scored["not_played"] == 1
    assert scored["raters"] == ["ann", "ben"]


def test_two_people_under_one_code_are_told_apart_by_a_person(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = write_key(tmp_path)
    whole = write_answers(tmp_path, key, "ann")
    other = [{**whole["answers"][0], "chosen": key["items"][0]["first"]}]
    (tmp_path / "answers" / "more.json").write_text(json.dumps({**whole, "answers": other}))
    assert main(["score", str(tmp_path / "key.json"), str(tmp_path / "answers")]) == 1
    assert "for the item i0, and another file of rater ann 'anger'; leave the older" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"study": "s2"}, 1, "answers the study s2, and"),
        ({"answers": [{"item": "i0", "chosen": "wut", **REST}]}, 1, "'wut' for the item i0 is no answer"),
        ({"answers": [{"item": "x", "chosen": None, **REST}]}, 1, "for the item x is no answer"),
        ({"answers": [{"item": "i0"}]}, 1, "has no sound 'answers[0].chosen'"),
        ({"schema_version": 2}, 1, "is of version 2, not 1"),
        ({"answers": []}, 1, "There is no judgement to score"),
    ],
)
def test_answers_that_do_not_fit_are_one_sentence(
    tmp_path: Path, change: dict[str, Any], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_answers(tmp_path, write_key(tmp_path), "ann", **change)
    assert main(["score", str(tmp_path / "key.json"), str(tmp_path / "answers")]) == code
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and words in line


def test_text_and_markdown_tell_the_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = write_key(tmp_path)
    answers = write_answers(tmp_path, key, "ann")["answers"]
    other = {**answers[0], "chosen": key["items"][0]["first"]}
    write_answers(tmp_path, key, "ben", answers=[other, *answers[1:]])
    assert main(["score", str(tmp_path / "key.json"), str(tmp_path / "answers")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "2 raters, 12 clips, 24 judgements" in text
    assert "Mixed model: the second is preferred in 45.8 %" in text
    assert "Two raters say the same of a clip in 91.7 %" in text
    out = tmp_path / "score.md"
    assert main(["score", str(tmp_path / "key.json"), str(tmp_path / "answers"), "--out", str(out)]) == 0
    assert "| anger | 12 | 6 | 91.7" in out.read_text()


def test_without_statsmodels_all_but_the_mixed_test_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_answers(tmp_path, write_key(tmp_path), "ann")
    monkeypatch.setitem(sys.modules, "statsmodels.regression.mixed_linear_model", None)
    overall = score(tmp_path, capsys=capsys)["overall"]
    assert overall["mixed"] is None and "pip install 'melt-ser[listening]'" in overall["mixed_skipped"]
    assert overall["second"] == 0.5


def test_the_mixed_test_of_the_same_judgements_twice_is_no_surer() -> None:
    """A binomial test of each clip judged by ten raters who are all but one finds what their judgements do not say."""
    one = np.tile([1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0], (10, 1))
    one[0, 0] = 0.0
    rater, clip = np.divmod(np.arange(one.size), one.shape[1])
    test = mixed_test(one.ravel(), rater, clip)
    assert test is not None and test.mean == pytest.approx(one.mean()) and test.p > 0.1
    assert binomtest(int(one.sum()), one.size).pvalue < 0.001


def test_without_a_preference_the_mixed_test_and_the_interval_keep_their_level() -> None:
    """The binomial test does not; more designs are in docs/listening.md."""
    shares = found(Design(6, 16, 0.5, 1.0), many=40)
    assert shares["binomial"] >= 0.15
    assert shares["mixed"] <= 0.1 and shares["interval"] <= 0.12


def test_the_mixed_test_finds_a_preference_that_is_there() -> None:
    assert found(Design(10, 30, 0.5, 1.0, preference=1.5), many=5)["mixed"] == 1.0


@given(st.integers(1, 6), st.integers(1, 8), st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_intervals_hold_the_mean_and_do_not_depend_on_the_order(raters: int, clips: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    matrix = judgements(Design(raters, clips, 0.5, 1.0), generator)
    matrix[generator.random(matrix.shape) < 0.2] = np.nan
    matrix[0, 0] = 1.0
    low, high = crossed_interval(matrix, resamples=400)
    assert 0 <= low <= high <= 1
    assert low - 1e-9 <= np.nanmean(matrix) <= high + 1e-9


@given(st.integers(2, 12), st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_alpha_of_full_tables_is_fleiss_kappa_with_its_correction_for_few(items: int, seed: int) -> None:
    table = np.random.default_rng(seed).integers(0, 2, size=(items, 4))
    counts, _ = aggregate_raters(table, n_cat=2)
    alpha = float(krippendorffs_alpha(coincidences_of_items(counts)))
    if len(np.unique(table)) == 1:
        assert np.isnan(alpha)
        return
    disagreement = (1 - fleiss_kappa(counts)) * (table.size - 1) / table.size
    assert alpha == pytest.approx(1 - disagreement)
