"""`prepare asr=true` writes the words that Whisper hears, and `dataset.words` has a run of the words read them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from melt_ser.cli.compose import compose, typed
from melt_ser.config import Config
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.load import load_corpus, report_folder
from melt_ser.corpora.word_table import write_words
from melt_ser.evaluate import evaluate
from melt_ser.models.recogniser import Recogniser
from melt_ser.prepare import prepare
from melt_ser.runs.run import run as train
from small_recogniser import write_recogniser
from small_texts import WORDS, spoken_corpus, write_text_encoder

WHISPER = "MELT_SER_TEST_WHISPER"  # a folder with an English Whisper, its decoder and tokenizer
SENTENCES = (
    "The weather is very nice today.",
    "I would like a cup of coffee, please.",
    "She has been waiting for the train since this morning.",
    "We are going to the market to buy bread and milk.",
)


def table_of(root: Path, name: str = "csv") -> list[str]:
    return ["dataset=csv", f"dataset.name={name}", f"dataset.root={root}", "dataset.table=table.csv"]


def prepared(root: Path, recogniser: Path, out: Path) -> tuple[pd.DataFrame, dict[str, object]]:
    asr = ["asr=true", f"recogniser.checkpoint={recogniser}", f"recogniser.out={out}", "device=cpu"]
    prepare(compose([*table_of(root), *asr], "prepare"))
    path = out / f"csv_{recogniser.name}.csv"
    return pd.read_csv(path, keep_default_na=False), json.loads(path.with_suffix(".json").read_text())


def test_words_prepare_writes_the_words_once_with_their_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, recogniser = spoken_corpus(tmp_path / "corpus", wordless=2), write_recogniser(tmp_path / "small")
    table, report = prepared(root, recogniser, tmp_path / "words")
    printed = capsys.readouterr().out
    assert table.columns.to_list() == ["utterance", "words", "recogniser"]
    assert len(table) == 24
    assert table["recogniser"].unique().tolist() == [report["recogniser"]]
    assert str(report["recogniser"]).startswith("small (sha256:")
    errors = report["word_errors"]
    assert isinstance(errors, dict)
    assert errors["all"]["utterances"] == 22
    assert sum(errors[name]["words"] for name in WORDS) == errors["all"]["words"]
    assert f"word error rate: {100 * errors['all']['rate']:.1f} % of {errors['all']['words']} words in 22" in printed
    assert f"to read them: dataset.words={tmp_path / 'words' / 'csv_small.csv'}" in printed

    monkeypatch.setattr(Recogniser, "__call__", None)
    again, _ = prepared(root, recogniser, tmp_path / "words")
    assert again.equals(table)

    pd.read_csv(root / "table.csv").drop(columns="text").to_csv(root / "table.csv", index=False)
    _, report = prepared(root, recogniser, tmp_path / "words")
    assert report["word_errors"] == {}
    assert "word error rate: not known, since the corpus has no transcripts" in capsys.readouterr().out


def test_words_a_run_reads_the_recognised_words_and_says_so(tmp_path: Path) -> None:
    root, encoder = spoken_corpus(tmp_path / "corpus"), write_text_encoder(tmp_path / "encoder")
    release = pd.read_csv(root / "table.csv")
    names = [audio.removesuffix(".wav") for audio in release["audio"]]
    said = [WORDS[label] for label in release["label"]]
    write_words(tmp_path / "heard.csv", names, ["", *said[1:]], "some/whisper (commit:abc)")
    release.drop(columns="text").to_csv(root / "table.csv", index=False)
    typed = ["backbone=text", f"backbone.checkpoint={encoder}", "trainer=probe", "device=cpu"]
    words = f"dataset.words={tmp_path / 'heard.csv'}"
    path = train(compose([*typed, *table_of(root), "dataset.folds=2", words, f"out={tmp_path / 'runs'}"]))
    result = json.loads(path.read_text())
    by = "the words are those of heard.csv, which are recognised by some/whisper (commit:abc), not transcribed"
    assert any(warning.startswith(by) for warning in result["warnings"])
    assert result["train"]["dropped"] == {"no words in the column text": 1}
    assert result["evals"][0]["ua"] > 0.9

    other = spoken_corpus(tmp_path / "other")
    for name in other.glob("wav/*.wav"):
        name.write_bytes(name.read_bytes()[:-2])
    evaluate(compose([f"run={path.parent}", *table_of(other, "other"), words, "device=cpu"], "evaluate"))
    [row] = [
        row
        for row in json.loads(path.read_text())["evals"]
        if (row["corpus"], row["answer_set"]) == ("other", "closed")
    ]
    assert any(note.startswith(by) for note in row["warnings"])


def test_words_a_missing_recogniser_is_told_before_the_audio_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = spoken_corpus(tmp_path / "corpus")
    monkeypatch.setattr("melt_ser.corpora.load.verify", None)
    with pytest.raises(SetupError, match="recogniser.checkpoint=.* is neither a folder nor a model of the hub"):
        prepared(root, tmp_path / "none", tmp_path / "words")


def test_words_of_a_table_leave_the_report_on_the_corpus_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    said, heard = ([*table_of(tmp_path / "c"), *words] for words in ([], ["dataset.words=words.csv"]))
    assert report_folder(compose(said, "prepare").dataset) != report_folder(compose(heard, "prepare").dataset)


def test_words_a_table_and_a_recogniser_at_once_are_refused(tmp_path: Path) -> None:
    root = spoken_corpus(tmp_path / "corpus")
    with pytest.raises(SetupError, match="asr=true makes a table of words, and dataset.words names one"):
        prepare(compose([*table_of(root), "asr=true", "dataset.words=words.csv"], "prepare"))


def test_words_settings_of_the_recogniser_without_asr_or_out_of_range_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, recogniser = spoken_corpus(tmp_path / "corpus"), write_recogniser(tmp_path / "small")
    checkpoint = f"recogniser.checkpoint={recogniser}"
    monkeypatch.setattr("melt_ser.corpora.load.verify", None)  # each is told before the audio is verified
    for settings, told in {
        (checkpoint,): r"recogniser\.\* are for asr=true",
        (checkpoint, "asr=true", "recogniser.batch_size=0"): "recogniser.batch_size is at least 1, not 0",
        (checkpoint, "asr=true", "recogniser.revision=abc"): "recogniser.revision is a commit of the hub",
        (checkpoint, "asr=true", "device=gpu"): "device is auto, cpu, cuda or cuda:<number>, not 'gpu'",
        (f"recogniser.checkpoint={root}", "asr=true"): "has no weights .*; give another recogniser.checkpoint",
    }.items():
        with pytest.raises(SetupError, match=told):
            prepare(compose([*table_of(root), *settings], "prepare"))


def test_words_of_one_table_for_a_union_are_refused() -> None:
    union = compose(["dataset=union", "dataset.members=[demo,demo_de]", "dataset.words=words.csv"])
    with pytest.raises(SetupError, match="dataset.words is for one corpus, and 'union' is a union"):
        load_corpus(typed(union, Config).dataset)


def test_words_a_run_of_recognised_words_is_evaluated_on_its_corpus_with_the_same_table(tmp_path: Path) -> None:
    root, encoder = spoken_corpus(tmp_path / "corpus"), write_text_encoder(tmp_path / "encoder")
    release = pd.read_csv(root / "table.csv")
    names = [audio.removesuffix(".wav") for audio in release["audio"]]
    write_words(tmp_path / "heard.csv", names, [f"well, {text}" for text in release["text"]], "some/whisper")
    settings = ["backbone=text", f"backbone.checkpoint={encoder}", "trainer=probe", "device=cpu", "dataset.folds=2"]
    words = f"dataset.words={tmp_path / 'heard.csv'}"
    path = train(compose([*settings, *table_of(root), words, f"out={tmp_path / 'runs'}"]))
    again = [f"run={path.parent}", *table_of(root), "device=cpu"]
    with pytest.raises(InputError, match=f"give its words with {words}, set dataset.name=<another>"):
        evaluate(compose(again, "evaluate"))
    evaluate(compose([*again, words], "evaluate"))


def test_words_a_corpus_without_any_is_told_how_to_get_them(tmp_path: Path) -> None:
    root, encoder = spoken_corpus(tmp_path / "corpus"), write_text_encoder(tmp_path / "encoder")
    pd.read_csv(root / "table.csv").drop(columns="text").to_csv(root / "table.csv", index=False)
    settings = ["backbone=text", f"backbone.checkpoint={encoder}", "trainer=probe", "device=cpu"]
    with pytest.raises(InputError, match=r"give recognised words with dataset.words \(prepare asr=true"):
        train(compose([*settings, *table_of(root), f"out={tmp_path / 'runs'}"]))


@pytest.mark.slow
def test_words_whisper_hears_what_an_english_voice_says(tmp_path: Path) -> None:
    folder = os.environ.get(WHISPER)
    if not folder or not Path(folder).is_dir():
        pytest.skip(f"no Whisper with its decoder is here: set {WHISPER} to its folder")
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng, which speaks the sentences, is not installed")
    rows = []
    for number, text in enumerate(SENTENCES):
        subprocess.run(["espeak-ng", "-v", "en-us", "-s", "140", "-w", tmp_path / f"{number}.wav", text], check=True)
        rows.append({"audio": f"{number}.wav", "label": "angry", "text": text, "language": "en"})
    pd.DataFrame(rows).to_csv(tmp_path / "table.csv", index=False)
    _, report = prepared(tmp_path, Path(folder), tmp_path / "words")
    errors = report["word_errors"]
    assert isinstance(errors, dict)
    assert errors["all"]["rate"] < 0.3
