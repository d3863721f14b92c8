"""`serve` for models of attributes, and of classes and attributes: the interface, the stream, and the page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from browser import CONTRASTS, Seen
from melt_ser.predict import main as predict
from small_runs import CLASSES, corpus, train

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
from serving import Served, served_process, serving  # needs fastapi

pytestmark = pytest.mark.slow

SCALES = {"arousal": [1.0, 7.0], "valence": [-1.0, 1.0]}
CLIP = "a clip.wav"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of 4.5 s with a rising tone, and silence in its fourth second."""
    folder = tmp_path_factory.mktemp("serve")
    time = np.arange(round(4.5 * 16_000)) / 16_000
    wave = 0.3 * np.sin(2 * np.pi * (200 + 100 * time) * time)
    wave[3 * 16_000 : 4 * 16_000] = 0
    soundfile.write(folder / CLIP, wave, 16_000)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    root = corpus(folder / "c")
    table = pd.read_csv(root / "table.csv")
    places = np.array([CLASSES.index(label) for label in table["label"]])
    table.assign(arousal=2.0 + 2 * places, valence=places - 1.0).to_csv(root / "table.csv", index=False)
    scales = [f"+dataset.attributes.{name}={scale}".replace(" ", "") for name, scale in SCALES.items()]
    common = ["dataset.folds=2", "trainer=frozen", "trainer.epochs=8", "trainer.head_learning_rate=0.02", *scales]
    return {
        target: train(folder / "runs", root, f"dataset.target={target}", *common)[0]
        for target in ("attributes", "several")
    }


@pytest.fixture(scope="module")
def served(runs: dict[str, Path]) -> Iterator[Served]:
    with serving(runs["attributes"]) as one:
        yield one


