"""`agreement` of any number of sources and of ordered labels: equal to other libraries, with every gap told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata
from sklearn.metrics import cohen_kappa_score

from browser import CONTRASTS, Seen
from melt_ser.agreement import main
from melt_ser.core.errors import InputError, SetupError
from melt_ser.evaluation.metrics import confusion_matrix
from melt_ser.label_study.label_sources import LabelTable, read_sources
from melt_ser.label_study.reliability import (
    alpha_of_numbers,
    alpha_of_ranks,
    cohens_kappa,
    coincidences_of_items,
    kappa_of_numbers,
    krippendorffs_alpha,
    steps,
)
from melt_ser.label_study.source_agreement import Level, SourceAgreement, source_agreement

RATED = st.lists(st.lists(st.sampled_from(["", "1", "2", "3", "5"]), min_size=3, max_size=3), min_size=3, max_size=30)
HOSTILE = "<script>alert(1)</script>"


def table_of(rows: list[list[str]], speakers: list[str] | None = None) -> LabelTable:
    labels = pd.DataFrame(rows, columns=[f"rater {number}" for number in range(len(rows[0]))], dtype="str")
    return LabelTable(labels, None if speakers is None else pd.Series(speakers), {})


def measured(rows: list[list[str]], level: Level) -> SourceAgreement:
    return source_agreement(table_of(rows), ["1", "2", "3", "5"], level, resamples=20)


def test_alpha_of_each_level_equals_its_authors_example() -> None:
    """Krippendorff 2011, section E: four observers with missing values, at each level."""
    columns = list(zip("123321412...", "1233224125.3", ".3332342251.", "12332441251.", strict=True))
    counts = np.asarray([[item.count(label) for label in "12345"] for item in columns])
    coincidences = coincidences_of_items(counts)
    assert float(krippendorffs_alpha(coincidences)) == pytest.approx(0.743, abs=5e-4)
    codes = np.asarray([["12345".find(label) for label in item] for item in columns])
    twice = np.ones((2, len(codes)), dtype=int)
    assert alpha_of_ranks(codes, twice) == pytest.approx([0.815, 0.815], abs=5e-4)
    assert alpha_of_numbers(np.where(codes < 0, np.nan, codes), twice) == pytest.approx([0.849, 0.849], abs=5e-4)
    first_item_twice = twice[:1] + (np.arange(len(codes)) == 0)
    written_out = alpha_of_ranks(np.vstack([codes[:1], codes]), np.ones((1, len(codes) + 1), dtype=int))
    assert alpha_of_ranks(codes, first_item_twice) == pytest.approx(written_out)


@given(RATED)
@settings(max_examples=60, deadline=None)
def test_alpha_equals_the_package_krippendorff(rows: list[list[str]]) -> None:
    theirs = pytest.importorskip("krippendorff", reason="krippendorff is not installed")
    numbers = [[float(label) if label else np.nan for label in row] for row in rows]
    pairable = [row for row in numbers if np.isfinite(row).sum() >= 2]
    if len({value for row in pairable for value in row if np.isfinite(value)}) < 2:
        return
    for level in ("nominal", "ordinal", "interval"):
        expected = theirs.alpha(np.transpose(numbers), level_of_measurement=level, value_domain=[1.0, 2.0, 3.0, 5.0])
        assert measured(rows, level).alpha == pytest.approx(expected)


@given(st.lists(st.tuples(st.sampled_from("1235"), st.sampled_from("1235")), min_size=2, max_size=40))
@settings(max_examples=60)
def test_weighted_kappa_equals_scikit_learns(rows: list[tuple[str, str]]) -> None:
    first, second = map(list, zip(*rows, strict=True))
    if len(set(first + second)) == 1:
        return
    confusion = confusion_matrix(first, second, "1235")
    linear = cohen_kappa_score(first, second, labels=list("1235"), weights="linear")
    assert float(cohens_kappa(confusion, steps(4))) == pytest.approx(linear)
    quadratic = cohen_kappa_score(first, second, labels=list("1235"), weights="quadratic")
    numbers = (np.asarray(["1235".index(label) for label in labels], dtype=float) for labels in (first, second))
    assert float(kappa_of_numbers(*numbers, np.ones((1, len(rows))))[0]) == pytest.approx(quadratic)


def test_each_pair_is_that_of_the_comparison_of_two(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The released figures of MELT, by both commands."""
    path = str(shared_data / "melt" / "meld_test.csv")
    assert main([path, "--format", "json"]) == 0
    two = json.loads(capsys.readouterr().out)["as_given"]
    assert main([path, "--columns", "Emotion,llm_label", "--format", "json"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    [pair] = result["pairs"]
    assert {key: pair[key] for key in ("n", "changed", "kappa")} == {key: two[key] for key in ("n", "changed", "kappa")}
    assert result["alpha"] == two["alpha"] and result["ci_unit"] == two["ci_unit"] == "speaker"
    assert result["alpha_ci95"] == pytest.approx(two["alpha_ci95"], abs=0.01)
    assert pair["kappa_ci95"] == pytest.approx(two["kappa_ci95"], abs=0.01)


def test_labels_that_one_source_lacks_still_count_for_the_others() -> None:
    rows = [["joy", "joy", ""], ["joy", "", "fear"], ["", "fear", "fear"], ["joy", "fear", "fear"]]
    result = source_agreement(table_of(rows), resamples=50)
    assert result.n == 4
    assert [(pair.first, pair.second, pair.n) for pair in result.pairs] == [
        ("rater 0", "rater 1", 2),
        ("rater 0", "rater 2", 2),
        ("rater 1", "rater 2", 2),
    ]
    assert result.pairs[2].changed == 0.0 and result.pairs[1].changed == 1.0
    assert result.sources["rater 2"] == {"fear": 3}


def test_labels_outside_the_set_are_told_and_count_as_none() -> None:
    rows = [["joy", "JOY", "wut"], ["fear", "joy", "joy"], ["wut", "joy", ""]]
    result = source_agreement(table_of(rows), ["joy", "fear"], resamples=20)
    assert result.outside == {"rater 0": {"wut": 1}, "rater 1": {}, "rater 2": {"wut": 1}}
    assert result.n == 2 and result.left_out == {"without two labels of the set": 1}


@pytest.mark.parametrize("level", ["ordinal", "interval"])
def test_a_number_is_the_same_step_however_it_is_written(level: str) -> None:
    rows = [["1", "1.0"], ["2", "2.0"], ["3", "3.0"]]
    result = source_agreement(table_of(rows), ["1", "2", "3.0"], level, resamples=20)
    assert result.labels == ["1", "2", "3"] and result.alpha == 1.0 and result.pairs[0].changed == 0.0


def test_speakers_are_resampled_if_they_are_known() -> None:
    rows = [["1", "1", "2"], ["2", "2", "2"], ["3", "1", "3"], ["5", "5", "5"]] * 5
    known = source_agreement(table_of(rows, ["a", "b", "c", "d"] * 5), None, "interval", resamples=200)
    assert known.ci_unit == "speaker" and known.labels == ["1", "2", "3", "5"]
    unknown = source_agreement(table_of(rows, ["a", "b", "c", ""] * 5), None, "interval", resamples=200)
    assert unknown.ci_unit == "utterance" and unknown.alpha == known.alpha
    assert known.alpha_ci95 is not None and unknown.alpha_ci95 is not None and known.alpha is not None
    assert known.alpha_ci95[1] - known.alpha_ci95[0] > unknown.alpha_ci95[1] - unknown.alpha_ci95[0]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def raters(tmp_path: Path) -> list[Path]:
    texts = {
        "anna": "utterance,label,arousal\nu1,joy,5\nu2,fear,6.0\nu3,joy,4\nu5,joy,1\n",
        "ben": "utterance,label,arousal\nu2,fear,6\nu1,joy,4.0\nu3,fear,2\n",
        "model": "utterance,llm_label,label,arousal\nu1,joy,fear,5\nu2,fear,joy,7\nu4,joy,joy,1\n",
    }
    return [write(tmp_path / f"{name}.csv", text) for name, text in texts.items()]


def test_files_are_joined_on_the_name_of_the_utterance(raters: list[Path]) -> None:
    table = read_sources(raters)
    assert table.labels.to_numpy().tolist() == [["joy", "joy", "joy"], ["fear", "fear", "fear"], ["joy", "fear", ""]]
    assert list(table.labels) == ["anna.csv, label", "ben.csv, label", "model.csv, llm_label"]
    assert table.left_out == {"with one label": 2}
    one = read_sources(raters, ["label"])
    assert list(one.labels) == ["anna.csv", "ben.csv", "model.csv"]
    assert one.labels["model.csv"].tolist() == ["fear", "joy", ""]


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_raters_who_all_give_one_label_agree_and_nothing_beyond_chance_is_known(level: Any) -> None:
    result = source_agreement(table_of([["3", "3", "3"], ["3", "3", ""]]), None, level)
    assert result.labels == ["3"] and result.alpha is None
    assert {(pair.changed, pair.kappa, pair.changed_ci95) for pair in result.pairs} == {(0.0, None, None)}


@pytest.mark.parametrize("columns", [["label", "label", "arousal"], ["label", "Label"], ["label"]])
def test_a_column_is_one_source(raters: list[Path], columns: list[str]) -> None:
    with pytest.raises(SetupError, match="Of one file, --columns names two or more columns of labels"):
        read_sources(raters[:1], columns)


def test_keys_may_have_another_name_in_the_other_files(raters: list[Path]) -> None:
    expected = read_sources(raters)
    for path in raters[1:]:
        write(path, path.read_text(encoding="utf-8").replace("utterance", "File"))
    table = read_sources(raters, keys=["Utterance=file"])
    assert table.labels.equals(expected.labels) and table.left_out == expected.left_out


def test_a_speaker_is_known_if_any_file_names_them(tmp_path: Path) -> None:
    """Each rater labelled other lines, so no file has all of them."""
    rows = {"anna": ["u1,joy,a", "u2,joy,b"], "ben": ["u2,joy,", "u3,fear,c"], "cleo": ["u1,joy,a", "u3,joy,c"]}
    paths = [write(tmp_path / f"{name}.csv", "\n".join(["utterance,label,speaker", *rows[name]])) for name in rows]
    table = read_sources(paths)
    assert len(table.labels) == 3 and table.speakers is not None and table.speakers.tolist() == ["a", "b", "c"]


def test_scores_are_numbers_however_they_are_written(raters: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(path) for path in raters]
    assert main([*paths, "--columns", "arousal", "--level", "interval"]) == 0
    told = capsys.readouterr().out
    assert "3 sources; interval labels: 2, 4, 5, 6, 7." in told
    assert "Krippendorff's alpha" in told and "weighted by the squared difference" in told
    assert main([*paths[:2], "--columns", "arousal", "--level", "interval", "--format", "json"]) == 0
    [pair] = json.loads(capsys.readouterr().out)["pairs"]
    assert pair["kappa"] == pytest.approx(1 - (1 + 0 + 4) / 13), "5, 6, 4 against 4, 6, 2"


def means(lines: int = 500) -> list[list[str]]:
    """Return two raters' means of a score from 1 to 7, nearly all of them different; each lacks a few."""
    random = np.random.default_rng(0)
    ours = random.uniform(1, 7, lines)
    rows = [[f"{value:.4f}" for value in pair] for pair in zip(ours, ours + random.normal(0, 1, lines), strict=True)]
    for number in range(0, lines, 50):
        rows[number][number % 100 // 50] = ""
    return rows


@pytest.mark.parametrize("level", ["interval", "ordinal"])
def test_many_means_are_compared_without_a_label_set(
    level: Level, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pd.DataFrame(means(), columns=["one", "two"])
    frame.insert(0, "utterance", [f"u{number}" for number in range(500)])
    frame.to_csv(tmp_path / "a.csv", index=False)
    command = [str(tmp_path / "a.csv"), "--columns", "one,two", "--level", level]
    assert main([*command, "--format", "json"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    numbers = frame[["one", "two"]].replace("", "nan").astype(float).to_numpy()
    both = numbers[~np.isnan(numbers).any(axis=1)].T
    places = (rankdata(both) if level == "ordinal" else both.ravel()).reshape(both.shape)
    by_chance = (places.ravel()[:, None] - places.ravel()) ** 2
    expected = 1 - ((places[0] - places[1]) ** 2).mean() / (by_chance.sum() / (places.size * (places.size - 1)))
    low, high = result["alpha_ci95"]
    assert result["n"] == 490 and result["alpha"] == pytest.approx(expected) and low < expected < high < low + 0.1
    [pair] = result["pairs"]
    assert pair["changed"] is None
    concordance = 2 * np.cov(*both, bias=True)[0, 1] / (both.var(axis=1).sum() + np.diff(both.mean(axis=1))[0] ** 2)
    assert pair["kappa"] == (pytest.approx(concordance) if level == "interval" else None)
    assert main([*command, "--html", str(tmp_path / "page.html")]) == 0
    told, page = capsys.readouterr().out, (tmp_path / "page.html").read_text()
    for text in (" ".join(told.split()), page):
        assert "different numbers." in text and "the share changed and utterances by label are left out" in text
        assert ("kappa by steps, " in text) == (level == "ordinal")
        assert ("deviation" in text) == (level == "interval")


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--level", "ordinal"], 2, "The label 'fear' is no number, so its place is not known; give --labels in their"),
        (["--level", "interval"], 2, "The label 'fear' is no number, so its place is not known; choose the columns"),
        (["--by", "speaker"], 2, "--by is for two sources"),
        (["--columns", "label,label"], 2, "--columns names 2 columns for 3 files"),
        (["--columns", "labl"], 1, "has no column 'labl'"),
        (["--keys", "arousal,label,utterance,wut"], 1, "has no column 'wut'"),
        (["--labels", "joy"], 2, "two or more different labels"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(
    raters: list[Path], options: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*map(str, raters), *options]) == code
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and words in line


def test_too_many_labels_and_single_columns_are_refused(tmp_path: Path) -> None:
    rows = "".join(f"u{number},{number},{number}\n" for number in range(51))
    path = write(tmp_path / "a.csv", f"utterance,one,two\n{rows}")
    with pytest.raises(InputError, match="There are 51 different labels .* reads at most 50; for numbers give --level"):
        source_agreement(read_sources([path], ["one", "two"]))
    with pytest.raises(SetupError, match="Of one file, --columns names two or more columns"):
        read_sources([path])


def test_the_page_shows_every_pair_and_is_inert(tmp_path: Path, browser: Any) -> None:
    columns = {"one": [HOSTILE, "joy", "joy"], "two": [HOSTILE, "fear", "joy"], "three": ["joy", "joy", ""]}
    pd.DataFrame({"utterance": ["a", "b", "c"], **columns}).to_csv(tmp_path / "a.csv", index=False)
    page = tmp_path / "page.html"
    options = ["--columns", "one,two,three", "--html", str(page), "--out", str(tmp_path / "a.md")]
    assert main([str(tmp_path / "a.csv"), *options]) == 0
    for width in (1280, 390):
        seen = Seen(browser, page, width)
        assert not seen.complaints and len(seen.requests) == 1
        assert seen.page.locator("tbody tr").count() == 3 + 3
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        assert min(contrast for contrast, _ in seen.page.evaluate(CONTRASTS)) >= 4.5
        seen.context.close()


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_the_interval_of_a_pair_counts_the_speakers_that_both_labelled(level: Level) -> None:
    random, speakers = np.random.default_rng(0), [f"s{row // 10}" for row in range(80)]
    first = random.choice(["1", "2", "3"], 80)
    second = np.where(random.random(80) < 0.7, first, "2")
    third = [label if row < 30 else "" for row, label in enumerate(np.where(random.random(80) < 0.7, first, "3"))]
    rows = list(map(list, zip(first, second, third, strict=True)))
    whole, *of_three = source_agreement(table_of(rows, speakers), level=level).pairs
    assert whole.changed_ci95 and whole.kappa_ci95
    for pair in of_three:
        assert (pair.n, pair.changed_ci95, pair.kappa_ci95) == (30, None, None)  # three speakers are too few
        assert pair.changed is not None and pair.kappa is not None


def test_a_table_of_many_labels_breaks_no_number_in_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = [f"{1 + number / 8:g}" for number in range(40)]
    rows = {"utterance": range(80), "a": numbers * 2, "b": numbers[::-1] * 2}
    pd.DataFrame(rows).to_csv(tmp_path / "ratings.csv", index=False)
    assert main([str(tmp_path / "ratings.csv"), "--columns", "a,b", "--level", "interval"]) == 0
    text = capsys.readouterr().out
    head = next(line for line in text.splitlines() if line.strip().startswith("source "))
    assert head.split() == ["source", "n", "mean", "deviation", "lowest", "highest", *numbers]
    sentences = [line for line in text.splitlines() if line.endswith((".", ","))]
    assert max(map(len, sentences)) <= 100
