"""Attributes and votes from a table of one's own to the result, the prediction and the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from melt_ser import load_model
from melt_ser.cli.compose import load_dataset
from melt_ser.config import Target
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.load import load_corpus
from melt_ser.report import main as report
from rated_runs import loaded, rated_corpus, train
from small_runs import CLASSES


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tones of four speakers: a table with attributes and without labels, and one of three raters."""
    root = rated_corpus(tmp_path_factory.mktemp("tones"), each=9)
    table = pd.read_csv(root / "table.csv")
    generator, rows = np.random.default_rng(0), []
    for audio, label in zip(table["audio"], table["label"], strict=True):
        for rater in ("r1", "r2", "r3"):
            vote = label if generator.random() < 0.8 else generator.choice(CLASSES)
            rows.append({"audio": audio, "rater": rater, "label": vote})
    pd.DataFrame(rows).to_csv(root / "raters.csv", index=False)
    return root


def test_a_table_with_attributes_and_no_labels_is_learnt(data: Path, tmp_path: Path) -> None:
    folder, result = train(tmp_path, data, "rated.csv", "trainer=probe", "backbone=hubert_tiny_random")
    assert result["evals"] == []
    assert (result["train"]["target"], result["train"]["dev_metric"]) == ("attributes", "ccc")
    assert result["train"]["dev_ua"] is None and -1 <= result["train"]["dev_value"] <= 1
    assert result["train"]["scales"] == {"arousal": [2.0, 6.0], "valence": [2.0, 6.0]}
    assert [row["of"] for row in result["ratings"]] == ["arousal", "valence", "mean"]
    assert any("the scale of arousal is that of its values" in sentence for sentence in result["warnings"])
    answers = load_model(folder).predict(data / "wav/s0_0.wav")
    assert list(answers) == ["file", "arousal", "valence"]
    written = pd.read_csv(folder / result["ratings"][0]["predictions"])
    assert list(written)[4:] == ["arousal_reference", "arousal", "valence_reference", "valence"]
    arousal = written["arousal"].to_numpy()
    error = np.sqrt(((arousal - written["arousal_reference"]) ** 2).mean())
    assert result["ratings"][0]["values"]["rmse"] == pytest.approx(error)


def test_a_scale_and_the_attributes_to_learn_can_be_named(data: Path, tmp_path: Path) -> None:
    chosen = "+dataset.attributes.valence=[1,7]"
    _, result = train(tmp_path, data, "rated.csv", "trainer=probe", "backbone=hubert_tiny_random", chosen)
    assert result["train"]["scales"] == {"valence": [1.0, 7.0]}
    assert [row["of"] for row in result["ratings"]] == ["valence"]
    with pytest.raises(InputError, match=r"has the valence 2, outside the scale from 3 to 7"):
        train(tmp_path / "b", data, "rated.csv", "trainer=probe", "+dataset.attributes.valence=[3,7]")
    with pytest.raises(InputError, match="has no column 'tension' for tension"):
        train(tmp_path / "c", data, "rated.csv", "trainer=probe", "+dataset.attributes.tension=[1,7]")


@pytest.mark.parametrize("objective", ["standard", "divergence", "multi_label", "focal", "confusability"])
def test_the_votes_of_raters_are_learnt_as_shares(data: Path, tmp_path: Path, objective: str) -> None:
    settings = ["trainer=frozen", "trainer.epochs=2", f"objective={objective}", f"dataset.raters={data}/raters.csv"]
    smoothing = ["trainer.label_smoothing=0.1"] if objective == "confusability" else []
    folder, result = train(tmp_path, data, "rated.csv", *settings, *smoothing, "dataset.target=distribution")
    assert result["train"]["dev_metric"] == "-kl"
    [row] = result["ratings"]
    assert row["of"] == "distribution" and row["values"]["kl"] > 0
    written = pd.read_csv(folder / row["predictions"])
    shares = written[[f"share_{name}" for name in CLASSES]].to_numpy()
    assert shares.sum(axis=1) == pytest.approx(1) and set(np.round(3 * shares).ravel()) <= {0, 1, 2, 3}
    decided = (shares == shares.max(axis=1, keepdims=True)).sum(axis=1) == 1
    tied = int((~decided).sum())
    assert result["evals"][0]["n"] == decided.sum()
    assert result["evals"][0]["dropped"].get("no single most voted class", 0) == tied


def test_class_and_attributes_are_learnt_together_with_learned_weights(data: Path, tmp_path: Path) -> None:
    settings = ["trainer=frozen", "trainer.epochs=2", "objective=learned_weights", "dataset.target=several"]
    folder, result = train(tmp_path, data, "both.csv", *settings)
    assert result["train"]["dev_metric"] == "ua+ccc"
    assert {row["of"] for row in result["ratings"]} == {"arousal", "valence", "mean"}
    assert result["evals"][0]["n"] == result["ratings"][0]["n"]
    answers = load_model(folder).predict(data / "wav/s0_0.wav")
    assert list(answers) == ["file", "label", *CLASSES, "arousal", "valence"]
    assert answers[list(CLASSES)].to_numpy().sum() == pytest.approx(1)
    described = json.loads((folder / "model/melt_ser.json").read_text())
    assert described["format_version"] == 4 and "uncertainties" not in str(described)


