"""Published figures next to ours in a report, and the gains of the MELT paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from melt_ser.report import main as report
from melt_ser.reporting.collect import collect
from melt_ser.reporting.overview import next_to, system_scores
from melt_ser.reporting.published import published_next_to
from melt_ser.reporting.published_ratings import published_ratings
from melt_ser.reporting.rated import rated_systems
from report_runs import EMOBOX_RUN, copy, rename, results


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


def test_published_ccc_of_attributes_stand_next_to_ours(runs: Path, tmp_path: Path) -> None:
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")

    def change(result: dict[str, Any], pooling: str = "attentive_statistics") -> None:
        rename(result, "msp_podcast")
        result["config"]["backbone"].update(family="wavlm", checkpoint="microsoft/wavlm-large")
        result["config"]["head"]["pooling"] = pooling
        result["config"]["trainer"]["freeze"] = "convolution"
        result["train"]["folds"] = result["train"]["folds"][:1]
        result["train"]["scales"] = {name: [1, 7] for name in ("arousal", "valence", "dominance")}
        place = {"corpus": "msp_podcast", "split": "test", "fold": None, "n": 9}
        values = {"arousal": 0.6, "mean": 0.5}
        result["ratings"] = [
            {**place, "of": of, "values": {"ccc": ccc, "pearson": ccc, "rmse": 1.0}} for of, ccc in values.items()
        ]

    copy(one, tmp_path / "a" / "run", change)
    copy(one, tmp_path / "b" / "run", lambda result: change(result, "mean"))
    [*same] = published_ratings(rated_systems(collect([tmp_path / "a"]).runs))
    assert [row.cells[2:6] for row in same] == [
        ("mean", "CCC", "0.500 (0.533, -0.033)", "WavLM-large"),
        ("arousal", "CCC", "0.600 (0.623, -0.023)", "WavLM-large"),
        ("mean", "CCC", "0.500 (0.579, -0.079)", "WavLM-large"),
    ]
    assert {row.differs for row in same[1:]} == {("the challenge's test labels are not public",)}
    other = published_ratings(rated_systems(collect([tmp_path / "b"]).runs))
    assert other[-1].differs[0] == "head.pooling is attentive_statistics there, mean here"
    for name in ("report.md", "report.html"):
        assert report([str(tmp_path / "a"), "--out", str(tmp_path / name)]) == 0
        assert "Published ratings next to ours" in (tmp_path / name).read_text()


def test_published_scores_of_votes_stand_next_to_ours(runs: Path, tmp_path: Path) -> None:
    def change(result: dict[str, Any]) -> None:
        rename(result, "emo_superb_crema_d")
        result["config"]["backbone"].update(family="hubert", checkpoint="facebook/hubert-large-ll60k")
        result["config"]["dataset"]["folds"] = "release"
        place = {"corpus": "emo_superb_crema_d", "split": "test", "fold": "all", "n": 9, "of": "distribution"}
        result["ratings"] = [{**place, "values": {"kl": 0.5, "multi_label_f1": 0.65}}]

    copy(next(iter(results(runs))), tmp_path / "a" / "run", change)
    [row] = published_ratings(rated_systems(collect([tmp_path / "a"]).runs))
    assert row.cells[1:6] == (
        "emo_superb_crema_d",
        "distribution",
        "F1 multi-label",
        "65.0 (67.5, -2.5)",
        "HuBERT-large",
    )
    assert "head.layers is weighted there, last here" in row.differs


FACTS = yaml.safe_load(Path("src/melt_ser/reporting/published.yaml").read_text())
METRIC_COLUMNS = {"ua": "UA", "wa": "WA", "macro_f1": "macroF1"}


def emobox(number: int) -> dict[str, dict[str, dict[str, float]]]:
    """Return the figures of an EmoBox table by metric, corpus and model (in lower case)."""
    [table] = [table for table in FACTS["tables"] if table["source"] == f"EmoBox, Table {number}"]
    models = [model.lower() for model in table["models"]]
    return {
        metric: {corpus: dict(zip(models, values, strict=True)) for corpus, values in by_corpus.items()}
        for metric, by_corpus in table["figures"].items()
    }


def corpus_name(published: str) -> str:
    return published.lower().replace("-", "_")


def test_all_figures_of_emobox_are_there_and_no_others(shared_data: Path) -> None:
    intra = pd.read_csv(shared_data / "reference" / "emobox_intra_corpus.csv")
    figures: dict[str, dict[str, dict[str, float]]] = {metric: {} for metric in METRIC_COLUMNS}
    for row in intra.to_dict("records"):
        for metric, column in METRIC_COLUMNS.items():
            figures[metric].setdefault(corpus_name(row["dataset"]), {})[row["model"]] = row[column]
    assert emobox(4) == figures
    assert len(figures["ua"]) == 32 and {len(models) for models in figures["ua"].values()} == {10}
    cross = pd.read_csv(shared_data / "reference" / "emobox_cross_corpus.csv")
    pairs: dict[str, dict[str, float]] = {}
    for row in cross.to_dict("records"):
        pair = f"{corpus_name(row['train_col'])} -> {corpus_name(row['test_row'])}"
        pairs.setdefault(pair, {})[row["model"]] = row["accuracy"]
    assert emobox(5) == {"wa": pairs}
    assert sum(map(len, pairs.values())) == 120


def test_every_table_is_whole_and_every_corpus_of_ours_has_its_name() -> None:
    ours = {path.stem for path in Path("conf/dataset").glob("*.yaml")}
    elsewhere = {"ased", "casia", "emov_db", "m3ed", "mead", "mer2023", "mesd", "oreau", "pavoque", "polish", "resd"}
    seen: list[tuple[Any, ...]] = []
    for table in FACTS["tables"]:
        assert {"source", "where", "protocol", "same", "models", "figures"} <= set(table), table["source"]
        assert table["certainty"] in ("first-hand", "second-hand")
        assert set(table["models"]) <= set(FACTS["models"]) and len(set(table["models"])) == len(table["models"])
        assert set(table["figures"]) <= set(METRIC_COLUMNS)
        named = {corpus for by_corpus in table["figures"].values() for key in by_corpus for corpus in key.split(" -> ")}
        assert named <= ours | elsewhere | {"turev_db"}
        assert set(table.get("same_for", {})) | set(table.get("notes", {})) <= named
        for metric, by_corpus in table["figures"].items():
            for corpus, values in by_corpus.items():
                assert len(values) == len(table["models"]), (table["source"], corpus)
                assert all(0 < value <= 100 for value in values)
                seen += [(*pair, metric, corpus) for pair in zip(table["models"], values, strict=True)]
    assert len({table["source"] for table in FACTS["tables"]}) == len(FACTS["tables"])
    assert len(set(seen)) == len(seen)  # no figure under two sources


def test_the_figures_of_votes_are_whole_and_of_partitions_of_ours() -> None:
    [table] = FACTS["votes"]
    partitions = {path.stem for path in Path("conf/dataset").glob("emo_superb_*.yaml")}
    assert set(table["multi_label_f1"]) == partitions and set(table["models"]) <= set(FACTS["models"])
    assert {len(values) for values in table["multi_label_f1"].values()} == {len(table["models"])}
    means = [sum(values) / 9 for values in zip(*table["multi_label_f1"].values(), strict=True)]
    assert [f"{mean:.3f}" for mean in means] == ["0.384", "0.383", "0.383", "0.373", "0.359"]  # its column Average


def test_no_key_and_no_figure_is_written_twice() -> None:
    class Once(yaml.SafeLoader):
        """Refuse a key that a mapping has twice."""

    def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[str, Any]:
        keys = [loader.construct_object(key) for key, _ in node.value]
        assert len(set(keys)) == len(keys), f"{keys} at {node.start_mark}"
        return yaml.SafeLoader.construct_mapping(loader, node, deep=True)

    Once.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    assert yaml.load(Path("src/melt_ser/reporting/published.yaml").read_text(), Once) == FACTS


def test_models_of_self_supervised_papers_and_of_the_melt_paper_have_their_checkpoints() -> None:
    checkpoints = {name: model["checkpoint"] for name, model in FACTS["models"].items()}
    assert checkpoints["wav2vec2-base"] == "facebook/wav2vec2-base"
    by_source = {table["source"]: table["models"] for table in FACTS["tables"]}
    for source in ("EmoBox, Table 4", "EmoBox, Table 5", "SUPERB's protocol, quoted by emotion2vec's Table 2"):
        assert not [model for model in by_source[source] if "960h" in str(checkpoints[model])]
    assert "facebook/wav2vec2-base-960h" in FACTS["gains"][0]["figures"]
