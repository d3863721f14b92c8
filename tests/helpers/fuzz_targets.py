"""Spoil good files at random, and read them as the program does.

Each function takes a random generator and a folder of its own. If it returns, the input was accepted; if it raises a
MeltSerError, the input was refused. Any other exception is a bug.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import soundfile
import torch

from corpus_trees import iemocap_session, meld_row, meld_tree, placeholder
from make_audio import FORMATS, sine, sound
from melt_ser.audio.decode import read_audio, stream_audio
from melt_ser.audio.verify import verify_clip
from melt_ser.audio.waveform import prepare_waveform
from melt_ser.cli.compose import load_dataset
from melt_ser.config import DatasetConfig, RaterVote
from melt_ser.core.errors import MeltSerError, SetupError
from melt_ser.corpora.labels import common_label_map, map_labels
from melt_ser.corpora.load import load_corpus
from melt_ser.corpora.readers import csv, iemocap, meld
from melt_ser.corpora.table import Release, validate
from melt_ser.corpora.verification import Measurements
from melt_ser.models.export import load_model, save_model
from melt_ser.prepare import main as prepare
from melt_ser.report import main as report
from melt_ser.runs.folder import read_result
from mutations import damage, damage_text, rewrite_table
from odd_json import odd_versions
from report_runs import copy
from small_models import small_classifier
from small_runs import corpus, train

Spoilt = Callable[[random.Random, Path], None]


def audio(name: str, rng: random.Random, folder: Path) -> None:
    """Verify and read a spoilt recording: a reason is one line, and samples are finite and of bounded length.

    Read in blocks, it is refused or accepted in the same way.
    """
    path = folder / name
    path.write_bytes(damage(_good_audio(name, folder), rng))
    found = verify_clip(folder, name, maximum_seconds=60.0)
    assert found.reason is None or "\n" not in found.reason
    try:
        in_blocks = sum(len(block) for block in stream_audio(path))
    except MeltSerError as error:
        assert found.reason is not None, f"stream_audio refuses it, verify_clip does not: {error}"
        raise
    waveform = read_audio(path)
    assert abs(in_blocks - len(waveform)) <= 1 + len(waveform) // 1000, "read_audio gives other samples"
    samples = prepare_waveform(torch.from_numpy(waveform), do_normalize=True)
    assert samples.isfinite().all()
    if found.reason is None:
        assert len(samples) <= 61 * 16_000


@functools.cache
def _good_audio(name: str, folder: Path) -> bytes:
    return sound(folder / name).read_bytes()


TABLE = """audio,label,speaker,split,start,end,gender,text
a.wav,happy,s1,train,0,1.5,f,"Well, no"
b.wav,sad,s2,train,,,m,
a.wav,Anger,s1,train,1.5,2,female,"Say ""yes""!"
c.wav,joy,s3,test,,,,Grüße
"""


def table(rng: random.Random, folder: Path) -> None:
    """Read a user's own corpus from a spoilt table."""
    for name in ("a.wav", "b.wav", "c.wav"):
        placeholder(folder / name)
    text = TABLE
    for _ in range(rng.choice((0, 1, 1, 2))):
        text = rewrite_table(text, str(folder), rng)
    content = damage_text(text, rng) if rng.random() < 0.7 else text.encode(rng.choice(("utf-8-sig", "utf-16")))
    (folder / "table.csv").write_bytes(content)
    vote = rng.choice((None, RaterVote.majority))
    _check(csv.read(folder, DatasetConfig(name="csv", reader="csv", table="table.csv", rater_vote=vote)))


def _check(release: Release) -> None:
    """Check that the table is valid and that every row gets its emotion or none."""
    validate(release.table, "spoilt")
    emotions = map_labels(release.table["label"], common_label_map(release.table["label"]), "spoilt")
    assert len(emotions) == len(release.table)


def meld_annotations(rng: random.Random, folder: Path) -> None:
    """Read MELD with a spoilt annotation file."""
    root = folder / "meld"
    rows = [meld_row(dialogue, utterance) for dialogue in range(3) for utterance in range(2)]
    if not root.exists():
        meld_tree(root, dict.fromkeys(("train", "dev", "test"), rows), placeholder)
        (root / "original.csv").write_bytes((root / "train_sent_emo.csv").read_bytes())
    text = (root / "original.csv").read_text(encoding="utf-8")
    (root / "train_sent_emo.csv").write_bytes(damage_text(text, rng))
    _check(meld.read(root, load_named("meld")))


def iemocap_annotations(rng: random.Random, folder: Path) -> None:
    """Read IEMOCAP with a spoilt evaluation or transcription file."""
    root = folder / "iemocap"
    if not root.exists():
        for session in range(1, 6):
            iemocap_session(root, session, ["ang", "hap", "neu", "sad"], placeholder)
    texts = sorted(root.glob("Session1/dialog/*/*.txt"))
    originals = {path: path.read_bytes() for path in texts}
    path = rng.choice(texts)
    try:
        path.write_bytes(damage_text(originals[path].decode(), rng))
        _check(iemocap.read(root, load_named("iemocap")))
    finally:
        path.write_bytes(originals[path])


@functools.cache
def load_named(name: str) -> DatasetConfig:
    return load_dataset(name)


def _two_clips(folder: Path) -> Path:
    root = folder / "clips"
    if not root.exists():
        root.mkdir()
        for name in ("a.wav", "b.wav"):
            soundfile.write(root / name, sine(16_000, 0.2), 16_000)
        (root / "table.csv").write_text("audio,label\na.wav,happy\nb.wav,sad\n")
    return root


