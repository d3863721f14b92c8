"""A Spanish table with columns of its own and slashes in its ids: from the table to labels, agreement, review, run."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import soundfile

from annotation_server import KEY, Behaviour, annotating
from corpus_trees import tone
from melt_ser.agreement import main as agreement
from melt_ser.annotate import main
from melt_ser.train import main as train
from own_dialogues import FOLDER
from small_runs import small

LABELS = ("alegría", "enfado", "tristeza", "miedo", "neutro")
OPTIONS = ["--text", "Frase dicha", "--utterance", "Clave/ID", "--speaker", "Personaje", "--dialogue", "Capítulo"]
OPTIONS += ["--start", "Entrada (s)", "--audio", "Archivo", "--prompt", str(FOLDER / "spanish.yaml")]
MAP = "dataset.label_map={tristeza: sad, neutro: neutral, alegría: happy, miedo: fearful, enfado: angry}"


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    path = Path(shutil.copy(FOLDER / "spanish.csv", tmp_path / "guion.csv"))
    for number in range(1, 11):
        tone(tmp_path / "clips" / f"{number:03}.wav", 0.4, frequency=300 + 100 * (number % 5))
    return path


def rater(shift: int) -> Callable[[dict[str, Any]], str]:
    numbers = iter(range(100))

    def answer(body: dict[str, Any]) -> str:
        number = next(numbers)
        return json.dumps({"emocion": LABELS[(number + shift * (number % 2)) % 5], "valencia": 1 + number % 6 + shift})

    return answer


def annotate(table: Path, name: str, shift: int) -> tuple[Path, Behaviour]:
    server, out = Behaviour(answer=rater(shift)), table.with_name(name)
    with annotating(server) as address:
        where = ["--out", str(out), "--base-url", address, "--model", "m", "--concurrency", "1"]
        assert main([str(table), *where, *OPTIONS]) == 0
    return out, server


def test_odd_columns_and_ids_become_labels_agreement_and_a_review(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, server = annotate(table, "uno.csv", 0)
    told = capsys.readouterr().err
    assert "the name from 'clave/id', the speaker from 'personaje', the dialogue from 'capítulo', " in told
    assert "the audio from 'archivo', the start from 'entrada (s)'" in told
    assert server.bodies[-1]["messages"][-1]["content"].count('"Abuela": ') == 0
    assert '"cocina"' in server.bodies[-1]["messages"][-1]["content"]
    rows = pd.read_csv(first)
    assert rows["utterance"][9] == "serie/1/e2/005" and rows["audio"][9] == "clips/010.wav"
    second, _ = annotate(table, "dos.csv", 1)
    capsys.readouterr()
    assert agreement([str(first), str(second)]) == 0  # without --labels: none is one of MELD's
    assert "The set: alegría, enfado, miedo, neutro, tristeza." in capsys.readouterr().out
    assert agreement([str(first), str(second), "--columns", "llm_valencia", "--level", "interval"]) == 0
    review = tmp_path / "revision"
    assert main([str(first), str(second), "--review", "4", "--root", str(tmp_path), "--out", str(review)]) == 0
    clips = list((review / "share").rglob("*.flac"))
    assert len(clips) == 4 and {soundfile.info(clip).duration for clip in clips} == {0.4}, "start is no place in a clip"


@pytest.mark.slow
def test_a_run_finds_the_labels_of_odd_ids_once_it_knows_their_column(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = annotate(table, "uno.csv", 0)
    columns = ["+dataset.columns.audio=Archivo", "+dataset.columns.speaker=Personaje"]
    settings = ["dataset=csv", f"dataset.table={table}", f"dataset.label_file={first}", MAP, *columns]
    for name, code in (("", 1), ("+dataset.columns.utterance=Clave/ID", 0)):
        given = [*settings, *filter(None, [name]), "dataset.protocol=recordings", f"out={tmp_path / 'runs'}"]
        monkeypatch.setattr(sys, "argv", ["train", *small(), *given])
        assert train() == code
    shown = capsys.readouterr().err
    assert "it names them as 'serie/1/e1/001', the corpus as 'clips/001'" in shown
    assert "if your table has the file's names, give +dataset.columns.utterance=<column>, or annotate" in shown


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("utterance,text\n", "has no line; give a table with a line in each row."),
        ("utterance,text\nu1,\nu2,\n", "has a text; name the column with the text by --text."),
        ("utterance,text\nu1,Hola\n", "passes --filter few_words; leave a filter out."),
        ("id,palabras\nu1,Hola\n", "has no column with the text; its columns are: id, palabras; name it by --text."),
    ],
)
def test_a_table_without_a_line_to_ask_about_is_a_sentence(
    content: str, sentence: str, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table.write_text(content, encoding="utf-8")
    assert main([str(table), "--out", str(table.with_name("x.csv")), "--dry-run", "--filter", "few_words"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and line.endswith(sentence) and str(table) in line


def test_lines_without_text_are_told_with_their_number(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table.write_text("text,lugar\nHola,casa\n,casa\n ,casa\nAdiós,casa\n", encoding="utf-8")
    assert main([str(table), "--out", str(table.with_name("x.csv")), "--dry-run"]) == 0
    shown = capsys.readouterr().err
    assert "2 of 4 lines have no text and are left out, such as guion_2" in shown
    assert "no column for the name, the speaker, the dialogue; each line is called by the number of its row" in shown
