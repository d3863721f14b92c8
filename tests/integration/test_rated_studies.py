"""The studies of MSP-Podcast, IEMOCAP's attributes and EMO-SUPERB, each on a generated tree of its layout, in small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from corpus_trees import EMO_SUPERB, emo_superb_tree, tone, write_rows, write_text
from melt_ser.cli.compose import compose
from melt_ser.runs.run import run
from small_runs import SMALL

CODES = {"A": (6.0, 2.0, 6.0), "H": (5.0, 6.0, 5.0), "S": (2.0, 2.5, 3.0)}
"""Arousal, valence and dominance of some classes, from 1 to 7."""
WORDS = {"A": "Angry", "H": "Happy", "S": "Sad"}
MSP = ["FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set"]
TINY = [override for override in SMALL if not override.startswith(("trainer.batch_size", "augment", "trainer.refit"))]


@pytest.fixture(scope="module")
def podcast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MSP-Podcast with six clips of each set, and one of Test3, whose labels are withheld."""
    root, consensus, detailed = tmp_path_factory.mktemp("podcast"), [], []
    for number, part in enumerate(["Train", "Train", "Development", "Test1", "Test2"]):
        for clip in range(6):
            code = "AHS"[clip % 3]
            name = f"MSP-PODCAST_{number:04}_{clip:04}.wav"
            tone(root / "Audios" / name, frequency=200 + 300 * (clip % 3) + 7 * number + clip)
            values = [f"{value:.1f}" for value in CODES[code]]
            consensus.append([name, code, *values, str(2 * number + clip % 2), "Male", part])
            for worker in range(3):
                rated = "; ".join(f"{letter}:{value}" for letter, value in zip("AVD", values, strict=True))
                detailed.append([name, f"WORKER{worker}; {WORDS[code]}; {WORDS[code]}; {rated};"])
    tone(root / "Audios/MSP-PODCAST_test3_0001.wav", frequency=333)
    write_rows(root / "Labels/labels_consensus.csv", MSP, consensus)
    write_rows(root / "Labels/labels_detailed.csv", ["FileName", "EmoDetail"], detailed)
    return root


@pytest.fixture(scope="module")
def iemocap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """IEMOCAP with two of its sessions, eight turns each, rated by three evaluators."""
    root = tmp_path_factory.mktemp("iemocap")
    says = {"ang": ("Anger", 4, 2), "hap": ("Happiness", 4, 5), "sad": ("Sadness", 2, 2), "neu": ("Neutral", 2, 3)}
    for session in (1, 2):
        text = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n"
        for turn in range(8):
            label, (word, arousal, valence) = list(says.items())[turn % 4]
            name = f"Ses0{session}F_impro01_{'FM'[turn // 4]}{turn:03}"
            tone(root / f"Session{session}/sentences/wav/Ses0{session}F_impro01/{name}.wav", frequency=200 + 50 * turn)
            text += f"\n[{turn}.0000 - {turn}.9000]\t{name}\t{label}\t[{valence}.0000, {arousal}.0000, 2.5000]\n"
            for rater, more in (("E1", 0), ("E2", 0), ("E3", 1)):
                text += f"C-{rater}:\t{word};\t()\n"
                text += f"A-{rater}:\tval {valence}; act {arousal + more}; dom  {2 + more};\t()\n"
        write_text(root / f"Session{session}/dialog/EmoEvaluation/Ses0{session}F_impro01.txt", text)
    return root


def study(out: Path, *overrides: str) -> tuple[Path, dict[str, Any]]:
    path = run(compose([*TINY, f"out={out}", *overrides]))
    return path.parent, json.loads(path.read_text())


@pytest.mark.parametrize("name", ["odyssey2024", "is2025", "msp_podcast"])
def test_the_classes_of_msp_podcast_are_learnt_by_the_recipes_of_the_challenges(
    podcast: Path, tmp_path: Path, name: str
) -> None:
    roots = [f"+eval.roots.{corpus}={podcast}" for corpus in ("msp_podcast", "msp_podcast_test2")]
    _, result = study(tmp_path, f"experiment={name}", f"dataset.root={podcast}", *roots[name != "msp_podcast" :])
    tested = {row["corpus"]: row["n"] for row in result["evals"]}
    assert tested == {"msp_podcast": 6} | ({"msp_podcast_test2": 6} if name == "msp_podcast" else {})
    assert result["train"]["classes"] == ["angry", "happy", "sad"]
    assert result["config"]["objective"]["name"] == ("standard" if name == "odyssey2024" else "focal")
    assert result["config"]["trainer"]["backbone_learning_rate"] == 1e-5


