"""Odd ratings: an attribute that nobody rated, other scales, ties alone, names that clash, settings without effect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from corpus_trees import emodb_tree
from melt_ser import Run
from melt_ser.cli.compose import load_dataset
from melt_ser.config import Target
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.load import load_corpus
from melt_ser.corpora.ratings import Ratings, united, with_scales
from melt_ser.evaluate import main as evaluate
from rated_runs import AROUSAL, loaded, rated_corpus, train
from small_runs import CLASSES, corpus
from stopped_runs import stopped_after_checkpoint

PROBE = ("trainer=probe", "backbone=hubert_tiny_random")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tones of four speakers; `rated.csv` has attributes and no labels."""
    return rated_corpus(tmp_path_factory.mktemp("tones"), each=6)


@pytest.fixture(scope="module")
def probe(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished probe of arousal and valence."""
    return train(tmp_path_factory.mktemp("runs"), data, "rated.csv", *PROBE)[0]


def changed(data: Path, name: str, **columns: Any) -> str:
    """Write `rated.csv` with other columns; return the name of the table."""
    pd.read_csv(data / "rated.csv").assign(**columns).to_csv(data / name, index=False)
    return name


def scored(monkeypatch: pytest.MonkeyPatch, folder: Path, other: Path, *overrides: str) -> dict[str, Any]:
    """Evaluate a run on another corpus of tones, `other`/rated.csv, and return its result."""
    command = ["evaluate", str(folder), "dataset=csv", f"dataset.root={other}", "dataset.table=rated.csv"]
    monkeypatch.setattr("sys.argv", [*command, "dataset.name=other", "device=cpu", *overrides])
    assert evaluate() == 0
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def test_columns_of_votes_without_a_vote_are_refused(data: Path) -> None:
    changed(data, "unvoted.csv", n_angry=0, n_sad=0)
    votes = {"angry": "n_angry", "sad": "n_sad"}
    with pytest.raises(InputError, match="'csv' has no votes, which dataset.target=distribution needs"):
        _ = loaded(data, "unvoted.csv", votes=votes, target=Target.distribution).emotions


def test_another_corpus_without_one_of_the_attributes_is_scored_on_the_others(
    probe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = corpus(tmp_path / "other", seed=5)
    table = pd.read_csv(other / "table.csv")
    table["arousal"] = table["label"].map({"angry": 90.0, "happy": 70.0, "sad": 0.0})
    table.drop(columns="label").to_csv(other / "rated.csv", index=False)
    result = scored(monkeypatch, probe, other, "+dataset.attributes.arousal=[0,100]")
    rows = [row for row in result["ratings"] if row["corpus"] == "other"]
    assert [row["of"] for row in rows] == ["arousal"] and rows[0]["scale"] == [0.0, 100.0]
    written = pd.read_csv(probe / rows[0]["predictions"])
    error = np.sqrt(((written["arousal"] - written["arousal_reference"]) ** 2).mean())
    assert rows[0]["values"]["rmse"] == pytest.approx(error)
    assert "valence" in written and "valence_reference" not in written
    assert rows[0]["warnings"] == ["'other' has no valence, which is therefore not scored."]


def test_a_corpus_with_none_of_the_attributes_is_refused(
    probe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = corpus(tmp_path / "other", seed=6)
    table = pd.read_csv(other / "table.csv").drop(columns="label")
    table.assign(dominance=np.arange(len(table))).to_csv(other / "rated.csv", index=False)
    with pytest.raises(AssertionError):
        scored(monkeypatch, probe, other)
    assert "'other' has none of the model's attributes (arousal, valence)" in capsys.readouterr().err


def test_folds_are_averaged_on_the_scale_of_another_corpus(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, result = train(tmp_path, data, "rated.csv", *PROBE, "dataset.fold=all", "dataset.folds=2")
    assert [row["fold"] for row in result["ratings"]] == ["all"] * 3 + [1] * 3 + [2] * 3
    other = corpus(tmp_path / "other", seed=7)
    table = pd.read_csv(other / "table.csv")
    table["arousal"] = (table["label"].map(AROUSAL) - 1) / 6
    table.drop(columns="label").to_csv(other / "rated.csv", index=False)
    result = scored(monkeypatch, folder, other, "+dataset.attributes.arousal=[0,1]")
    rows = {row["fold"]: row for row in result["ratings"] if row["corpus"] == "other"}
    assert set(rows) == {"mean", "ensemble", 1, 2}
    single = [rows[fold]["values"]["rmse"] for fold in (1, 2)]
    assert rows["mean"]["values"]["rmse"] == pytest.approx(np.mean(single))
    files = [pd.read_csv(folder / rows[fold]["predictions"])["arousal"] for fold in (1, 2, "ensemble")]
    assert files[2].to_numpy() == pytest.approx((files[0] + files[1]).to_numpy() / 2, abs=1e-5)
    assert rows["ensemble"]["values"]["rmse"] <= max(single) + 1e-6


def test_an_attribute_without_a_value_is_left_out_with_a_note(data: Path) -> None:
    rated = loaded(data, changed(data, "empty.csv", dominance=""))
    assert list(rated.ratings.scales) == ["arousal", "valence"]
    assert "no utterance has a value of dominance, so it is not learnt" in rated.notes
    with pytest.raises(InputError, match=r"No utterance of 'csv' has a value of 'dominance' \(dataset.attributes\)"):
        loaded(data, "empty.csv", attributes={"dominance": [1, 7]})


def test_a_training_part_without_a_value_of_an_attribute_is_refused(data: Path, tmp_path: Path) -> None:
    split = pd.read_csv(data / "rated.csv")["speaker"].map({"s0": "test", "s1": "dev", "s2": "train", "s3": "train"})
    table = changed(data, "split.csv", split=split, dominance=split.map({"test": "3", "dev": "5", "train": ""}))
    with pytest.raises(InputError, match="The training part of 'csv' has no value of 'dominance'"):
        train(tmp_path, data, table, *PROBE)


def test_a_test_part_without_a_value_of_an_attribute_is_scored(data: Path, tmp_path: Path) -> None:
    split = pd.read_csv(data / "rated.csv")["speaker"].map({"s0": "test", "s1": "dev", "s2": "train", "s3": "train"})
    values = pd.Series(np.arange(len(split)) % 5, dtype="str").where(split != "test", "")
    _, result = train(tmp_path, data, changed(data, "untested.csv", split=split, dominance=values), *PROBE)
    rows = {row["of"]: row for row in result["ratings"]}
    assert rows["dominance"]["n"] == 0 and rows["dominance"]["values"]["ccc"] is None
    assert rows["arousal"]["values"]["ccc"] is not None and rows["mean"]["values"]["ccc"] is None


def test_a_constant_attribute_needs_a_scale(data: Path, tmp_path: Path) -> None:
    table = changed(data, "constant.csv", arousal=3.0)
    with pytest.raises(
        InputError, match=r"Every arousal of 'csv' is 3; set \+dataset.attributes.arousal=\[lowest,high"
    ):
        loaded(data, table)
    named = ["+dataset.attributes.arousal=[1,7]", "+dataset.attributes.valence=[1,7]"]
    _, result = train(tmp_path, data, table, *PROBE, *named)
    arousal = result["ratings"][0]
    assert arousal["of"] == "arousal" and arousal["values"]["rmse"] == pytest.approx(0, abs=1e-3)
    assert arousal["values"]["pearson"] is None


@pytest.mark.parametrize("scale", [[1.0], [1.0, 4.0, 7.0], [7.0, 1.0], []])
def test_a_scale_that_is_none_is_refused(data: Path, scale: list[float]) -> None:
    with pytest.raises(InputError, match=r"dataset.attributes.arousal of 'csv' is \[lowest, highest\], not"):
        loaded(data, "rated.csv", attributes={"arousal": scale})


@pytest.mark.parametrize("name", ["speaker", "mean", "prediction", "angry"])
def test_an_attribute_with_the_name_of_another_column_is_refused(data: Path, tmp_path: Path, name: str) -> None:
    table = pd.read_csv(data / "both.csv").assign(other=np.arange(24))
    table.to_csv(data / "clash.csv", index=False)
    settings = [f"+dataset.attributes.{name}=[0,23]", f"+dataset.columns.{name}=other", "dataset.target=several"]
    with pytest.raises(InputError, match=f"The attribute '{name}' of 'csv' has the name of a class or of a column"):
        train(tmp_path, data, "clash.csv", "trainer=frozen", *settings)


def test_a_test_part_of_ties_alone_has_a_distribution_and_no_classes(data: Path, tmp_path: Path) -> None:
    table = pd.read_csv(data / "table.csv")
    split = table["speaker"].map({"s0": "test", "s1": "dev", "s2": "train", "s3": "train"})
    votes = {f"n_{name}": 2 * (table["label"] == name) + (split == "test") * 1 for name in CLASSES}
    tied = {f"n_{name}": votes[f"n_{name}"].where(split != "test", 1) for name in CLASSES}
    table.drop(columns="label").assign(split=split, **tied).to_csv(data / "tied.csv", index=False)
    named = [f"+dataset.votes.{name}=n_{name}" for name in CLASSES]
    _, result = train(tmp_path, data, "tied.csv", "trainer=frozen", "trainer.epochs=1", *named)
    assert result["evals"] == []
    assert [row["of"] for row in result["ratings"]] == ["distribution"]
    assert any("csv: No utterance has a single most voted class" in sentence for sentence in result["warnings"])


def test_ratings_of_a_file_with_several_segments_need_the_names_of_utterances(data: Path, tmp_path: Path) -> None:
    """They once went to the last segment, all of them."""
    table = pd.DataFrame({"audio": ["wav/s0_0.wav"] * 2, "start": [0, 0.1], "end": [0.1, 0.2], "speaker": "s0"})
    table.to_csv(data / "segments.csv", index=False)
    raters = tmp_path / "raters.csv"
    raters.write_text("audio,rater,arousal\nwav/s0_0.wav,r1,3\n")
    with pytest.raises(InputError, match="'wav/s0_0.wav' has several utterances"):
        loaded(data, "segments.csv", raters=str(raters))
    raters.write_text("utterance,rater,arousal\nwav/s0_0,r1,3\nwav/s0_0#2,r1,5\n")
    rated = loaded(data, "segments.csv", raters=str(raters))
    assert rated.table["attribute arousal"].tolist() == [3.0, 5.0]


def test_attributes_of_raters_are_read_in_any_case(data: Path, tmp_path: Path) -> None:
    raters = tmp_path / "raters.csv"
    rows = ["wav/s0_0.wav,r1,sad,3", "wav/s0_0.wav,r2,sad,4", "wav/s0_1.wav,r2,sad,6"]
    raters.write_text("\n".join(["audio,rater,label,Arousal", *rows]))
    rated = loaded(data, "table.csv", raters=str(raters), target=Target.attributes)
    assert rated.ratings.attributes.loc["wav/s0_0", "arousal"] == 3.5


def test_ratings_are_found_by_paths_as_a_corpus_table_may_write_them(data: Path, tmp_path: Path) -> None:
    raters = tmp_path / "raters.csv"
    raters.write_text(f"file,rater,arousal\n{data}/wav/s0_0.wav,r1,3\nwav\\s0_1.wav,r1,5\n")
    rated = loaded(data, "table.csv", raters=str(raters), target=Target.attributes)
    assert rated.ratings.attributes["arousal"].to_dict() == {"wav/s0_0": 3.0, "wav/s0_1": 5.0}


def test_settings_of_ratings_that_a_reader_does_not_read_are_refused(tmp_path: Path) -> None:
    emodb_tree(tmp_path)
    config = load_dataset("emodb")
    config.root, config.attributes = str(tmp_path), {"arousal": [1, 7]}
    with pytest.raises(SetupError, match=r"dataset.attributes and dataset.votes are not read from 'emodb'"):
        load_corpus(config)


@pytest.mark.parametrize(
    ("table", "wanted", "settings"),
    [
        ("both.csv", "A probe has its own loss", ["trainer=probe", "objective=focal"]),
        ("both.csv", "A probe has its own loss", ["trainer=probe", "objective.prior_correction=1"]),
        ("rated.csv", "objective.class_loss is for classes", ["trainer=frozen", "objective=focal"]),
        ("rated.csv", "objective.prior_correction is for classes", ["trainer=frozen", "objective.prior_correction=1"]),
        ("both.csv", "objective.attribute_loss=squared_error is a loss", ["trainer=frozen", "objective=squared_error"]),
        (
            "both.csv",
            "objective.prior_correction divides probabilities of exclusive",
            ["trainer=frozen", "objective=multi_label", "objective.prior_correction=1"],
        ),
        ("both.csv", "objective.class_weight weighs classes against", ["trainer=frozen", "objective.class_weight=2"]),
    ],
)
def test_a_setting_of_the_objective_without_effect_is_refused(
    data: Path, tmp_path: Path, table: str, wanted: str, settings: list[str]
) -> None:
    with pytest.raises(SetupError, match=wanted):
        train(tmp_path, data, table, *settings)


def test_a_run_of_attributes_gives_its_predictions_in_python(probe: Path) -> None:
    own = Run(probe)
    assert "csv" in own.corpora
    assert {"arousal", "arousal_reference"} <= set(own.predictions("csv"))
    with pytest.raises(SetupError, match="has no scores of classes on 'csv'"):
        own.confusion("csv")


def test_members_of_a_union_have_one_scale_and_so_have_their_raters(tmp_path: Path) -> None:
    def rated(low: float, high: float) -> Ratings:
        single = pd.DataFrame({"utterance": ["a"] * 3, "rater": ["1", "2", "3"], "arousal": [low, high, high]})
        return Ratings(scales={"arousal": (low, high)}, single=single)

    whole = united([rated(1, 7), rated(0, 100)], ["x", "y"])
    assert whole is not None and whole.scales == {"arousal": (1, 7)}
    assert whole.attributes["arousal"].tolist() == pytest.approx([5, 5])
    assert whole.single["arousal"].tolist() == pytest.approx([1, 7, 7] * 2)
    without_scale = Ratings(single=rated(0, 1).single)  # as of a corpus whose votes are the target
    assert united([rated(1, 7), without_scale], ["x", "y"]).attributes.empty  # type: ignore[union-attr]


def test_a_union_without_a_shared_attribute_learns_none() -> None:
    """Those that members leave out (`dataset.attributes`) once came back from the single ratings: a KeyError."""
    single = pd.DataFrame({"utterance": ["a", "b"], "rater": "1", "arousal": [1, 7], "valence": [2, 6]})
    members = [with_scales(Ratings(single=single), {name: [1, 7]}, name)[0] for name in ("arousal", "valence")]
    whole = united(members, ["x", "y"])
    assert whole is not None and whole.scales == {} and list(whole.attributes) == []


def test_a_stopped_run_with_learned_weights_ends_with_the_same_numbers(data: Path, tmp_path: Path) -> None:
    settings = ["objective=learned_weights", "dataset.target=several", "trainer.refit=true"]
    whole, _ = train(tmp_path / "whole", data, "both.csv", *settings, "trainer.epochs=3")
    with stopped_after_checkpoint(lambda _, state: state.epoch == 1):
        train(tmp_path / "stopped", data, "both.csv", *settings, "trainer.epochs=3")
    again, _ = train(tmp_path / "stopped", data, "both.csv", *settings, "trainer.epochs=3")
    assert (again / "predictions/csv.csv").read_text() == (whole / "predictions/csv.csv").read_text()


def test_a_stopped_run_goes_on_though_its_attributes_are_typed_in_another_order(data: Path, tmp_path: Path) -> None:
    """Both orders are one run. Their outputs were numbered as typed, so a resumed run took valence for arousal."""
    named = [f"+dataset.attributes.{name}=[1,7]" for name in ("valence", "arousal")]
    settings = ["head=linear", "trainer.epochs=2"]
    whole, result = train(tmp_path / "whole", data, "rated.csv", *settings, *named)
    with stopped_after_checkpoint(lambda _, state: state.epoch == 1):
        train(tmp_path / "stopped", data, "rated.csv", *settings, *named)
    again, _ = train(tmp_path / "stopped", data, "rated.csv", *settings, *reversed(named))
    assert list(result["train"]["scales"]) == ["arousal", "valence"]
    assert (again / "predictions/csv.csv").read_text() == (whole / "predictions/csv.csv").read_text()


def test_a_named_attribute_may_be_in_the_table_of_raters_alone(data: Path, tmp_path: Path) -> None:
    raters = tmp_path / "raters.csv"
    raters.write_text("audio,rater,EmoAct\nwav/s0_0.wav,r1,3\nwav/s0_1.wav,r1,5\n")
    named = {"attributes": {"arousal": [1, 7]}, "columns": {"arousal": "EmoAct"}}
    rated = loaded(data, "table.csv", raters=str(raters), target=Target.attributes, **named)
    assert rated.ratings.scales == {"arousal": (1.0, 7.0)}
    assert rated.ratings.attributes.loc["wav/s0_1", "arousal"] == 5.0


def test_an_attribute_that_no_rater_has_rated_is_not_learnt(data: Path, tmp_path: Path) -> None:
    """It once came back from the single ratings, without a scale."""
    raters = tmp_path / "raters.csv"
    raters.write_text("audio,rater,label,arousal\nwav/s0_0.wav,r1,sad,\nwav/s0_1.wav,r1,happy,\n")
    with pytest.raises(InputError, match="'csv' has no attributes, which dataset.target=several needs"):
        train(tmp_path, data, "table.csv", f"dataset.raters={raters}", "dataset.target=several")
