"""The preparation report has the same numbers on the terminal, on its page and as JSON."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from corpus_trees import emo_superb_tree, emodb_tree, tone, write_text
from melt_ser.cli.compose import compose, load_dataset
from melt_ser.config import LabelsConfig
from melt_ser.corpora.load import load_corpus
from melt_ser.prepare import prepare
from melt_ser.reporting.preparation import summarise, write_report

HOSTILE = "<script>alert(1)</script>"


def prepared(*overrides: str) -> tuple[dict[str, Any], str]:
    """Run `prepare` and return its JSON and its page."""
    prepare(compose(list(overrides), "prepare"))
    config = compose(list(overrides), "prepare")["dataset"]
    folder = newest_report(config["name"])
    return json.loads((folder / "report.json").read_text()), (folder / "report.html").read_text()


def newest_report(name: str) -> Path:
    from melt_ser.core.package import cache_folder

    return max(cache_folder().glob(f"corpora/{name}-*"), key=lambda path: path.stat().st_mtime_ns)


@pytest.fixture
def frequencies() -> Iterator[int]:
    return count(200, 3)


def test_a_preparation_report_counts_clips_in_the_release_used_and_refused(
    tmp_path: Path, frequencies: Iterator[int], capsys: pytest.CaptureFixture[str]
) -> None:
    stems = emodb_tree(tmp_path, lambda path: tone(path, frequency=next(frequencies)))
    (tmp_path / "wav" / f"{stems[0]}.wav").write_bytes(b"")
    tone(tmp_path / "wav" / f"{stems[1]}.wav", sample_rate=22_050)
    tone(tmp_path / "wav" / "unknown.wav")
    (tmp_path / "wav" / f"{stems[3][:-1]}b.wav").write_bytes((tmp_path / "wav" / f"{stems[3]}.wav").read_bytes())
    overrides = ["dataset=emodb", f"dataset.root={tmp_path}", "dataset.sampling_rate=16000", "dataset.speakers=9"]
    summary, page = prepared(*overrides, "++dataset.expected_labels={W:10}")
    assert summary["schema_version"] == 1
    assert (summary["found"], summary["used"], len(summary["problems"])) == (71, 70, 2)
    assert (summary["refused"], summary["not_read"]) == ({"unreadable": 1}, 1)
    assert summary["sampling_rates"]["found"] == {"16000": 69, "22050": 1}
    angry = next(row for row in summary["labels"] if row["label"] == "W")
    assert angry == {"label": "W", "emotion": "angry", "expected": 10, "found": 10, "used": 9}
    (copies,) = summary["duplicates"]
    assert [row["utterance"] for row in copies] == [stems[3], f"{stems[3][:-1]}b"]
    assert sum(summary["durations"]["histogram"]) == 70
    assert [sentence for sentence in summary["differences"] if not sentence.startswith("label")] == [
        "split all: 71 clips found, 535 expected",
        "speakers: 10 found, 9 expected",
        "sampling rate: 1 at 22050 Hz; 16000 Hz expected",
    ]
    printed = capsys.readouterr().out
    for sentence in (*summary["differences"], f"wav/{stems[0]}.wav", "unreadable: the file is empty (zero bytes)"):
        assert sentence in printed and sentence in html.unescape(page)
    folder = newest_report("emodb")
    assert f"report.html: {folder / 'report.html'}" in printed
    assert len(pd.read_csv(folder / "clips.csv")) == 71
    assert len(pd.read_csv(folder / "table.csv")) == 70


@pytest.mark.parametrize(("speakers", "folded"), [(3, False), (23, True)])
def test_a_table_by_speaker_counts_utterances_minutes_and_classes(
    speakers: int, folded: bool, tmp_path: Path, frequencies: Iterator[int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Speaker 0 has three clips, of which one has no class; the others have one clip each."""
    lines = ["audio,label,speaker,gender"]
    clips = [(0, "sad"), (0, "bored"), *((speaker, "happy") for speaker in range(speakers))]
    for number, (speaker, label) in enumerate(clips):
        tone(tmp_path / f"{number}.wav", frequency=next(frequencies), seconds=3)
        lines.append(f"{number}.wav,{label},s{speaker},{'female' if speaker == 0 else ''}")
    write_text(tmp_path / "t.csv", "\n".join(lines) + "\n")
    summary, page = prepared("dataset=csv", f"dataset.root={tmp_path}", "dataset.table=t.csv", "labels=four")
    first, *others = summary["by_speaker"]
    classes = {"angry": 0, "happy": 1, "neutral": 0, "sad": 1}
    assert first == {"speaker": "s0", "gender": "female", "utterances": 3, "minutes": 0.15, "classes": classes}
    assert len(others) == speakers - 1 and {one["utterances"] for one in others} == {1}
    table = pd.read_csv(newest_report("csv") / "speakers.csv")
    assert list(table) == ["speaker", "gender", "utterances", "minutes", *classes] and len(table) == speakers
    printed = capsys.readouterr().out
    assert "utterances by speaker" in printed and ("3 more" in printed) is folded
    assert (f"<summary>{speakers} speakers</summary>" in page) is folded
    assert len(re.findall("<td>s[0-9]+</td>", page)) == speakers