def stored_verification(rng: random.Random, folder: Path) -> None:
    """Load a corpus with its cached measurements spoilt: the table stays the same."""
    os.environ["MELT_SER_CACHE"] = str(folder / "cache")
    config = DatasetConfig(name="csv", reader="csv", root=str(_two_clips(folder)), table="table.csv")
    corpus = load_corpus(config)
    path = next(Measurements(corpus.root).folder.glob("*.parquet"))
    path.write_bytes(damage(path.read_bytes(), rng))
    assert load_corpus(config).table.equals(corpus.table)


YAML = """defaults: [csv]
name: mine
table: table.csv
language: en
label_map: {happy: happy, sad: sad, "none": null}
group: speaker
folds: 5
fold: 1
dev_fraction: 0.2
minimum_seconds: 0.1
maximum_seconds: 30.0
expected: {all: 2}
"""


def dataset_yaml(rng: random.Random, folder: Path) -> None:
    """Run `prepare` with a user's own dataset YAML, spoilt."""
    os.environ["MELT_SER_CACHE"] = str(folder / "cache")
    (folder / "dataset").mkdir(exist_ok=True)
    (folder / "dataset" / "mine.yaml").write_bytes(damage_text(YAML, rng))
    sys.argv = ["prepare", "--config-dir", str(folder), "dataset=mine", f"dataset.root={_two_clips(folder)}"]
    told = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(told):
        code = prepare()
    if code:
        assert told.getvalue().splitlines()[-1].startswith("error: ")
        raise SetupError(told.getvalue())


def result(rng: random.Random, folder: Path) -> None:
    """Read a spoilt `result.json`."""
    content = {"schema_version": 1, "train": {"corpus": "csv", "folds": []}, "evals": [{"ua": 0.5}]}
    (folder / "result.json").write_bytes(damage_text(json.dumps(content, indent=2), rng))
    assert read_result(folder)["schema_version"] == 1


def report_of_an_odd_run(rng: random.Random, folder: Path) -> None:
    """Report a good run next to one with an odd value in its result: the good one is always there."""
    os.environ["MELT_SER_CACHE"] = str(folder / "cache")
    good, odd = folder / "runs" / "good", folder / "runs" / "odd"
    if not good.exists():
        run, _ = train(folder / "trained", corpus(folder / "corpus"))
        copy(run, good)
        copy(run, odd, lambda content: content["config"]["trainer"].update(epochs=7))
        shutil.copy(odd / "result.json", folder / "sound.json")
    (odd / "result.json").write_bytes(rng.choice(_odd_results(folder / "sound.json")))
    out, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(told):
        code = report([str(good.parent), "--format", rng.choice(("md", "csv", "html"))])
    assert str(good) in out.getvalue()
    if code:
        assert code == 1 and "not read: " in told.getvalue()
        raise SetupError(told.getvalue())


@functools.cache
def _odd_results(path: Path) -> list[bytes]:
    result = json.loads(path.read_text())
    result["evals"] = result["evals"][:1]
    return [content for _, content in odd_versions(result)]


def _saved_model(folder: Path) -> Path:
    saved = folder / "model"
    if not saved.exists():
        save_model(small_classifier("hubert", pooling="attention"), saved)
    return saved


def _load_spoilt(saved: Path, name: str, content: bytes) -> None:
    """Load the model with `content` as one of its files; restore the good file afterwards."""
    original = (saved / name).read_bytes()
    try:
        (saved / name).write_bytes(content)
        model = load_model(saved)
        assert all(tensor.isfinite().all() for tensor in model.state_dict().values())
    finally:
        (saved / name).write_bytes(original)


def weights(rng: random.Random, folder: Path) -> None:
    """Load a model with spoilt safetensors; most of the time the damage is in their header."""
    saved = _saved_model(folder)
    name = rng.choice(("model.safetensors", "head.safetensors"))
    content = (saved / name).read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    within = header if rng.random() < 0.7 else len(content)
    _load_spoilt(saved, name, damage(content[:within], rng) + content[within:])


def model_description(rng: random.Random, folder: Path) -> None:
    """Load a model with one of its JSON files spoilt."""
    saved = _saved_model(folder)
    name = rng.choice(("config.json", "melt_ser.json", "preprocessor_config.json"))
    _load_spoilt(saved, name, damage_text((saved / name).read_text(), rng))


SPOILT: dict[str, Spoilt] = {
    **{f"audio {name}": functools.partial(audio, name) for name in FORMATS},
    "table": table,
    "annotations of MELD": meld_annotations,
    "annotations of IEMOCAP": iemocap_annotations,
    "stored verification": stored_verification,
    "dataset YAML": dataset_yaml,
    "result": result,
    "report of an odd run": report_of_an_odd_run,
    "weights": weights,
    "model description": model_description,
}
SHARES = {"table": 5, "dataset YAML": 1}  # inputs in a round of about 40; every other kind has 2
ORDER = [name for name in SPOILT for _ in range(SHARES.get(name, 2))]


def kind_of(seed: int) -> str:
    return ORDER[seed % len(ORDER)]


def spoil(seed: int, folder: Path) -> bool:
    """Read the spoilt input that the seed determines; return whether it was accepted."""
    try:
        SPOILT[kind_of(seed)](random.Random(seed), folder)
    except MeltSerError:
        return False
    return True
