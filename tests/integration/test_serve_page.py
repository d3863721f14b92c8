"""The page of `serve` in a real browser: a file, a microphone, what is shown, downloaded and said."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from browser import BROWSER, CONTRASTS, Seen, chromium
from melt_ser.predict import main as predict
from small_runs import CLASSES

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
from serving import Served, serving, small_run, until  # needs fastapi


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve")
    time = np.arange(round(3.5 * 48_000)) / 48_000
    soundfile.write(folder / "a clip.wav", 0.3 * np.sin(2 * np.pi * 300 * time) * np.abs(np.sin(time)), 48_000)
    (folder / "text.wav").write_text("no sound")
    return folder


@pytest.fixture(scope="module")
def run() -> Path:
    return small_run()


@pytest.fixture(scope="module")
def served(run: Path) -> Iterator[Served]:
    with serving(run, megabytes=5) as one:
        yield one


@pytest.fixture(scope="module")
def browser(folder: Path) -> Iterator[Any]:
    """Chromium with a microphone that hears the clip."""
    if BROWSER is None:
        pytest.skip("no Chromium is installed")
    pytest.importorskip("playwright", reason="playwright is not installed")
    heard = f"--use-file-for-fake-audio-capture={folder / 'a clip.wav'}"
    with chromium("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", heard) as running:
        yield running


@pytest.fixture
def seen(browser: Any, served: Served) -> Iterator[Seen]:
    one = Seen(browser, served.address + "/")
    yield one
    assert one.complaints == []
    assert all(request.startswith((served.address, "blob:")) for request in one.requests)
    one.context.close()


def label(seen: Seen, path: Path, window: str = "1.0") -> None:
    seen.page.locator("#window").select_option(window)
    seen.page.locator("#file").set_input_files(path)
    seen.page.locator("#result").wait_for()


def test_a_chosen_file_is_shown_with_its_answer_over_time_and_its_calibration(
    seen: Seen, served: Served, folder: Path
) -> None:
    label(seen, folder / "a clip.wav")
    answer = served.label((folder / "a clip.wav").read_bytes(), "a clip.wav", "window=1")[1]
    share = answer["probabilities"][answer["label"]]
    assert seen.page.locator("#answer").inner_text() == f"{answer['label']} {100 * share:.1f} %"
    assert "a clip.wav, 3.5 s" in seen.page.locator("#facts").inner_text()
    assert seen.page.locator("#cells rect:not(.best)").count() == len(CLASSES) * 4
    assert seen.page.locator("#wave path").get_attribute("d").startswith("M")
    names = seen.page.locator("#classes dt").all_inner_texts()
    assert sorted(names) == sorted(CLASSES) and names[0] == answer["label"]
    curve = served.get("/model")[1]["scores"][0]["calibration"]
    worth = seen.page.locator("#worth").inner_text()
    low, high = (int(word.strip("%")) for word in worth.split("probability of ")[1].split(" %")[0].split(" to "))
    inside = [point for point in curve if low / 100 - 0.01 < point["confidence"] <= high / 100 + 0.01]
    said = f"{100 * inside[0]['accuracy']:.1f} % of the answers" if inside else "no answer had a probability"
    assert (
        worth.startswith("On the test of this run (csv), ")
        and said in worth
        and low <= 100 * share + 1
        and 100 * share - 1 <= high
    )
    assert seen.page.evaluate("document.activeElement.id") == "answer"


def test_an_answer_that_most_windows_do_not_have_is_explained(seen: Seen, folder: Path) -> None:
    label(seen, folder / "a clip.wav")
    windows = '["sad", "sad", "angry"].map((label) => ({ label }))'
    [note] = seen.page.evaluate(f"answer = {{ label: 'angry', windows: {windows} }}; otherwise()")
    assert "1 of the 3 windows below says angry" in note and "for the whole recording at once" in note
    assert seen.page.evaluate(f"answer = {{ label: 'sad', windows: {windows} }}; otherwise()") == []


def test_times_are_seconds_below_a_minute_and_otherwise_minutes_and_seconds(seen: Seen) -> None:
    shown = seen.page.evaluate("[clock(0.5, 4), clock(3, 4), clock(125, 200), clock(59.96, 70), clock(1.5, 70)]")
    assert shown == ["0.5 s", "3 s", "2:05", "1:00", "0:01.5"]


def test_the_calibration_curve_lies_within_its_picture(seen: Seen) -> None:
    seen.page.locator("summary").last.click()
    outside = seen.page.evaluate("""() => {
      const chart = document.querySelector("svg.square"), all = chart.getBoundingClientRect();
      const boxes = Array.from(chart.querySelectorAll("circle, text"), (one) => one.getBoundingClientRect());
      return boxes.filter((one) => one.left < all.left - 1 || one.right > all.right + 1
        || one.top < all.top - 1 || one.bottom > all.bottom + 1).length;
    }""")
    assert outside == 0
    assert "upward" not in seen.page.locator("svg.square").first.inner_html()


def test_another_window_labels_the_same_file_again(seen: Seen, folder: Path) -> None:
    label(seen, folder / "a clip.wav")
    seen.page.locator("#window").select_option("2.0")
    until(lambda: seen.page.evaluate("document.querySelectorAll('#cells rect:not(.best)').length === 6"))


def test_downloads_are_those_of_predict_and_of_audacity(
    seen: Seen, run: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    label(seen, folder / "a clip.wav")
    texts = {}
    for kind in ("csv", "json", "txt"):
        with seen.page.expect_download() as download:
            seen.page.locator(f"[data-kind={kind}]").click()
        assert download.value.suggested_filename == f"a clip.{kind}"
        texts[kind] = Path(download.value.path()).read_text()
    monkeypatch.chdir(folder)
    capsys.readouterr()
    assert predict([str(run), "a clip.wav", "--window", "1", "--format", "csv", "--device", "cpu"]) == 0
    expected, rows = (list(csv.DictReader(io.StringIO(text))) for text in (capsys.readouterr().out, texts["csv"]))
    assert [list(row) for row in rows] == [list(row) for row in expected]
    for row, other in zip(rows, expected, strict=True):
        assert (
            row["file"] == other["file"] and row["label"] == other["label"] and float(row["end"]) == float(other["end"])
        )
        assert [float(row[name]) for name in CLASSES] == pytest.approx(
            [float(other[name]) for name in CLASSES], abs=1e-6
        )
    assert json.loads(texts["json"])["windows"][1]["start"] == 1.0
    assert texts["txt"].splitlines()[1] == f"1.000000\t2.000000\t{expected[1]['label']}"


def test_a_recording_of_the_microphone_is_labelled(browser: Any, served: Served) -> None:
    one = Seen(browser, served.address + "/")
    one.page.locator("#record").click()
    until(lambda: one.page.evaluate("document.getElementById('level').value > 0.05"))
    assert one.page.locator("#record").get_attribute("aria-pressed") == "true"
    one.page.wait_for_timeout(1500)
    one.page.locator("#record").click()
    one.page.locator("#result").wait_for()
    assert "recording.webm" in one.page.locator("#facts").inner_text()
    assert one.page.locator("#record").inner_text() == "Record"
    height = one.page.evaluate("document.querySelector('#wave path').getBBox().height")
    assert height > 0.1 and one.complaints == []  # there is sound in it
    one.context.close()


def test_a_dropped_file_is_labelled(seen: Seen, folder: Path) -> None:
    content = base64.b64encode((folder / "a clip.wav").read_bytes()).decode()
    seen.page.evaluate(
        """(content) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([Uint8Array.from(atob(content), (one) => one.charCodeAt(0))], "dropped.wav"));
          document.getElementById("drop").dispatchEvent(
            new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }""",
        content,
    )
    seen.page.locator("#result").wait_for()
    assert "dropped.wav" in seen.page.locator("#facts").inner_text()


def test_a_bad_file_a_large_one_and_a_closed_server_are_said_in_a_sentence(
    browser: Any, run: Path, folder: Path
) -> None:
    def trouble() -> str:
        one.page.locator("#trouble:visible").wait_for()
        return one.page.locator("#trouble").inner_text()

    with serving(run, megabytes=0.001) as served:
        one = Seen(browser, served.address + "/")
        one.page.locator("#file").set_input_files(folder / "a clip.wav")
        assert trouble() == "a clip.wav is larger than 0.001 MB; choose a part of it."
        one.page.locator("#file").set_input_files(folder / "text.wav")
        until(
            lambda: one.page.evaluate(
                "document.getElementById('trouble').textContent.startsWith('text.wav: cannot be decoded')"
            )
        )
        assert not one.page.locator("#result").is_visible()
    one.page.locator("#file").set_input_files(folder / "text.wav")
    until(
        lambda: one.page.evaluate(
            "document.getElementById('trouble').textContent === 'The server does not answer; is it still running?'"
        )
    )
    one.context.close()


def test_the_page_works_by_keyboard_and_a_click_on_the_timeline_listens_from_there(seen: Seen, folder: Path) -> None:
    with seen.page.expect_file_chooser() as chooser:
        seen.page.keyboard.press("Tab")
        seen.page.keyboard.press("Tab")
        seen.page.keyboard.press("Enter")
    chooser.value.set_files(folder / "a clip.wav")
    seen.page.locator("#result").wait_for()
    box = seen.page.locator("#plot").bounding_box()
    seen.page.locator("#plot").click(position={"x": box["width"] / 2, "y": 20})
    seen.page.wait_for_function("document.getElementById('sound').currentTime >= 1.7", timeout=30_000)
    assert seen.page.locator("#head").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_text_can_be_read_and_the_page_fits(
    browser: Any, served: Served, folder: Path, width: int, scheme: str
) -> None:
    one = Seen(browser, served.address + "/", width, 844, scheme)
    label(one, folder / "a clip.wav")
    for summary in one.page.locator("summary").all():
        summary.click()
    assert one.page.evaluate("document.documentElement.scrollWidth") <= width
    assert [found for found in one.page.evaluate(CONTRASTS) if found[0] < 4.5] == []
    one.page.goto(served.address + "/docs")
    assert one.page.evaluate("document.documentElement.scrollWidth") <= width
    assert [found for found in one.page.evaluate(CONTRASTS) if found[0] < 4.5] == []
    assert "POST /label" in one.page.locator("main").inner_text() and one.complaints == []
    one.context.close()


def test_a_screen_reader_is_told_the_emotions_over_time(seen: Seen, folder: Path) -> None:
    label(seen, folder / "a clip.wav")
    name = seen.page.locator("#cells").get_attribute("aria-label")
    assert name.startswith("Emotions over time: ") and name.endswith("until 3.5 s")
    for control in seen.page.locator("button, select, meter, audio, [role=region]").all():
        assert control.evaluate(
            "one => one.getAttribute('aria-label') || one.labels?.[0]?.textContent || one.textContent || one.controls"
        )
