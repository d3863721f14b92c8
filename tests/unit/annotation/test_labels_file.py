"""The labels file: writing it, reading it back as the labels of a corpus, and combining several files."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from corpus_trees import MELT_COLUMNS, meld_release
from melt_ser.annotate import main as annotate
from melt_ser.annotation.answers import Answer
from melt_ser.annotation.combining import combine, few_lines
from melt_ser.annotation.fields import paper_fields
from melt_ser.annotation.labels_file import LabelledLine, Origin, label_line, write_labels
from melt_ser.cli.compose import load_dataset
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.label_file import read_labelled, relabel
from melt_ser.corpora.labels import map_labels
from melt_ser.corpora.lines import Line, read_lines
from melt_ser.corpora.load import read_release
from melt_ser.corpora.table import Release, make_table

LABELS = ["anger", "joy", "neutral"]
FIELDS = paper_fields(LABELS)
ORIGIN = Origin("gpt-4o", "melt", "1-0000abcd", "1.0")
DESCRIBED = ("loudness", "pitch", "rhythm_speed", "emotional_impact")


def answer(label: str, probabilities: dict[str, float] | None = None) -> Answer:
    described = dict(zip(DESCRIBED, ("high", "mid", "fast", "strong"), strict=True))
    return Answer({"emotion": label, "character": "Ross", "context": "a break", **described}, probabilities)


def meld_line(number: int = 0, text: str = "Hi!", **columns: str) -> Line:
    row = {"Sr_No.": "1", "Utterance": text, "Speaker": "Ross", "Emotion": "joy", "Dialogue_ID": "0"}
    row |= {"Utterance_ID": str(number), **columns}
    return Line(f"train_dia0_utt{number}", text, "Ross", "1", "2", "0", number, 2.0, "train", row)


def label(line: Line, *labels: str, rules: dict[str, str] | None = None) -> LabelledLine:
    return label_line(line, {n: answer(raw) for n, raw in enumerate(labels)}, FIELDS, rules or {}, ORIGIN)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_of_the_labels_file_has_the_release_and_our_columns(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    write_labels(path, [label(meld_line(text='He said "no",\nthen left'), "joy", "Anger.", "anger")])
    [row] = rows_of(path)
    assert list(row)[:8] == [column for column in MELT_COLUMNS if column in row]
    assert (row["filename"], row["Utterance"], row["split"]) == ("dia0_utt0.wav", 'He said "no",\nthen left', "train")
    assert (row["llm_label"], row["label_raw"], row["sample"], row["samples"]) == ("anger", "Anger.", "1", "3")
    assert [row[name] for name in DESCRIBED] == ["high", "mid", "fast", "strong"]
    assert [row[name] for name in vars(ORIGIN)] == ["gpt-4o", "melt", "1-0000abcd", "1.0"]
    assert float(row["confidence"]) == pytest.approx(2 / 3)
    assert float(row["entropy"]) == pytest.approx(0.9183, abs=1e-4)
    assert [float(row[f"confidence_{name}"]) for name in LABELS] == pytest.approx([2 / 3, 1 / 3, 0])


def test_the_labels_file_of_the_real_lines_reads_back_unchanged(tmp_path: Path, shared_data: Path) -> None:
    lines = read_lines(shared_data / "melt")[::40]
    path = tmp_path / "labels.csv"
    write_labels(path, [label(line, "joy") for line in lines])
    again = read_labelled(path)
    assert list(again[0].columns)[:13] == [*MELT_COLUMNS]
    differing = {"columns": {}, "text": ""}
    assert [replace(line, **differing) for line in again] == [replace(line, **differing) for line in lines]
    assert [line.text.split() for line in again] == [line.text.split() for line in lines]
    assert {line.columns["llm_label"] for line in again} == {"joy"}
    write_labels(tmp_path / "again.csv", [label(line, "joy") for line in again])
    assert (tmp_path / "again.csv").read_bytes() == path.read_bytes()


def test_the_labels_file_of_a_corpus_table_keeps_its_columns(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("utterance,audio,text,label,split\na,a.wav,Hi!,fröhlich,test\n", encoding="utf-8")
    write_labels(tmp_path / "labels.csv", [label(line, "joy") for line in read_lines(table)])
    [row] = rows_of(tmp_path / "labels.csv")
    assert list(row)[:6] == ["llm_label", "utterance", "audio", "text", "label", "split"]
    assert (row["label"], row["llm_label"]) == ("fröhlich", "joy")


def test_the_labels_file_keeps_raw_labels_outside_the_set_and_forces_none_into_it(tmp_path: Path) -> None:
    by_rule = label(meld_line(1), "comfort", rules={"comfort": "joy"})
    lines = [label(meld_line(0), "comfort"), by_rule, label(meld_line(2))]
    write_labels(tmp_path / "labels.csv", lines)
    assert [(row["llm_label"], row["label_raw"], row["samples"]) for row in rows_of(tmp_path / "labels.csv")] == [
        ("", "comfort", "1"),
        ("joy", "comfort", "1"),
        ("", "", "0"),
    ]


def test_label_line_averages_the_probabilities_of_an_engine_that_scores() -> None:
    unsure, sure = {"anger": 0.4, "joy": 0.6, "neutral": 0.0}, {"anger": 0.9, "joy": 0.1, "neutral": 0.0}
    answers = {0: answer("joy", unsure), 1: answer("anger", sure)}
    labelled = label_line(meld_line(), answers, FIELDS, {}, ORIGIN)
    assert (labelled.label, labelled.sample) == ("anger", "1")
    assert labelled.consensus is not None
    assert labelled.consensus.confidences == pytest.approx({"anger": 0.65, "joy": 0.35, "neutral": 0})


def test_combine_makes_the_consensus_of_each_line(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.csv" for name in "abc"]
    given = [["joy", "anger", "comfort"], ["joy", "joy", "comfort"], ["anger", "joy"]]
    for path, labels in zip(paths, given, strict=True):
        origin = replace(ORIGIN, model=path.stem)
        lines = [replace(label(meld_line(n), raw), origin=origin) for n, raw in enumerate(labels)]
        write_labels(path, lines)
    out = tmp_path / "combined.csv"
    write_labels(out, combine(paths))
    rows = rows_of(out)
    assert [(row["llm_label"], row["label_raw"], row["model"], row["sample"], row["samples"]) for row in rows] == [
        ("joy", "joy", "a + b + c", "a.csv", "3"),
        ("joy", "joy", "a + b + c", "b.csv", "3"),
        ("", "comfort", "a + b", "a.csv", "2"),
    ]
    assert rows[1]["prompt"] == "melt"
    fitted = combine(paths, "dawid_skene")
    assert fitted[2].label == "", "without a vote there is no label"
    with pytest.raises(SetupError, match="dawid_skene needs 3 labels files or more, not 2"):
        combine(paths[:2], "dawid_skene")
    with pytest.raises(SetupError, match="did you mean 'majority'"):
        combine(paths, "majorty")


def test_combine_takes_any_table_with_a_name_and_a_label(tmp_path: Path) -> None:
    write_labels(tmp_path / "model.csv", [label(meld_line(n), raw) for n, raw in enumerate(("joy", "anger", "joy"))])
    people = {
        "anna": "utterance,label\ntrain_dia0_utt0,Joy\ntrain_dia0_utt1,Neutral\n",
        "ben": "file,emotion\ntrain_dia0_utt1.wav,neutral\ntrain_dia0_utt2.wav,JOY\n",
    }
    for name, text in people.items():
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
    combined = combine([tmp_path / f"{name}.csv" for name in ("model", *people)])
    assert [line.label for line in combined] == ["joy", "Neutral", "joy"]
    assert [line.consensus.confidence for line in combined if line.consensus] == pytest.approx([1, 2 / 3, 1])


SCORES = {
    "a": "utterance,llm_arousal,llm_arousal_deviation,llm_why\nu1,2,0.5,loud\nu2,5,0.5,calm\nu3,6,0.5,3\n",
    "b": "utterance,llm_arousal,llm_valence\nu2,6.5,1\nu1,4,2\nu3,,3\n",
}


def written(folder: Path, texts: dict[str, str]) -> list[Path]:
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return [folder / f"{name}.csv" for name in texts]


def test_combine_takes_the_mean_of_scores(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    assert annotate([*map(str, written(tmp_path, SCORES)), "--combine", "--out", str(out)]) == 0
    rows = rows_of(out)
    columns = ("utterance", "llm_arousal", "llm_arousal_deviation", "llm_valence", "llm_why", "samples")
    assert [tuple(row[column] for column in columns) for row in rows] == [
        ("u1", "3", "1.41421", "2", "loud", "2"),
        ("u2", "5.75", "1.06066", "1", "calm", "2"),
        ("u3", "6", "", "3", "3", "2"),
    ]
    assert "llm_label" not in rows[0] and "confidence" not in rows[0]


def test_combine_takes_labels_from_the_files_that_have_them_and_scores_from_all(tmp_path: Path) -> None:
    labels = {
        "c": "utterance,llm_label,llm_arousal\nu1,joy,3\nu2,joy,3\n",
        "d": "utterance,label\nu1,fear\nu2,Joy\n",
        "e": "utterance,label\nu1,fear\nu2,joy\n",
    }
    paths = written(tmp_path, {**SCORES, **labels})
    for method in ("majority", "one_coin"):
        combined = combine(paths, method)
        assert [line.label for line in combined] == ["fear", "joy", ""]
        assert [line.consensus is None for line in combined] == [False, False, True]
        assert [line.described["llm_arousal"] for line in combined] == ["3", "4.83333", "6"]
    with pytest.raises(SetupError, match="one_coin needs 3 labels files or more, not 2"):
        combine(paths[:4], "one_coin")


def test_combine_of_files_without_labels_or_scores_is_a_sentence(tmp_path: Path) -> None:
    paths = written(tmp_path, {**SCORES, "other": "utterance,arousal\nu1,3\n"})
    with pytest.raises(InputError, match=r"other.csv has neither a label .* nor scores \(columns llm_… of numbers\); "):
        combine(paths)
    with pytest.raises(SetupError, match="have scores alone, .* by their mean; leave --method one_coin"):
        combine(paths[:2], "one_coin")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "one_coin"], "--method is for --combine and --reviewed; leave it out."),
        (["--words", "de"], "--words is for --review; leave it out."),
        (["--combine", "--map", "anger=joy"], "--map changes nothing with --combine; leave it out."),
        (["--combine", "--dry-run"], "--dry-run changes nothing with --combine; leave it out."),
        (["--review", "5", "--method", "one_coin"], "--method changes nothing with --review; leave it out."),
        (["--reviewed", "--words", "de"], "--words changes nothing with --reviewed; leave it out."),
        (["--combine", "--reviewed"], "--combine and --reviewed are two commands; give one of them."),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(
    tmp_path: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert annotate(["a.csv", "b.csv", "--out", str(tmp_path / "out.csv"), *options]) == 2
    assert capsys.readouterr().err.strip() == f"error: {words}"


def test_combine_cautions_where_lines_are_few_for_dawid_and_skene(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = []
    for rater, shift in enumerate((0, 0, 1)):
        rows = "".join(f"u{number},{LABELS[(number + shift) % 3]}\n" for number in range(74 + rater // 2))
        paths.append(tmp_path / f"{rater}.csv")
        paths[-1].write_text(f"utterance,label\n{rows}", encoding="utf-8")
    assert few_lines(combine(paths, "dawid_skene"), "dawid_skene") == "", "75 lines"
    assert few_lines(combine(paths[:1] * 3, "one_coin"), "one_coin") == ""
    arguments = [*map(str, [paths[0], paths[1], paths[1]]), "--combine", "--out", str(tmp_path / "out.csv")]
    assert annotate([*arguments, "--method", "dawid_skene"]) == 0
    told = capsys.readouterr().err
    assert "caution: 74 lines with 3 labels are few for dawid_skene" in told and "from about 75 lines on" in told


@pytest.fixture(scope="module")
def released(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return meld_release(shared_data, tmp_path_factory.getbasetemp())


def test_melts_released_files_are_a_labels_file_of_meld(released: Path, shared_data: Path) -> None:
    """With it, MELD has the rows and labels that the reader of MELT gives."""
    meld = replace(load_dataset("meld"), root=str(released), label_file=str(shared_data / "melt"))
    _, as_file = read_release(meld)
    _, as_corpus = read_release(replace(load_dataset("melt"), root=str(released)))
    columns = ["utterance", "source", "audio", "split", "session", "label"]
    pd.testing.assert_frame_equal(as_file.table[columns], as_corpus.table[columns])
    reasons = Counter(problem.reason.split(":")[0] for problem in as_file.skipped)
    assert reasons["not in melt"] == 13708 - 8818 - 1  # one clip of dev is missing
    with pytest.raises(InputError, match=r"'frustration' \(2\), 'comfort' \(1\)"):
        map_labels(as_file.table["label"], meld.label_map, "meld")


def test_a_corpus_takes_its_labels_from_a_file(tmp_path: Path, released: Path, shared_data: Path) -> None:
    path = tmp_path / "labels.csv"
    lines = read_lines(shared_data / "melt")
    labelled = [label(line, "anger" if line.text.endswith("!") else "comfort") for line in lines[:100]]
    write_labels(path, [*labelled, label(meld_line(99), "joy")])
    _, release = read_release(replace(load_dataset("melt"), root=str(released), label_file=str(path)))
    angry = [line.utterance for line in lines[:100] if line.text.endswith("!")]
    assert release.table["utterance"].tolist() == angry
    assert set(release.table["label"]) == {"anger"}
    assert Counter(problem.reason for problem in release.skipped) == {
        "not in labels.csv": 8818 - 100,
        "no label in labels.csv": 100 - len(angry),
    }
    beyond = "1 utterances of labels.csv are not in the corpus"
    assert release.notes[-2:] == ["the labels are those of labels.csv", beyond]


def test_a_labels_file_of_another_corpus_is_a_sentence(tmp_path: Path, shared_data: Path) -> None:
    release = Release(make_table([{"utterance": "train_dia0_utt0", "audio": "a.wav"}]))
    table = tmp_path / "other.csv"
    table.write_text("utterance,text,llm_label\nother,Hi!,joy\n", encoding="utf-8")
    with pytest.raises(InputError, match="it names them as 'other', the corpus as 'train_dia0_utt0'"):
        relabel(release, table)
    assert relabel(release, shared_data / "meld").table["label"].tolist() == ["neutral"], "people's labels are labels"
    table.write_text("utterance,text\nother,Hi!\n", encoding="utf-8")
    with pytest.raises(InputError, match="lacks the column llm_label; give a labels file as annotate writes it"):
        relabel(release, table)
    with pytest.raises(SetupError, match="There is no labels file"):
        relabel(release, tmp_path / "none.csv")
