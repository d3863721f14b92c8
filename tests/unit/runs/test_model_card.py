"""The model card of a run: what programs and people read in it, and that it follows from the result alone."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

import small_runs
from melt_ser.cli.compose import load_config
from melt_ser.config import FigureFormat
from melt_ser.runs.folder import read_result
from melt_ser.runs.identity import settings_of
from melt_ser.runs.model_card import card_text, write_card
from melt_ser.runs.origins import origins
from melt_ser.runs.run_figures import draw_figures


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_runs.corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = ("dataset.label_map={angry: angry, happy: happy, sad: null}", "dataset.licence=CC BY 4.0")
    return small_runs.train(tmp_path_factory.mktemp("runs"), corpus, *settings)[0]


def changed(run: Path, to: Path, change: Any) -> Path:
    """Copy a run and edit its result."""
    shutil.copytree(run, to)
    result = json.loads((to / "result.json").read_text())
    change(result)
    (to / "result.json").write_text(json.dumps(result))
    return to


def rewritten(folder: Path) -> ModelCard:
    write_card(folder, read_result(folder))
    return ModelCard.load(folder / "model" / "README.md")


def test_the_hubs_own_class_reads_every_metric_of_the_result_with_its_interval_and_unit(
    run: Path, tmp_path: Path
) -> None:
    def with_interval(result: dict[str, Any]) -> None:
        result["evals"][0] |= {"ua_ci95": [0.12345678, 0.8], "ci_unit": "speaker"}

    folder = changed(run, tmp_path / "run", with_interval)
    data, row = rewritten(folder).data, read_result(folder).evals[0]
    found = {entry.metric_name: entry for entry in data.eval_results}
    assert set(found) == {"UA", "WA", "macro-F1", "weighted F1"}
    assert (found["UA"].metric_type, found["UA"].metric_value) == ("recall", round(row.known_value("ua"), 4))
    assert found["UA"].metric_args == {"average": "macro", "ci95": [0.1235, 0.8], "ci95_over": "speakers"}
    assert found["WA"].metric_args is None  # it has no interval
    assert (found["WA"].dataset_type, found["WA"].dataset_split) == ("csv", row.split)
    assert (data.license, data.license_name, data.library_name) == ("other", "not-settled", "transformers")


def test_the_card_of_a_model_of_attributes_names_no_metric_of_classes_and_explains_its_intervals(
    run: Path, tmp_path: Path
) -> None:
    row = {"corpus": "csv", "split": "test", "fold": None, "of": "arousal", "n": 24, "ci_unit": "speaker"}
    row |= {"values": {"ccc": 0.5, "pearson": 0.6, "rmse": 1.0}, "ci95": {"ccc": [0.2, 0.7]}}
    row |= {"interval_note": "No interval of Pearson, RMSE: with 4 speakers it would be 0 to 0.69."}

    def of_attributes(result: dict[str, Any]) -> None:
        result["train"] |= {"classes": [], "scales": {"arousal": [1, 7]}, "target": "attributes"}
        result |= {"evals": [], "ratings": [row]}

    card = rewritten(changed(run, tmp_path / "run", of_attributes))
    assert card.data.eval_results is None and card.data.metrics is None
    assert "0.500 \\[0.200, 0.700\\]ˢ | 0.600 \\[–\\] |" in card.text
    missing = "\\[–\\] on csv: no interval, since with 4 speakers it would be 0 to 0.69."
    assert f"Intervals: ˢ over speakers. {missing}" in card.text


def test_a_card_names_data_labels_parts_licence_limits_and_settings(run: Path) -> None:
    text = ModelCard.load(run / "model" / "README.md").text
    info = read_result(run).train.folds[0]
    assert f"train {info.n}, dev {info.n_dev}, test {info.n_test}" in text
    assert "| angry | angry | angry |" in text and "Labels without a class: sad (csv)." in text
    assert "| corpus | csv | CC BY 4.0 | – |" in text and "5 folds of whole speakers" in text
    assert "Not for decisions about people" in text and "Seed 0, fp32, melt\\_ser" not in text
    settings = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.DOTALL).group(1))  # type: ignore[union-attr]
    assert settings["trainer"]["epochs"] == 1 and "out" not in settings
    for path in re.findall(r'<img src="(.*?)"', text):
        assert (run / "model" / path).read_bytes() == (run / path).read_bytes()


def test_a_card_is_the_same_in_another_folder_and_is_not_written_again(run: Path, corpus: Path, tmp_path: Path) -> None:
    settings = ("dataset.label_map={angry: angry, happy: happy, sad: null}", "dataset.licence=CC BY 4.0")
    again, _ = small_runs.train(tmp_path / "elsewhere", corpus, *settings)
    card = again / "model" / "README.md"
    assert card.read_bytes() == (run / "model" / "README.md").read_bytes()
    before = card.stat().st_mtime_ns
    write_card(again, read_result(again))
    assert card.stat().st_mtime_ns == before
    card.unlink()  # as in a run of an older version
    small_runs.train(tmp_path / "elsewhere", corpus, *settings)
    assert card.read_bytes() == (run / "model" / "README.md").read_bytes()


def test_evaluate_adds_its_corpus_to_the_card_of_all_folds(runs: Path) -> None:
    folder = next(
        path.parents[1] for path in sorted(runs.rglob("model/README.md")) if (path.parents[1] / "folds").is_dir()
    )
    card = ModelCard.load(folder / "model" / "README.md")
    assert {entry.dataset_name for entry in card.data.eval_results} == {"first", "second"}
    assert "The run has 2 models." in card.text and "`folds/<number>/model` have 2 models" in card.text
    assert "figures/confusion_second.png" in card.text and (folder / "model/figures/confusion_second.png").is_file()
    assert not list(folder.glob("folds/*/model/README.md"))


def test_a_card_shows_svg_but_no_pdf_and_keeps_no_figure_of_before(run: Path, tmp_path: Path) -> None:
    folder = changed(run, tmp_path / "run", lambda result: None)
    for form, shown in ((FigureFormat.svg, True), (FigureFormat.pdf, False)):
        shutil.rmtree(folder / "figures")
        draw_figures(folder, read_result(folder), form)
        text = rewritten(folder).text
        assert (f"figures/training_curve.{form.value}" in text) == shown
        assert {path.suffix for path in (folder / "model" / "figures").iterdir()} == ({".svg"} if shown else set())


def test_the_warnings_in_a_card_quote_no_sentence_of_the_corpus(run: Path, tmp_path: Path) -> None:
    sentence = "csv: 3 of the 9 utterances say 2 sentences of the training data (such as 'the words'): they are known."
    folder = changed(run, tmp_path / "run", lambda result: result["warnings"].append(sentence))
    text = rewritten(folder).text
    assert "csv: 3 of the 9 utterances say 2 sentences of the training data: they are known." in text


def test_the_command_in_a_card_has_no_path_of_the_machine(run: Path, tmp_path: Path) -> None:
    def typed(result: dict[str, Any]) -> None:
        result["run"]["command"] = "dataset=csv dataset.root=/home/ann/tones out=/home/ann/runs seed=3"

    text = rewritten(changed(run, tmp_path / "run", typed)).text
    assert "python -m melt_ser.train dataset=csv 'dataset.root=<path>' seed=3" in text and "/home/ann" not in text


def test_a_long_command_in_a_card_has_a_line_for_each_setting_and_stays_a_command(run: Path, tmp_path: Path) -> None:
    settings = ["dataset=csv", "dataset.name='my own speech'", "trainer.head_learning_rate=0.001", "trainer.epochs=20"]

    def typed(result: dict[str, Any]) -> None:
        result["run"]["command"] = " ".join(settings)

    text = rewritten(changed(run, tmp_path / "run", typed)).text
    command = text.split("## Training\n")[1].split("```sh\n")[1].split("\n```")[0]
    assert len(command.splitlines()) == 5 and max(map(len, command.splitlines())) < 60
    assert shlex.split(command.replace("\\\n", "")) == [
        "python",
        "-m",
        "melt_ser.train",
        *map("".join, map(shlex.split, settings)),
    ]


def test_the_origins_of_a_union_are_its_members_and_an_older_result_takes_the_licence_of_the_yaml(
    run: Path, tmp_path: Path
) -> None:
    def older(result: dict[str, Any]) -> None:
        result["config"] = settings_of(
            load_config("backbone=wavlm", "dataset=union", "dataset.members=[emodb,iemocap]")
        ) | {"labels": {"classes": None}}
        del result["config"]["backbone"]["licence"]
        del result["config"]["dataset"]["member_settings"]["emodb"]["licence"]

    found = origins(read_result(changed(run, tmp_path / "run", older)))
    assert [(one.kind, one.name, one.objection is None) for one in found] == [
        ("checkpoint", "microsoft/wavlm-base-plus", True),
        ("corpus", "emodb", True),
        ("corpus", "iemocap", False),
    ]


def test_the_card_of_a_run_on_a_table_of_ones_own_is_true_before_and_after_it_is_shared(
    run: Path, tmp_path: Path
) -> None:
    folder = changed(run, tmp_path / "run", lambda result: result["config"]["dataset"].update(label_map={}))
    text = rewritten(folder).text
    assert "| csv | not stated | recorded | its table | with the person who trained |" in text
    assert "| class | emotions |\n" in text and "Without a label map, by common words for the emotions: `csv`." in text
    assert 'predict "<run>" clip.wav' in text and "`<run>` is the folder of the run, in which this card lies." in text
    shared = card_text(folder, read_result(folder), "ann/tones")
    assert 'predict "hub:ann/tones" clip.wav' in shared and "<run>" not in shared
