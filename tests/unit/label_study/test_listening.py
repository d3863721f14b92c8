"""`listen build` and its page: raters cannot tell the sources, and every way of use gives the same answers."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from browser import CONTRASTS, Seen
from make_audio import sine
from melt_ser.label_study.label_pairs import read_pairs
from melt_ser.label_study.listening import build
from melt_ser.label_study.listening_answers import read_judgements
from melt_ser.listen import main

LABELS = ("anger", "fear", "joy", "sadness")
CLIPS, CHECKS = 4, 2


def corpus(folder: Path, rows: int = 24) -> Path:
    """Write a table of short segments of one recording, with two labels each; every fourth pair is equal."""
    folder.mkdir(parents=True, exist_ok=True)
    soundfile.write(
        folder / "tones.wav", np.concatenate([sine(16_000, 0.2, 200 + 20 * row) for row in range(rows)]), 16_000
    )
    table = pd.DataFrame(
        {
            "utterance": [f"secret{row}" for row in range(rows)],
            "audio": "tones.wav",
            "start": [0.2 * row for row in range(rows)],
            "end": [0.2 * row + 0.15 for row in range(rows)],
            "human": [LABELS[row % 4] for row in range(rows)],
            "machine": [LABELS[(row + row // 4) % 4] for row in range(rows)],
        }
    )
    table.to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


def built(folder: Path, *more: str) -> dict[str, Any]:
    table = corpus(folder / "corpus")
    columns = ["--first-column", "human", "--second-column", "machine"]
    numbers = ["--clips", str(CLIPS), "--checks", str(CHECKS)]
    options = ["--root", str(table.parent), "--out", str(folder / "test"), *columns, *numbers, *more]
    assert main(["build", str(table), *options]) == 0
    key: dict[str, Any] = json.loads((folder / "test" / "key.json").read_text())
    return key


def test_the_shared_folder_does_not_reveal_the_source_of_a_label(tmp_path: Path) -> None:
    key = built(tmp_path)
    shared = tmp_path / "test" / "share"
    assert {path.name for path in shared.iterdir()} == {"index.html", "clips"}
    page = (shared / "index.html").read_text()
    for word in ("human", "machine", "secret", "tones", '"first"', '"second"', "seed"):
        assert word not in page
    assert {path.stem for path in (shared / "clips").iterdir()} == {item["id"] for item in key["items"]}
    for item in key["items"]:
        assert sorted(item["labels"]) == sorted([item["first"], item["second"]])


def test_the_order_of_two_labels_in_a_listening_test_is_random(tmp_path: Path) -> None:
    table = corpus(tmp_path, rows=120)
    pairs = read_pairs(table, first_column="human", second_column="machine")
    key = build(pairs, tmp_path, tmp_path / "test", clips=80, checks=0, longest=30.0, seed=1)
    second_first = sum(item["labels"][0] == item["second"] for item in key["items"])
    assert 25 <= second_first <= 55  # 40 of 80 are expected, within four standard deviations
    by_label = pd.Series([item["second"] for item in key["items"]]).value_counts()
    assert by_label.max() - by_label.min() <= 1  # evenly over the second source's labels


def test_the_spelling_of_a_label_neither_reveals_its_source_nor_makes_it_another(tmp_path: Path) -> None:
    path = corpus(tmp_path / "corpus")
    table = pd.read_csv(path).assign(human=lambda rows: rows["human"].str.title().replace("Fear", "Wistful"))
    table["machine"] = table["machine"].replace("fear", "wistful")
    table.to_csv(path, index=False)
    pairs = read_pairs(path, first_column="human", second_column="machine")
    numbers = {"clips": 16, "checks": 0, "longest": 30.0, "seed": 0}
    key = build(pairs, path.parent, tmp_path / "all", **numbers)
    assert {label for item in key["items"] for label in item["labels"]} == {"Anger", "Wistful", "Joy", "Sadness"}
    assert key["left_out"] == {"both sources say the same": 8}, "wistful is Wistful"
    key = build(pairs, path.parent, tmp_path / "some", ["anger", "joy"], **(numbers | {"clips": 2}))
    assert all(set(item["labels"]) == {"anger", "joy"} for item in key["items"])


def test_a_clip_of_a_listening_test_is_the_segment_and_a_seed_repeats_the_test(tmp_path: Path) -> None:
    key = built(tmp_path / "one")
    item = key["items"][0]
    samples, rate = soundfile.read(tmp_path / "one" / "test" / "share" / "clips" / f"{item['id']}.flac")
    whole, _ = soundfile.read(tmp_path / "one" / "corpus" / "tones.wav")
    start = round(float(item["start"]) * rate)
    assert rate == 16_000 and len(samples) == 2400
    np.testing.assert_allclose(samples, whole[start : start + 2400], atol=1e-4)
    assert built(tmp_path / "again") == key
    assert built(tmp_path / "other", "--seed", "1")["study"] != key["study"]


def test_listen_build_counts_unused_utterances_and_skips_unusable_audio(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = built(tmp_path, "--labels", "anger,fear,joy")
    assert key["left_out"] == {"both sources say the same": 8, "a label outside the set": 8}
    assert "8 utterances, both sources say the same" in capsys.readouterr().err
    table = pd.read_csv(corpus(tmp_path / "more"))
    table.loc[:11, "audio"] = "gone.wav"
    table.to_csv(tmp_path / "more" / "table.csv", index=False)
    pairs = read_pairs(tmp_path / "more" / "table.csv", first_column="human", second_column="machine")
    key = build(pairs, tmp_path / "more", tmp_path / "fewer", clips=8, checks=0, longest=30.0, seed=0)
    assert {item["audio"] for item in key["items"]} == {"tones.wav"}
    assert all("there is no such file" in problem["reason"] for problem in key["problems"])


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--clips", "100"], 1, "The sources differ on 16 utterances, too few for 100 clips and 3 checks"),
        (["--longest", "0.1"], 1, "16 clips cannot be used, the first: "),
        (["--longest", "0"], 2, "--longest is 0; give more than 0 seconds"),
        (["--first-column", "wut"], 1, "has no column 'wut'"),
    ],
)
def test_listen_build_refuses_bad_input_in_one_sentence_and_leaves_nothing(
    tmp_path: Path, options: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = corpus(tmp_path / "corpus")
    columns = ["--first-column", "human", "--second-column", "machine", "--clips", "4"]
    out = tmp_path / "test"
    assert main(["build", str(table), "--root", str(table.parent), "--out", str(out), *columns, *options]) == code
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and words in line
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


@pytest.mark.parametrize("options", [["--clips", "0"], ["--checks", "-1"], ["--longest", "nan"], ["--seed", "-1"]])
def test_listen_build_refuses_an_impossible_number(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["build", "a.csv", "--root", ".", "--out", "test", *options])
    assert ended.value.code == 2 and f"argument {options[0]}: is a " in capsys.readouterr().err


def test_listen_build_does_not_overwrite_a_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built(tmp_path)
    table = tmp_path / "corpus" / "table.csv"
    assert main(["build", str(table), "--root", str(table.parent), "--out", str(tmp_path / "test")]) != 0
    assert "error: " in capsys.readouterr().err
    assert (tmp_path / "test" / "key.json").is_file()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("listening")
    built(folder)
    return folder / "test"


@pytest.fixture
def seen(browser: Any, folder: Path, request: pytest.FixtureRequest) -> Iterator[Seen]:
    width, scheme = getattr(request, "param", (1280, "light"))
    seen = Seen(browser, folder / "share" / "index.html", width, 844, scheme)
    yield seen
    assert seen.complaints == []
    seen.context.close()


def enter(seen: Seen, rater: str) -> None:
    seen.page.get_by_label("Your code").fill(rater)
    seen.page.get_by_role("button", name="Start").click()


def question(seen: Seen) -> tuple[list[str], str | None]:
    """Return the labels left and right, and the label that a check tells the rater to choose."""
    text = seen.page.locator("#question").inner_text()
    labels = [seen.page.locator(side).inner_text() for side in ("#left", "#right")]
    return labels, text.split("“")[1].split("”")[0] if "check" in text else None


def hear(seen: Seen) -> None:
    seen.page.get_by_role("button", name="Play", exact=True).click()
    seen.page.locator("#left:enabled").wait_for()


def answer_by_mouse(seen: Seen) -> str:
    labels, check = question(seen)
    assert seen.page.locator("#left").is_disabled()  # before the clip was heard
    hear(seen)
    chosen = check or min(labels)
    seen.page.locator("#choice").get_by_role("button", name=chosen, exact=True).click()
    return chosen


def saved(seen: Seen, path: Path) -> dict[str, Any]:
    with seen.page.expect_download() as download:
        seen.page.locator(".save:visible").click()
    download.value.save_as(path)
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_the_listening_page_leads_from_the_first_click_to_scored_answers(
    seen: Seen, folder: Path, tmp_path: Path
) -> None:
    enter(seen, "anna")
    chosen = [answer_by_mouse(seen) for _ in range(CLIPS + CHECKS)]
    assert seen.page.locator("#summary").inner_text() == "6 of 6 clips are judged."
    content = saved(seen, tmp_path / "anna.json")
    assert [answer["chosen"] for answer in content["answers"]] == chosen
    judged = read_judgements(folder / "key.json", [tmp_path])
    assert len(judged.table) == CLIPS and judged.left_out == {}
    preferred = judged.table["second"].where(judged.table["prefers_second"], judged.table["first"])
    assert (preferred == judged.table[["first", "second"]].min(axis=1)).all()  # she chose by the alphabet
    shared = (folder / "share").as_uri()
    assert all(url.startswith(shared) or url.startswith("blob:") for url in seen.requests)


def test_the_listening_page_keeps_answers_through_a_reload_and_gives_each_rater_an_order(
    seen: Seen, tmp_path: Path
) -> None:
    enter(seen, "ben")
    first = [answer_by_mouse(seen) for _ in range(2)]
    before = question(seen)
    seen.page.reload()
    assert seen.page.locator("#place").inner_text() == "Clip 3 of 6"
    assert question(seen) == before
    content = saved(seen, tmp_path / "ben.json")  # in the middle
    assert [answer["chosen"] for answer in content["answers"]] == first
    for _ in range(CLIPS + CHECKS - 2):
        answer_by_mouse(seen)
    orders = [[answer["item"] for answer in saved(seen, tmp_path / "ben.json")["answers"]]]
    seen.page.get_by_role("button", name="Another person").click()
    enter(seen, "cleo")
    for _ in range(CLIPS + CHECKS):
        answer_by_mouse(seen)
    orders.append([answer["item"] for answer in saved(seen, tmp_path / "cleo.json")["answers"]])
    assert orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1])


@pytest.mark.parametrize("seen", [(390, "dark")], indirect=True)
def test_the_listening_page_works_by_keyboard_alone(seen: Seen, folder: Path, tmp_path: Path) -> None:
    keyboard = seen.page.keyboard
    for _ in range(5):
        keyboard.press("Tab")
        if seen.page.evaluate("document.activeElement.id") == "rater":
            break
    keyboard.press("Control+a")
    keyboard.type("dora")
    keyboard.press("Enter")
    chosen = []
    for number in range(CLIPS + CHECKS):
        labels, check = question(seen)
        assert seen.page.evaluate("document.activeElement.id") == "play"
        keyboard.press("1")  # does nothing before the clip was heard
        keyboard.press("Enter" if number % 2 else "p")
        seen.page.locator("#left:enabled").wait_for()
        side = labels.index(check) if check else number % 2
        if number < 2:
            for _ in range(side + 1):
                keyboard.press("Tab")
            keyboard.press("Enter")
        else:
            keyboard.press(("1", "2")[side] if number % 2 else ("ArrowLeft", "ArrowRight")[side])
        chosen.append(labels[side])
    keyboard.press("Tab")
    assert seen.page.evaluate("document.activeElement.textContent") == "Save answers"
    with seen.page.expect_download() as download:
        keyboard.press("Enter")
    download.value.save_as(tmp_path / "dora.json")
    assert [answer["chosen"] for answer in json.loads((tmp_path / "dora.json").read_text())["answers"]] == chosen
    assert read_judgements(folder / "key.json", [tmp_path]).left_out == {}


def test_the_listening_page_lets_a_rater_change_an_answer(seen: Seen, tmp_path: Path) -> None:
    enter(seen, "emil")
    labels, _ = question(seen)
    hear(seen)
    seen.page.locator("#left").click()
    seen.page.get_by_role("button", name="Back", exact=True).click()
    assert seen.page.locator("#left").get_attribute("aria-pressed") == "true"
    hear(seen)
    seen.page.locator("#right").click()
    [answer] = saved(seen, tmp_path / "emil.json")["answers"]
    assert (answer["chosen"], answer["side"]) == (labels[1], "right")


def test_the_listening_page_lets_a_rater_skip_a_clip_that_does_not_play(browser: Any, tmp_path: Path) -> None:
    key = built(tmp_path)
    for path in (tmp_path / "test" / "share" / "clips").iterdir():
        path.write_bytes(b"no sound")
    seen = Seen(browser, tmp_path / "test" / "share" / "index.html")
    enter(seen, "finn")
    seen.page.get_by_role("button", name="The clip does not play: skip it").click()
    content = saved(seen, tmp_path / "finn.json")
    assert [answer["chosen"] for answer in content["answers"]] == [None]
    assert content["answers"][0]["item"] in {item["id"] for item in key["items"]}
    seen.context.close()


def test_the_listening_page_warns_if_the_browser_stores_nothing(browser: Any, folder: Path, tmp_path: Path) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script("Object.defineProperty(window, 'localStorage', { get() { throw new Error('forbidden'); } })")
    page.goto((folder / "share" / "index.html").as_uri())
    page.get_by_role("button", name="Start").click()
    assert "does not keep your answers" in page.locator("#trouble").inner_text()
    page.get_by_role("button", name="Play", exact=True).click()
    page.locator("#left:enabled").wait_for()
    context.close()


def test_the_listening_page_works_from_a_static_server(browser: Any, folder: Path, tmp_path: Path) -> None:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder / "share"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        seen = Seen(browser, folder / "share" / "index.html")
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        seen.page.goto(address)
        enter(seen, "gus")
        answer_by_mouse(seen)
        assert len(saved(seen, tmp_path / "gus.json")["answers"]) == 1
        assert seen.complaints == []
        seen.context.close()
        server.shutdown()


@pytest.mark.parametrize("seen", [(1280, "light"), (360, "dark")], indirect=True)
def test_every_listening_screen_fits_and_every_text_stands_out(seen: Seen) -> None:
    width = seen.page.viewport_size["width"]
    for step in ("start", "item", "heard"):
        if step == "item":
            enter(seen, "hugo")
        elif step == "heard":
            hear(seen)
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        contrasts = seen.page.evaluate(CONTRASTS)
        assert len(contrasts) >= 4 and [text for contrast, text in contrasts if contrast < 4.5] == []