def test_a_corpus_without_speakers_has_no_table_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tone(tmp_path / "a.wav")
    tone(tmp_path / "b.wav", frequency=300)
    write_text(tmp_path / "t.csv", "audio,label\na.wav,happy\nb.wav,sad\n")
    summary, page = prepared("dataset=csv", f"dataset.root={tmp_path}", "dataset.table=t.csv")
    assert summary["by_speaker"] == [] and "No speaker is known." in page
    assert "by speaker" not in capsys.readouterr().out
    assert not (newest_report("csv") / "speakers.csv").exists()


def test_a_corpus_of_votes_without_labels_is_counted_by_its_most_voted_class(tmp_path: Path) -> None:
    emo_superb_tree(tmp_path, "CREMA-D/Primary", each=6)
    summary, _ = prepared("dataset=emo_superb_crema_d", f"dataset.root={tmp_path}")
    emotions = ("angry", "sad", "disgusted", "fearful", "neutral", "happy")
    assert summary["classes"]["counts"] == {emotion: [3] for emotion in emotions}
    assert summary["by_speaker"][0]["classes"] == dict.fromkeys(emotions, 1)


class Page(HTMLParser):
    """The elements of a page; every opened element must be closed."""

    VOID = ("meta", "rect", "line")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_preparation_page_stands_alone_and_escapes_the_text_of_a_corpus(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav")
    tone(tmp_path / "b.wav", frequency=300)
    text = f'audio,label,speaker\na.wav,happy,{HOSTILE}\nb.wav,"{HOSTILE}",x\n"<img src=x onerror=y>.wav",sad,x\n'
    write_text(tmp_path / "t.csv", text)
    config = load_dataset("csv")
    config.root, config.table, config.label_map = str(tmp_path), "t.csv", {HOSTILE: None}
    corpus = load_corpus(config)
    summary = summarise(corpus, LabelsConfig())
    assert {row["label"] for row in summary["labels"]} == {"happy", HOSTILE}
    page = (write_report(corpus, summary) / "report.html").read_text()
    elements = Page(page).elements
    names = {name for name, _ in elements}
    assert not names & {"script", "img", "link", "iframe"} and "svg" in names
    assert not [key for _, attributes in elements for key in attributes if key in ("src", "href") or key[:2] == "on"]
    assert "url(" not in page and "@import" not in page and not re.search(r"https?://", page)
    assert "&lt;script&gt;" in page
    charts = [attributes for name, attributes in elements if name == "svg"]
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    assert all(attributes.get("scope") for name, attributes in elements if name == "th")


def test_the_preparation_page_cuts_a_long_list_of_skipped_rows_and_the_files_have_all(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav")
    rows = "".join(f"missing{number}.wav,sad\n" for number in range(250))
    write_text(tmp_path / "t.csv", f"audio,label\na.wav,happy\n{rows}")
    summary, page = prepared("dataset=csv", f"dataset.root={tmp_path}", "dataset.table=t.csv")
    assert len(summary["problems"]) == 250
    assert "missing199.wav" in page and "missing200.wav" not in page
    assert "… and 50 more; all are in <code>dropped.csv</code>" in page
    assert len(pd.read_csv(newest_report("csv") / "dropped.csv")) == 250


def test_a_preparation_report_lists_real_clips_that_reach_full_scale_and_uses_them(shared_data: Path) -> None:
    summary, _ = prepared("dataset=urdu", f"dataset.root={shared_data / 'urdu'}")
    assert (summary["used"], summary["speakers"]["found"], len(summary["clipped"])) == (400, 29, 20)
