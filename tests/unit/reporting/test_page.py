"""The page of `report`, as text and in a browser: it makes no request, sorts, filters, and is accessible."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from browser import CONTRASTS, Seen
from melt_ser.report import main
from melt_ser.reporting import page as page_module
from melt_ser.reporting.pages import breakable
from report_runs import HOSTILE, copy, rename, results, scored


@pytest.fixture(scope="module")
def folder(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder of runs, a page on them, a page with ranks, and a page on a corpus with a hostile name."""
    folder = tmp_path_factory.mktemp("page")
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")

    def hostile(result: dict[str, Any]) -> None:
        rename(result, HOSTILE)
        result["run"]["command"] = HOSTILE
        result["warnings"].append(HOSTILE)

    copy(one, folder / "hostile" / "run", hostile)
    copy(
        one, folder / "all" / "published", lambda result: rename(result, "emodb")
    )  # there are published figures for it
    shutil.copytree(runs, folder / "all" / "runs")
    (folder / "all" / "seed0-failed").mkdir()
    (folder / "all" / "seed0-failed" / "failed.json").write_text('{"reason": "out of memory"}')
    assert main([str(folder / "all"), "--out", str(folder / "report" / "page.html")]) == 0
    assert main([str(folder / "hostile"), "--out", str(folder / "hostile.html")]) == 0
    assert main([str(scored(one, folder / "scored")), "--out", str(folder / "report" / "ranked.html")]) == 0
    return folder


