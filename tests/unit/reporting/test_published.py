"""Published figures next to ours in a report, and the gains of the MELT paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from melt_ser.reporting.collect import collect
from melt_ser.reporting.overview import next_to, system_scores
from melt_ser.reporting.published import published_next_to
from report_runs import copy, rename, results

EMOBOX_RUN = {
    "backbone": {"family": "hubert", "checkpoint": "facebook/hubert-base-ls960"},
    "dataset": {"folds": "emobox"},
    "trainer": {"freeze": "everything"},
    "labels": {"name": "four"},
}


@pytest.mark.parametrize(
    ("group", "setting", "sentence"),
    [
        (None, {}, None),
        ("trainer", {"freeze": "nothing"}, "trainer.freeze is everything there, nothing here"),
        ("dataset", {"folds": 5}, "dataset.folds is emobox there, 5 here"),
        ("backbone", {"checkpoint": None}, "backbone.checkpoint is facebook/hubert-base-ls960 there, none here"),
    ],
)
def test_a_published_figure_stands_next_to_ours_with_the_differences_of_its_protocol(
    runs: Path, tmp_path: Path, group: str | None, setting: dict[str, Any], sentence: str | None
) -> None:
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")

    def change(result: dict[str, Any]) -> None:
        rename(result, "iemocap")
        for name, settings in {**EMOBOX_RUN, **({group: EMOBOX_RUN[group] | setting} if group else {})}.items():
            result["config"][name].update(settings)
        for row in result["evals"]:
            row["ua"] = 0.7

    copy(one, tmp_path / "run", change)
    published = published_next_to(system_scores(collect([tmp_path]).runs))
    [emobox] = [each for each in published if each.source == "EmoBox, Table 4" and each.model == "HuBERT-base"]
    assert emobox.figures["ua"] == pytest.approx((0.7, 0.6387))
    assert emobox.differs == ((sentence,) if sentence else ())
    # SpeechBrain's random splits are a protocol of none of our runs.
    [random] = [each for each in published if each.source.startswith("SpeechBrain")]
    assert "the splits are random utterances" in random.differs


def test_the_gain_of_melt_labels_is_between_systems_that_differ_only_in_the_corpus(runs: Path, tmp_path: Path) -> None:
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")
    checkpoint = "facebook/wav2vec2-base-960h"

    def trained_on(corpus: str, ua: float, epochs: int = 2) -> Any:
        def change(result: dict[str, Any]) -> None:
            result["config"]["backbone"].update(family="wav2vec2", checkpoint=checkpoint)
            result["config"]["trainer"].update(epochs=epochs)
            rename(result, corpus)
            for row in result["evals"]:
                row["corpus"] = "tess" if row["corpus"] == "second" else row["corpus"]
                row["ua"] = ua

        return change

    copy(one, tmp_path / "melt", trained_on("melt", 0.5))
    copy(one, tmp_path / "human", trained_on("melt_human", 0.2))
    copy(one, tmp_path / "other", trained_on("melt_human", 0.4, epochs=9))
    gains = {each.corpus: each for each in published_next_to(system_scores(collect([tmp_path]).runs))}
    assert gains["tess"].figures["ua"] == pytest.approx((0.3, 0.1925))
    assert any("points or relative is not known" in text for text in gains["tess"].differs)


def test_unknown_figures_of_the_paper_stay_empty_and_each_condition_has_its_gain(runs: Path, tmp_path: Path) -> None:
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")

    def trained_on(corpus: str, both: bool, ua: float) -> Any:
        def change(result: dict[str, Any]) -> None:
            result["config"]["backbone"].update(family="wavlm", checkpoint="microsoft/wavlm-base-plus")
            result["config"]["dataset"]["both_labels"] = both
            rename(result, corpus)
            result["evals"] = [
                {**row, "corpus": "iemocap", "ua": ua} for row in result["evals"] if row["corpus"] == "second"
            ]

        return change

    for corpus, both, ua in (("melt", False, 0.5), ("melt", True, 0.6), ("melt_human", False, 0.4)):
        copy(one, tmp_path / f"{corpus}-{both}", trained_on(corpus, both, ua))
    copy(one, tmp_path / "melt_human-True", trained_on("melt_human", True, 0.3))
    gains = published_next_to(system_scores(collect([tmp_path]).runs))
    assert sorted(gain.figures["ua"] for gain in gains) == [pytest.approx((0.1, None)), pytest.approx((0.3, None))]
    assert {next_to(gain.figures["ua"]) for gain in gains} == {"10.0 (–)", "30.0 (–)"}
    assert {gain.note for gain in gains} == {"a gain; mixed by backbone, wav2vec 2.0 Aud gains most"}


def test_the_published_figures_are_those_of_the_source(shared_data: Path) -> None:
    facts = yaml.safe_load(Path("src/melt_ser/reporting/published.yaml").read_text())
    tables = {table["source"]: table for table in facts["tables"]}
    intra = pd.read_csv(shared_data / "reference" / "emobox_intra_corpus.csv")
    of = {(row.dataset.lower().replace("-", "_"), row.model.lower()): row for row in intra.itertuples()}
    for corpus, figures in tables["EmoBox, Table 4"]["figures"].items():
        for model, values in figures.items():
            row = of[corpus, model.lower()]
            assert values == [row.UA, row.WA, row.macroF1], (corpus, model)
    cross = pd.read_csv(shared_data / "reference" / "emobox_cross_corpus.csv")
    accuracy = {(row.train_col.lower(), row.test_row.lower(), row.model): row.accuracy for row in cross.itertuples()}
    for pair, figures in tables["EmoBox, Table 5"]["figures"].items():
        for model, values in figures.items():
            assert values == [accuracy[(*pair.split(" -> "), model.lower())]], (pair, model)
