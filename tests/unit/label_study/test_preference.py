"""`listen score`: preferences, their tests and intervals, and answers that do not fit."""

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
from simulations_listening import Design, judgements, share_of_findings

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
    """Write the answers of a rater who prefers anger of the second source, otherwise the first source, always left."""
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


def test_listen_score_counts_preferences_by_class_of_either_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
    assert scored["agreement"] == {"alpha": 1.0, "alpha_ci95": None, "same": 1.0}, "on all resamples too"
    assert scored["left_side"]["chosen"] == 1.0 and scored["left_side"]["binomial_p"] < 0.001


def test_listen_score_leaves_out_and_names_a_rater_who_fails_a_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = write_key(tmp_path)
    write_answers(tmp_path, key, "ann")
    asleep = write_answers(tmp_path, key, "ben")["answers"]
    asleep[-1]["chosen"] = key["items"][-1]["second"]
    write_answers(tmp_path, key, "ben", answers=asleep)
    scored = score(tmp_path, capsys=capsys)
    assert scored["raters"] == ["ann"] and scored["left_out"] == {"ben": "failed 1 of 2 checks"}
    assert score(tmp_path, "--allow-failed", "1", capsys=capsys)["raters"] == ["ann", "ben"]


def test_listen_score_joins_a_raters_files_and_counts_skipped_clips(
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
    assert scored["raters"] == ["ann", "ben"] and scored["left_out"] == {"idle": "judged no clip"}


def test_listen_score_asks_the_user_about_two_raters_with_one_code(
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
        ({"study": "s2"}, 1, "answers the study s2, but"),
        ({"answers": [{"item": "i0", "chosen": "wut", **REST}]}, 1, "'wut' for the item i0 is not an answer"),
        ({"answers": [{"item": "x", "chosen": None, **REST}]}, 1, "for the item x is not an answer"),
        ({"answers": [{"item": "i0"}]}, 1, "has no sound 'answers[0].chosen'"),
        ({"schema_version": 2}, 1, "is of version 2, not 1"),
        ({"answers": []}, 1, "The answers have no judgement to score"),
    ],
)
def test_listen_score_refuses_answers_that_do_not_fit_in_one_sentence(
    tmp_path: Path, change: dict[str, Any], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_answers(tmp_path, write_key(tmp_path), "ann", **change)
    assert main(["score", str(tmp_path / "key.json"), str(tmp_path / "answers")]) == code
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and words in line


def test_listen_score_writes_text_and_markdown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = write_key(tmp_path)
    answers = write_answers(tmp_path, key, "ann")["answers"]
    other = {**answers[0], "chosen": key["items"][0]["first"]}
    write_answers(tmp_path, key, "ben", answers=[other, *answers[1:]])
    assert main(["score", str(tmp_path / "key.json"), str(tmp_path / "answers")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "2 raters, 12 clips, 24 judgements" in text
    assert "Mixed model: the second is preferred in 45.8 %" in text
    assert "Two raters agree on a clip in 91.7 %" in text
    out = tmp_path / "score.md"
    assert main(["score", str(tmp_path / "key.json"), str(tmp_path / "answers"), "--out", str(out)]) == 0
    assert "| anger | 12 | 6 | 91.7" in out.read_text()


def test_listen_score_gives_all_but_the_mixed_test_without_statsmodels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_answers(tmp_path, write_key(tmp_path), "ann")
    monkeypatch.setitem(sys.modules, "statsmodels.regression.mixed_linear_model", None)
    overall = score(tmp_path, capsys=capsys)["overall"]
    assert overall["mixed"] is None and "pip install 'melt-ser[listening]'" in overall["mixed_skipped"]
    assert overall["second"] == 0.5


def test_the_mixed_test_gains_nothing_from_raters_who_judge_alike() -> None:
    """Ten raters who judge alike are hardly more than one rater, and a binomial test counts them as ten."""
    matrix = np.tile([1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0], (10, 1))
    matrix[0, 0] = 0.0
    rater, clip = np.divmod(np.arange(matrix.size), matrix.shape[1])
    test = mixed_test(matrix.ravel(), rater, clip)
    assert test is not None and test.mean == pytest.approx(matrix.mean()) and test.p > 0.1
    assert binomtest(int(matrix.sum()), matrix.size).pvalue < 0.001


@pytest.mark.parametrize("judged", [[[0, 1], [1, 0]], [[0, 0, 0, 1], [1, 1, 0, 1], [0, 1, 1, 0]]])
def test_the_mixed_test_of_few_judgements_that_are_even_finds_nothing(judged: list[list[int]]) -> None:
    preferred = np.array(judged, dtype=np.float64)
    rater, clip = np.indices(preferred.shape)
    tested = mixed_test(preferred.ravel(), rater.ravel(), clip.ravel())
    assert tested is not None and tested.mean == pytest.approx(0.5) and tested.p == pytest.approx(1.0, abs=1e-3)


def test_there_is_no_mixed_test_if_raters_and_clips_explain_every_judgement() -> None:
    """Four judgements have no residual beyond two raters and three clips; the fit had a mean below 0."""
    preferred = np.array([1.0, 0.0, 0.0, 1.0])
    assert mixed_test(preferred, np.array([0, 0, 1, 1]), np.array([0, 1, 1, 2])) is None


def test_without_a_preference_the_mixed_test_and_the_interval_keep_their_level() -> None:
    """The binomial test does not keep it; docs/listening.md has more designs."""
    shares = share_of_findings(Design(6, 16, 0.5, 1.0), many=40)
    assert shares["binomial"] >= 0.15
    assert shares["mixed"] <= 0.1 and shares["interval"] <= 0.12


def test_the_mixed_test_finds_a_real_preference() -> None:
    assert share_of_findings(Design(10, 30, 0.5, 1.0, preference=1.5), many=5)["mixed"] == 1.0


@given(st.integers(1, 6), st.integers(1, 8), st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_the_crossed_interval_contains_the_mean(raters: int, clips: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    matrix = judgements(Design(raters, clips, 0.5, 1.0), generator)
    matrix[generator.random(matrix.shape) < 0.2] = np.nan
    matrix[0, 0] = 1.0
    low, high = crossed_interval(matrix, resamples=400)
    assert 0 <= low <= high <= 1
    assert low - 1e-9 <= np.nanmean(matrix) <= high + 1e-9


@given(st.integers(2, 12), st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_alpha_of_full_tables_is_fleiss_kappa_with_a_correction_for_small_samples(items: int, seed: int) -> None:
    table = np.random.default_rng(seed).integers(0, 2, size=(items, 4))
    counts, _ = aggregate_raters(table, n_cat=2)
    alpha = float(krippendorffs_alpha(coincidences_of_items(counts)))
    if len(np.unique(table)) == 1:
        assert np.isnan(alpha)
        return
    disagreement = (1 - fleiss_kappa(counts)) * (table.size - 1) / table.size
    assert alpha == pytest.approx(1 - disagreement)
