"""The studies of MSP-Podcast, IEMOCAP's attributes and EMO-SUPERB, each on a generated tree of its layout, in small."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from corpus_trees import tone, write_rows, write_text
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


def test_the_votes_of_iemocap_are_learnt_by_the_all_inclusive_rule(iemocap: Path, tmp_path: Path) -> None:
    _, result = study(tmp_path, "experiment=emo_superb", f"dataset.root={iemocap}")
    assert result["config"]["objective"]["class_loss"] == "multi_label"
    assert [row["of"] for row in result["ratings"] if row["fold"] == "all"] == ["distribution"]


def test_a_corpus_with_a_split_is_a_single_fold_of_emo_superb(podcast: Path, tmp_path: Path) -> None:
    _, result = study(
        tmp_path, "experiment=emo_superb", "dataset=msp_podcast", "dataset.fold=1", f"dataset.root={podcast}"
    )
    assert [(row["of"], row["n"]) for row in result["ratings"]] == [("distribution", 6)]


def test_a_partition_of_emo_superb_is_read_as_a_table(tmp_path: Path) -> None:
    """A table of its checkout has shares of the classes, smoothed, and parts called Train, Development and Test."""
    rows = []
    for number in range(12):
        name = f"Ses01F_impro01_F{number:03}.wav"
        tone(tmp_path / "Audios" / name, frequency=200 + 40 * number)
        shares = [0.9 if number % 3 == place else 0.05 for place in range(3)]
        part = ["Train", "Train", "Development", "Test"][number // 3]
        rows.append([name, *map(str, shares), "3", "2", "2.5", "01", "Female", part])
    columns = ["FileName", "sad", "disgust", "excited", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set"]
    table = tmp_path / "data/IEMOCAP/Secondary/labels_consensus_1.csv"
    write_rows(table, columns, rows)
    settings = ["dataset=csv", f"dataset.root={tmp_path}/Audios", f"dataset.table={table}", "dataset.name=iemocap_1"]
    settings += ["dataset.fold=1"]
    settings += ["+dataset.columns.audio=FileName", "+dataset.columns.split=Split_Set"]
    settings += [f"+dataset.votes.{name}={name}" for name in ("sad", "disgust", "excited")]
    _, result = study(tmp_path / "runs", "experiment=emo_superb", *settings)
    assert set(result["train"]["classes"]) == {"sad", "disgusted", "excited"} and result["train"]["n"] == 6
    assert [(row["of"], row["n"]) for row in result["ratings"]] == [("distribution", 3)]