def test_the_attributes_of_msp_podcast_make_the_file_of_the_benchmark(podcast: Path, tmp_path: Path) -> None:
    """The lines are those of docs/targets.md."""
    from melt_ser.predict import main as predict

    settings = ["dataset.target=attributes", "objective=standard", f"dataset.root={podcast}"]
    folder, result = study(tmp_path / "runs", "experiment=is2025", *settings)
    assert result["train"]["scales"] == {name: [1.0, 7.0] for name in ("arousal", "valence", "dominance")}
    assert [row["of"] for row in result["ratings"]] == ["arousal", "valence", "dominance", "mean"]
    assert [(row["of"], row["n"]) for row in result["one_rater"]][-1] == ("dominance", 6)
    out = tmp_path / "test3.csv"
    clips = map(str, podcast.glob("Audios/*test3*"))
    assert predict([str(folder), *clips, "--out", str(out), "--device", "cpu"]) == 0
    rows = pd.read_csv(out)
    names = {"arousal": "EmoAct", "valence": "EmoVal", "dominance": "EmoDom"}
    table = rows.rename(columns=names)[list(names.values())].clip(1, 7)
    table.insert(0, "FileName", rows["file"].map(lambda path: Path(path).name))
    assert table.columns.tolist() == ["FileName", "EmoAct", "EmoVal", "EmoDom"]
    assert table["FileName"].tolist() == ["MSP-PODCAST_test3_0001.wav"]
    assert table[list(names.values())].to_numpy().min() >= 1


def test_the_attributes_of_iemocap_are_learnt_in_folds_of_sessions(iemocap: Path, tmp_path: Path) -> None:
    settings = [f"dataset.root={iemocap}", "trainer.batch_size=4"]
    _, result = study(tmp_path, "experiment=iemocap_attributes", *settings)
    whole = [row for row in result["ratings"] if row["fold"] == "all"]
    assert [row["of"] for row in whole] == ["valence", "arousal", "dominance", "mean"]
    assert {row["n"] for row in whole} == {16}
    by_rater = {row["of"]: row["values"]["rmse"] for row in result["one_rater"]}
    assert by_rater["arousal"] == pytest.approx((1.5 / 3) ** 0.5)  # two of three differ by 0.5, one by 1


def test_the_votes_of_the_release_of_iemocap_are_learnt_in_its_own_protocol(iemocap: Path, tmp_path: Path) -> None:
    _, result = study(tmp_path, "experiment=emo_superb", "dataset=iemocap", f"dataset.root={iemocap}")
    assert result["config"]["objective"]["class_loss"] == "cross_entropy"
    assert [row["of"] for row in result["ratings"] if row["fold"] == "all"] == ["distribution"]


def test_a_corpus_with_a_split_is_a_single_fold_of_emo_superb(podcast: Path, tmp_path: Path) -> None:
    _, result = study(
        tmp_path, "experiment=emo_superb", "dataset=msp_podcast", "dataset.fold=1", f"dataset.root={podcast}"
    )
    assert [(row["of"], row["n"]) for row in result["ratings"]] == [("distribution", 6)]


def test_the_partitions_of_emo_superb_are_read_from_a_checkout_in_their_own_folds(tmp_path: Path) -> None:
    """One word each: the classes, the votes and the folds are those of the checkout."""
    for partition in ("IEMOCAP/Secondary", "NNIME/Secondary"):
        emo_superb_tree(tmp_path / "checkout", partition, folds=3, each=6)
    settings = ["experiment=emo_superb", f"dataset.root={tmp_path}/checkout"]
    _, result = study(tmp_path / "runs", *settings, "dataset=emo_superb_iemocap")
    assert len(result["train"]["classes"]) == 9  # of all the columns, whether or not a clip has most votes for it
    assert [row["of"] for row in result["ratings"] if row["fold"] == "all"] == ["distribution"]
    assert {(row["fold"], row["n"]) for row in result["ratings"]} == {(1, 6), (2, 6), (3, 6), ("all", 18)}
    _, single = study(tmp_path / "runs", *settings, "dataset=emo_superb_nnime", "dataset.fold=2")
    assert [(row["corpus"], row["n"]) for row in single["ratings"]] == [("emo_superb_nnime", 6)]


@pytest.mark.slow
def test_a_sweep_over_partitions_of_emo_superb_needs_one_root(tmp_path: Path) -> None:
    for partition in EMO_SUPERB:
        emo_superb_tree(tmp_path / "checkout", partition, folds=3, each=6)
    settings = [*TINY, "experiment=emo_superb", f"dataset.root={tmp_path}/checkout", f"out={tmp_path}/runs"]
    command = ["--multirun", "dataset=emo_superb_crema_d,emo_superb_nnime", "dataset.fold=1", *settings]
    done = subprocess.run([sys.executable, "-m", "melt_ser.train", *command], capture_output=True, text=True)
    assert done.returncode == 0 and "sweep: 2 finished" in done.stderr, done.stderr