def rows_of(run: Path, folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> list[dict[str, str]]:
    """Return the rows of `predict` for the clip."""
    capsys.readouterr()
    assert predict([str(run), str(folder / CLIP), "--format", "csv", "--device", "cpu", *options]) == 0
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def shown(seen: Seen, folder: Path) -> None:
    seen.page.locator("#window").select_option("1.0")
    seen.page.locator("#file").set_input_files(folder / CLIP)
    seen.page.locator("#result").wait_for()


@pytest.mark.parametrize("target", ["attributes", "several"])
def test_the_answers_are_those_of_predict(
    target: str, runs: dict[str, Path], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs[target]
    [whole], windows = rows_of(run, folder, capsys), rows_of(run, folder, capsys, "--window", "1")
    with served_process(str(run)) as (served, _):
        status, answer = served.label((folder / CLIP).read_bytes(), CLIP, "window=1")
        facts = served.get("/model")[1]
    assert status == 200
    assert len(answer["windows"]) == len(windows) == 5
    for found, row in zip([answer, *answer["windows"]], [whole, *windows], strict=True):
        assert found["label"] == row.get("label")
        assert list(found["probabilities"]) == (list(CLASSES) if target == "several" else [])
        for name, value in {**found["probabilities"], **found["attributes"]}.items():
            assert value == pytest.approx(float(row[name]), abs=1e-5)
    assert [bool(one["note"]) for one in answer["windows"]] == [False, False, False, True, False]
    kind = "Labels" if target == "several" else "Numbers"
    assert any(note.startswith(f"{kind} that mean nothing: 1 of 5 windows") for note in answer["notes"])
    assert facts["attributes"] == SCALES and bool(facts["classes"]) == bool(facts["scores"]) == (target == "several")
    rated = json.loads((run / "result.json").read_text())["ratings"]
    assert [(one["attribute"], one["ccc"]) for one in facts["ratings"]] == [
        (row["of"], row["values"]["ccc"]) for row in rated if row["of"] in SCALES
    ]


def test_a_stream_has_the_attributes_of_each_window(served: Served, folder: Path) -> None:
    connect = pytest.importorskip("websockets.sync.client", reason="websockets is not installed").connect
    samples, _ = soundfile.read(folder / CLIP, dtype="int16")
    windows = served.label((folder / CLIP).read_bytes(), CLIP, "window=1")[1]["windows"]
    with connect(served.stream_address + "?window=1&encoding=int16") as stream:
        stream.send(samples.tobytes())
        stream.send("end")
        rows = [json.loads(row) for row in stream]
    assert [row["label"] for row in rows] == [None] * 5
    for row, window in zip(rows, windows, strict=True):
        assert row["attributes"] == pytest.approx(window["attributes"], abs=1e-4)


def test_the_page_shows_a_line_for_each_attribute_and_no_classes(browser: Any, served: Served, folder: Path) -> None:
    seen = Seen(browser, served.address + "/")
    shown(seen, folder)
    answer = served.label((folder / CLIP).read_bytes(), CLIP, "window=1")[1]
    told = ", ".join(f"{name} {value:.2f}" for name, value in answer["attributes"].items())
    assert seen.page.locator("#answer").inner_text() == told
    assert "with a CCC of arousal" in seen.page.locator("#worth").inner_text()
    assert seen.page.locator("#cells").count() == 0 and seen.page.locator("#lines path").count() == 2
    first = seen.page.locator("#lines path").first.get_attribute("d")
    assert first.count("M") == 2 and first.count("H") == 4, "a step for each window, and a gap in the silence"
    values = [window["attributes"]["arousal"] for window in answer["windows"] if not window["note"]]
    drawn = [float(step.split(" ")[1].split("H")[0]) for step in first.replace("L", "M").split("M")[1:]]
    assert drawn == pytest.approx([0.92 - 0.84 * min(max((value - 1) / 6, 0), 1) for value in values], abs=0.002)
    name = seen.page.locator("#lines").get_attribute("aria-label")
    assert name.startswith(f"Attributes over time: arousal from {min(values):.2f} to {max(values):.2f}, at the end")
    seen.page.locator("#listed summary").click()
    heads = seen.page.locator("#listed th").all_inner_texts()
    assert heads == ["from", "to", "arousal", "valence", "note"]
    assert seen.complaints == []
    seen.context.close()


def test_downloads_have_the_columns_of_predict_and_numbers_as_labels_for_audacity(
    browser: Any, served: Served, runs: dict[str, Path], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = Seen(browser, served.address + "/")
    shown(seen, folder)
    texts = {}
    for kind in ("csv", "json", "txt"):
        with seen.page.expect_download() as download:
            seen.page.locator(f"[data-kind={kind}]").click()
        texts[kind] = Path(download.value.path()).read_text()
    expected = rows_of(runs["attributes"], folder, capsys, "--window", "1")
    rows = list(csv.DictReader(io.StringIO(texts["csv"])))
    assert list(rows[0]) == list(expected[0]) == ["file", "start", "end", "arousal", "valence", "error"]
    for row, other in zip(rows, expected, strict=True):
        assert float(row["arousal"]) == pytest.approx(float(other["arousal"]), abs=1e-5)
    assert json.loads(texts["json"])["windows"][1]["attributes"]["valence"] == float(rows[1]["valence"])
    numbers = f"arousal {float(rows[1]['arousal']):.2f}, valence {float(rows[1]['valence']):.2f}"
    assert texts["txt"].splitlines()[1] == f"1.000000\t2.000000\t{numbers}"
    seen.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_classes_and_attributes_stand_together_on_a_page_that_fits(
    browser: Any, runs: dict[str, Path], folder: Path, width: int, scheme: str
) -> None:
    with serving(runs["several"]) as served:
        seen = Seen(browser, served.address + "/", width, 844, scheme)
        shown(seen, folder)
        for summary in seen.page.locator("summary").all():
            summary.click()
        assert seen.page.locator("#classes dt").count() == len(CLASSES) + len(SCALES)
        assert seen.page.locator("#cells rect:not(.best)").count() == len(CLASSES) * 5
        assert seen.page.locator("#lines path").count() == 2
        label = seen.page.locator("#answer").inner_text()
        assert label.split(" ")[0] in CLASSES and " %, arousal " in label and ", valence " in label
        text = seen.page.locator("body").inner_text()
        assert "arousal from 1 to 7, valence from -1 to 1" in text and "CCC is the concordance" in text
        rows = seen.page.locator("#names span").all()
        middles = [row.bounding_box()["y"] + row.bounding_box()["height"] / 2 for row in rows]
        plot = seen.page.locator("#lines").bounding_box()
        assert plot["y"] < middles[-2] < plot["y"] + plot["height"] / 2 < middles[-1] < plot["y"] + plot["height"]
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        assert [found for found in seen.page.evaluate(CONTRASTS) if found[0] < 4.5] == []
        assert seen.complaints == []
        seen.context.close()
