"""`info`: each corpus is ready, or `info` names the command that makes it ready."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus_trees import emodb_tree
from melt_ser import info
from melt_ser.cli.compose import compose
from melt_ser.core.package import cache_folder
from melt_ser.prepare import prepare


def states() -> dict[str, tuple[str, str]]:
    return {name: (state, how) for name, state, how in info._corpora()}


@pytest.fixture(autouse=True)
def nothing_prepared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MELT_SER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MELT_SER_DATA", str(tmp_path / "data"))


def test_info_shows_a_corpus_from_absent_to_ready(tmp_path: Path) -> None:
    assert states()["emodb"] == ("not there", "python -m melt_ser.prepare dataset=emodb download=true")
    (tmp_path / "data" / "emodb.unfinished").mkdir(parents=True)
    assert states()["emodb"][0] == "download not finished"
    emodb_tree(tmp_path / "data" / "emodb", emotions="WF")
    assert states()["emodb"] == ("there, not verified", "python -m melt_ser.prepare dataset=emodb")
    prepare(compose(["dataset=emodb"], "prepare"))
    assert states()["emodb"] == ("ready: 20 utterances, 10 speakers, 0.00 h", "")


def test_info_names_the_root_of_a_corpus_that_was_prepared_elsewhere(tmp_path: Path) -> None:
    emodb_tree(tmp_path / "elsewhere", emotions="WF")
    prepare(compose(["dataset=emodb", f"dataset.root={tmp_path / 'elsewhere'}"], "prepare"))
    assert states()["emodb"] == ("ready: 20 utterances, 10 speakers, 0.00 h", f"dataset.root={tmp_path / 'elsewhere'}")


def test_info_takes_a_damaged_report_for_none() -> None:
    prepare(compose(["dataset=demo"], "prepare"))
    assert states()["demo"][0].startswith("ready")
    (report,) = cache_folder().glob("corpora/demo-*/report.json")
    report.write_text("{")
    assert states()["demo"] == ("there, not verified", "python -m melt_ser.prepare dataset=demo")


def test_info_names_where_to_ask_for_a_corpus_on_request() -> None:
    state, how = states()["iemocap"]
    assert state == "not there"
    assert how.startswith("request form") and how.endswith("prepare dataset=iemocap dataset.root=<folder>")
    assert states()["csv"][0] == "your own"


def test_info_prints_every_corpus_and_backbone(capsys: pytest.CaptureFixture[str]) -> None:
    assert info.main([]) == 0
    printed = capsys.readouterr().out
    assert "wavlm_tiny_random" in printed and "ravdess" in printed and printed.startswith("versions: ")
    pretraining = {line.split()[0]: line for line in printed.splitlines() if line.startswith("wav2vec2")}
    commands = [how for *_, how in [*info._backbones(), *info._corpora()]]
    assert all(any(line.endswith(how) for line in printed.splitlines()) for how in commands), "copied whole"
    assert "self-supervised" in pretraining["wav2vec2"] and "speech recognition" in pretraining["wav2vec2_asr"]