def test_a_corpus_with_labels_is_learnt_as_classes_unless_the_target_is_named(data: Path) -> None:
    of_classes = loaded(data, "both.csv")
    assert of_classes.target is Target.label
    assert of_classes.digest == loaded(data, "table.csv").digest  # the ratings are not what is learnt
    assert of_classes.digest != loaded(data, "both.csv", target=Target.attributes).digest


def test_counts_of_votes_in_columns_are_read(data: Path, tmp_path: Path) -> None:
    votes = pd.read_csv(data / "raters.csv").pipe(lambda rows: pd.crosstab(rows["audio"], rows["label"])).reset_index()
    counted = pd.read_csv(data / "rated.csv").merge(votes, on="audio").drop(columns=["arousal", "valence"])
    counted.rename(columns={name: f"n_{name}" for name in CLASSES}).to_csv(data / "counted.csv", index=False)
    found = loaded(data, "counted.csv", votes={name: f"n_{name}" for name in CLASSES})
    assert found.target is Target.distribution
    assert found.table["votes angry"].tolist() == votes["angry"].tolist()


@pytest.mark.parametrize("target", [Target.label, Target.attributes])
def test_votes_for_unknown_labels_are_counted_in_a_note_if_they_are_not_the_target(data: Path, target: Target) -> None:
    votes = pd.read_csv(data / "both.csv").assign(n_angry=2, n_meh=[1, 0, 0] * 12, n_odd=0.5)
    votes.to_csv(data / f"meh_{target.value}.csv", index=False)
    config = load_dataset("csv")
    config.root, config.table, config.target = str(data), f"meh_{target.value}.csv", target
    config.votes = {"angry": "n_angry", "meh": "n_meh", "odd": "n_odd"}
    note = "votes for labels that the label_map does not know are not counted: 'meh' (12), 'odd' (18)"
    assert note in load_corpus(config).notes
    config.label_map = {"meh": None, "odd": "surprised"}  # null is an answer, too
    assert not [note for note in load_corpus(config).notes if "not counted" in note]
    config.target, config.label_map = Target.distribution, {"odd": None}
    with pytest.raises(InputError, match="labels that its label_map does not know: 'meh'"):
        load_corpus(config)


def test_settings_that_do_not_fit_the_target_are_refused(data: Path, tmp_path: Path) -> None:
    for wanted, *settings in (
        ("learned_weights=true weighs classes and attributes", "trainer=frozen", "objective=learned_weights"),
        ("has no votes", "trainer=frozen", "dataset.target=distribution"),
        ("1 - CCC is over all clips of a batch", "trainer=frozen", "trainer.batch_seconds=5"),
        ("a probe of attributes is a ridge", "trainer=probe", "trainer.method=linear_svm"),
    ):
        with pytest.raises((SetupError, InputError), match=wanted):
            train(tmp_path, data, "rated.csv", *settings)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("utterance,label\na,angry\n", "needs the columns utterance .or audio. and rater"),
        ("audio,rater,label\nb.wav,r1,angry\n", "rates no utterance of the corpus .its first row is of 'b.wav'."),
        ("audio,rater\nwav/s0_0.wav,r1\n", "has no ratings"),
        ("audio,rater,arousal\nwav/s0_0.wav,r1,much\n", "row 1: the arousal 'much' is no number"),
        ("audio,rater,label\nwav/s0_0.wav,r1,sad\nwav/s0_0.wav,r1,sad\n", "rater 'r1' has rated 'wav/s0_0' before"),
    ],
)
def test_a_wrong_table_of_raters_is_refused_with_its_row(data: Path, tmp_path: Path, text: str, wanted: str) -> None:
    (tmp_path / "raters.csv").write_text(text)
    with pytest.raises(InputError, match=wanted):
        loaded(data, "rated.csv", raters=str(tmp_path / "raters.csv"))


def test_the_report_shows_runs_of_every_target(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    train(out, data, "rated.csv", "trainer=probe", "backbone=hubert_tiny_random")
    train(out, data, "rated.csv", "trainer=probe", "backbone=hubert_tiny_random", "seed=1")
    for name in ("report.md", "report.html", "report.tex", "report.csv"):
        assert report([str(out), "--out", str(tmp_path / name)]) == 0
    text = (tmp_path / "report.md").read_text()
    assert "## Attributes" in text and "2 seeds" in text
    page = (tmp_path / "report.html").read_text()
    assert "Attributes" in page and "No run answers classes" in page and "0 systems" not in page
    assert "CCC" in (tmp_path / "report.tex").read_text()
    assert set(pd.read_csv(tmp_path / "report.csv")["of"]) == {"arousal", "valence", "mean"}