class Elements(HTMLParser):
    """Every element's name and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_runs_no_script_but_its_own_and_asks_nobody(folder: Path) -> None:
    text = (folder / "hostile.html").read_text()
    assert text.count("<script>") == 1 and "alert(1)" in text
    [script] = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    elements = Elements(text).found
    [policy] = [one["content"] or "" for tag, one in elements if tag == "meta" and "http-equiv" in one]
    assert "default-src 'none'" in policy and f"script-src 'sha256-{digest}'" in policy
    for tag, attributes in elements:
        assert not [name for name in attributes if name.startswith("on")], tag
        assert tag not in ("link", "iframe", "img", "object", "embed")
        assert urlsplit(attributes.get("href") or "").path == ""
    identifiers = [one["id"] for _, one in elements if "id" in one]
    assert len(identifiers) == len(set(identifiers))
    addressed = {(one["href"] or "").removeprefix("#") for tag, one in elements if tag == "a"}
    assert addressed and addressed <= set(identifiers)


def test_the_surest_errors_play_the_files_of_a_corpus_at_hand(folder: Path) -> None:
    text = (folder / "report" / "page.html").read_text()
    sources = [one["src"] or "" for tag, one in Elements(text).found if tag == "audio"]
    assert sources
    for source in sources:
        assert (folder / "report" / unquote(urlsplit(source).path)).resolve().is_file()
    assert "The corpus is not at hand" in text  # `second`, as the runs on `first` know no settings of it


def test_a_segment_of_a_file_is_played_from_its_start_to_its_end(tmp_path: Path) -> None:
    from melt_ser.reporting.run_details import _address

    (tmp_path / "a b#1.wav").touch()
    nan = float("nan")
    assert _address(tmp_path / "a b#1.wav", 1.5, 2.25, tmp_path / "report") == "../a%20b%231.wav#t=1.500,2.250"
    assert _address(tmp_path / "a b#1.wav", nan, nan, None) == (tmp_path / "a b#1.wav").as_uri()
    assert _address(tmp_path / "a b#1.wav", 1.5, nan, None) == (tmp_path / "a b#1.wav").as_uri() + "#t=1.500"
    assert _address(tmp_path / "gone.wav", nan, nan, None) is None


def test_a_page_of_many_runs_stays_small(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "MOST_DETAILED", 2)
    monkeypatch.setattr(page_module, "MOST_ROWS", 3)
    out = tmp_path / "page.html"
    assert main([str(folder / "all"), "--out", str(out)]) == 0
    text = out.read_text()
    assert text.count('class="run" id=') == 2
    assert text.count("<tr data-backbone") == 3
    addressed = {(one["href"] or "").removeprefix("#") for tag, one in Elements(text).found if tag == "a"}
    assert addressed <= {one["id"] for _, one in Elements(text).found if "id" in one}
    assert "3 more runs are in the tables above without details" in text
    assert "--format csv</code> has all" in text


@pytest.fixture
def seen(browser: Any, folder: Path) -> Iterator[Seen]:
    """Yield the page with its runs open: they come last and are folded."""
    one = Seen(browser, folder / "report" / "page.html")
    one.open_runs()
    yield one
    assert one.complaints == []
    one.context.close()


def test_the_page_loads_without_complaint_or_request(seen: Seen, folder: Path) -> None:
    for details in seen.page.locator("details.run > summary").all():
        details.click()
    seen.page.wait_for_timeout(200)
    assert seen.requests == [(folder / "report" / "page.html").as_uri()]


def test_no_text_of_a_corpus_runs_as_a_script(browser: Any, folder: Path) -> None:
    one = Seen(browser, folder / "hostile.html")
    one.page.on("dialog", lambda dialog: one.complaints.append(dialog.message))
    one.open_runs()
    one.page.locator("details.run > summary").first.click()
    assert one.page.locator("details.run pre").first.inner_text().endswith(HOSTILE)
    assert one.complaints == []
    one.context.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_the_first_screen_says_which_system_is_best_and_every_run_comes_last(
    browser: Any, folder: Path, width: int
) -> None:
    one = Seen(browser, folder / "report" / "ranked.html", width, 844)
    [best, *_] = one.page.locator("ul.best > li").all()
    assert best.inner_text().startswith(
        "Best on first (whole corpus, 2 classes, 18 utterances): a (trained on first), UA 90.0"
    )
    first_table = one.page.locator(".block table").first.bounding_box()
    assert first_table["y"] + (first_table["height"] if width == 1280 else 0) <= 844
    parts = ("#best", "#corpora", "#intervals", "#ranks", "#systems", "#runs")
    places = [one.page.locator(part).bounding_box()["y"] for part in parts]
    assert places == sorted(places)
    assert not one.page.locator("#overview").is_visible() and not one.page.locator("details.run").first.is_visible()
    one.context.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_every_interval_is_on_the_scale_of_all(browser: Any, folder: Path, width: int) -> None:
    one = Seen(browser, folder / "report" / "ranked.html", width, 844)
    marks = one.page.evaluate("""() => Array.from(document.querySelectorAll(".forest li:not(.axis)"), (row) => {
      const plot = row.querySelector(".plot").getBoundingClientRect();
      const middle = (one) => { const box = one.getBoundingClientRect(); return (box.left + box.right) / 2; };
      const ticks = Array.from(row.parentElement.querySelectorAll(".axis b"), (one) => [+one.innerText, middle(one)]);
      const value = parseFloat(row.querySelector(".value").innerText);
      return [plot.left, plot.width, middle(row.querySelector(".dot")), value, ticks[0], ticks.at(-1)];
    }).filter((mark) => mark[1])""")
    assert len(marks) == 9 and len({(left, span) for left, span, *_ in marks}) == 1
    assert marks[0][1] > width / 2
    for _, _, at, value, (low, begin), (high, end) in marks:
        assert at == pytest.approx(begin + (end - begin) * (value - low) / (high - low), abs=1.5)
    one.context.close()


def test_a_table_that_is_too_wide_says_so_and_its_caption_stays_on_the_screen(browser: Any, folder: Path) -> None:
    one = Seen(browser, folder / "report" / "page.html", 390, 844)
    systems = one.page.get_by_role("region", name="Systems")
    assert systems.evaluate("e => [e.classList.contains('wide'), e.scrollWidth > e.clientWidth]") == [True, True]
    hint = systems.evaluate("e => getComputedStyle(e, '::before').content")
    assert "Scroll sideways" in hint
    caption = systems.locator("caption > span").bounding_box()
    assert caption["x"] >= 0 and caption["x"] + caption["width"] <= 390
    one.context.close()
    wide = Seen(browser, folder / "report" / "page.html", 1280, 844)
    assert "wide" not in wide.page.get_by_role("region", name="Systems").get_attribute("class")
    wide.context.close()


def test_a_name_breaks_between_its_words() -> None:
    assert breakable("wav_tiny lr=1e-3 a/b<") == "wav_<wbr>tiny lr=<wbr>1e-3 a/<wbr>b&lt;"


def test_columns_sort_both_ways_with_mouse_and_keyboard(seen: Seen) -> None:
    def figures() -> list[float]:
        return [float(text.split()[0]) for text in seen.column("UA")]

    button = seen.page.get_by_role("button", name="UA", exact=True)
    before = figures()
    button.click()
    assert figures() == sorted(before)
    assert seen.page.locator("#overview th[aria-sort=ascending]").inner_text().startswith("UA")
    button.focus()
    seen.page.keyboard.press("Enter")
    assert figures() == sorted(before, reverse=True)
    seen.page.get_by_role("button", name="Tested on", exact=True).click()
    assert seen.column("Tested on") == sorted(seen.column("Tested on"))


@pytest.mark.parametrize(
    ("label", "choice"), [("Backbone", "hubert_tiny_random"), ("Tested on", "second"), ("Answer set", "open")]
)
def test_rows_are_filtered_by(seen: Seen, label: str, choice: str) -> None:
    column = {"Backbone": "System"}.get(label, label)
    all_rows = seen.column(column)
    seen.page.get_by_label(label, exact=True).select_option(choice)
    kept = seen.column(column)
    assert kept and all(text == choice or text.startswith(choice + " ") for text in kept)
    assert len(kept) == sum(text == choice or text.startswith(choice + " ") for text in all_rows)
    assert seen.page.locator("#shown").inner_text() == f"{len(kept)} of {len(all_rows)} rows"
    seen.page.get_by_role("button", name="Show all").click()
    seen.page.locator("#overview tbody tr[hidden]").first.wait_for(state="detached")


def test_rows_are_filtered_by_words(seen: Seen) -> None:
    seen.page.get_by_label("Words in a row").fill("MLP second")
    assert set(seen.column("System")) == {"hubert_tiny_random mlp epochs=2"}
    assert set(seen.column("Tested on")) == {"second"}


def test_the_details_of_a_run_come_when_they_are_opened(seen: Seen) -> None:
    assert seen.page.locator("details.run h4").count() == 0
    link = seen.page.locator("#overview tbody a").first
    link.click()
    opened = seen.page.locator("details.run[open]")
    opened.locator("h4").first.wait_for()  # opened on hashchange, filled on toggle: both come after the click
    assert opened.count() == 1
    assert opened.locator(":scope > summary").inner_text().endswith(link.inner_text())
    for part in ("Confusion", "Calibration", "Slices", "The most confident errors"):
        assert opened.get_by_role("heading", name=part).first.is_visible()
    assert opened.locator("svg[role=img][aria-label]").count() >= 2


def test_every_control_is_reached_by_the_keyboard(seen: Seen) -> None:
    reached = set()
    for _ in range(60):
        seen.page.keyboard.press("Tab")
        reached.add(seen.page.evaluate("document.activeElement.tagName"))
    assert {"SELECT", "INPUT", "BUTTON", "A", "SUMMARY", "DIV"} <= reached  # DIV: it scrolls sideways


def test_every_control_has_a_name(seen: Seen) -> None:
    seen.page.locator("details.run > summary").first.click()
    for role in ("button", "combobox", "searchbox", "region", "img"):
        for one in seen.page.get_by_role(role).all():
            name = one.get_attribute("aria-label") or one.inner_text() or one.evaluate("e => e.labels?.[0]?.innerText")
            assert name, one.evaluate("e => e.outerHTML")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["page", "ranked"])
def test_it_fits_the_screen_and_every_text_stands_out(
    browser: Any, folder: Path, name: str, scheme: str, width: int
) -> None:
    one = Seen(browser, folder / "report" / f"{name}.html", width, 844, scheme)
    assert one.page.get_by_role("heading", name="Ranks over corpora").count() == (name == "ranked")
    one.open_runs()
    one.page.locator("details.run > summary").first.click()
    one.page.wait_for_timeout(200)
    assert one.page.evaluate("document.documentElement.scrollWidth") <= width
    tables = "Array.from(document.querySelectorAll('.block'), (one) => [one.scrollWidth, one.clientWidth])"
    assert all(inside <= outside for inside, outside in one.page.evaluate(tables))
    contrasts = one.page.evaluate(CONTRASTS)
    assert len(contrasts) > 100
    assert [text for contrast, text in contrasts if contrast < 4.5] == []
    if os.environ.get("MELT_SER_SCREENSHOTS"):  # a folder for the screenshots
        shots = Path(os.environ["MELT_SER_SCREENSHOTS"])
        one.page.screenshot(path=shots / f"{name}-{width}-{scheme}.png", full_page=True)
    assert one.complaints == []
    one.context.close()


def test_a_result_cannot_make_the_page_import_a_module(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "colleagues_reader.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def named(result: dict[str, Any]) -> None:
        result["config"]["dataset"]["reader"] = "colleagues_reader"

    copy(next(iter(results(runs))), tmp_path / "runs" / "one", named)
    assert main([str(tmp_path / "runs"), "--out", str(tmp_path / "page.html")]) == 0
    assert "colleagues_reader" not in sys.modules


def test_filters_and_counts_take_names_as_they_are(runs: Path, tmp_path: Path) -> None:
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")
    for number, name in enumerate(("two  blanks", "Two  blanks")):
        copy(one, tmp_path / "runs" / str(number), lambda result, name=name: rename(result, name))  # type: ignore[misc]
    assert main([str(tmp_path / "runs"), "--out", str(tmp_path / "page.html")]) == 0
    text = (tmp_path / "page.html").read_text()
    chosen = {attributes.get("value") for name, attributes in Elements(text).found if name == "option"}
    assert {"two  blanks", "Two  blanks"} <= chosen and "3 test corpora" in text
