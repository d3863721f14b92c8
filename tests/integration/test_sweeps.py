"""Sweeps: an experiment fixes a study, only missing runs are made, and a failed job stops no other, on any launcher."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf

from checkout import CHECKOUT
from corpus_trees import MELD_FOLDERS, MELT_COLUMNS, iemocap_session, tone, write_rows
from melt_ser.cli.compose import load_config
from melt_ser.cli.sweep import _first_free
from melt_ser.core.package import conf_folder
from melt_ser.corpora.verification import verify
from melt_ser.info import names
from melt_ser.report import main as report
from naming_cases_english import CREMA_D, RAVDESS, TESS
from small_runs import SMALL, corpus
from small_texts import write_text_encoder

SCRIPTS = CHECKOUT / "scripts"
TINY = [override for override in SMALL if not override.startswith("backbone=")]
SPEECH_AND_TEXT = "## Speech and text together"
STUDY = """# @package _global_
defaults:
  - override /dataset: demo
eval:
  corpora: [demo, demo_de]
experiment_name: small
hydra:
  mode: MULTIRUN
  sweeper:
    params:
      backbone: hubert_tiny_random,wavlm_tiny_random
      dataset: demo,demo_de
      seed: 0,1
"""


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start `train` as a user does."""
    command = [sys.executable, "-m", "melt_ser.train", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env={**os.environ, **environment})


def sweep(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run `train`; return its exit code and standard error."""
    process = start(*arguments, **environment)
    _, said = process.communicate()
    return process.returncode, said


def summary(said: str) -> str:
    """Return the last line of a sweep."""
    return next(line for line in said.splitlines() if line.startswith("sweep: "))


def results(out: Path) -> dict[Path, int]:
    """Return the finished runs with the time at which each was finished."""
    return {path: path.stat().st_mtime_ns for path in out.glob("*/*/seed*/result.json")}


ONE_JOB = {"emodb_speakers", "is2025", "odyssey2024"}  # experiments that sweep over nothing


@pytest.mark.parametrize("name", names("experiment"))
def test_every_experiment_composes_and_sweeps_over_known_names(name: str) -> None:
    pinned = OmegaConf.load(conf_folder() / "experiment" / f"{name}.yaml")
    sweeper = OmegaConf.select(pinned, "hydra.sweeper.params") or {}
    chosen = {key: str(values).split(",") for key, values in sweeper.items()}
    config = load_config(f"experiment={name}", *(f"{key}={values[0]}" for key, values in chosen.items()))
    assert config.experiment_name == name
    for group in ("backbone", "dataset", "eval"):
        assert set(chosen.get(group, [])) <= set(names(group))
    assert set(chosen.get("dataset.left_out", [])) <= set(pinned.get("dataset", {}).get("members", []))
    assert set(config.eval.corpora or []) <= set(names("dataset"))
    assert bool(chosen) == (name not in ONE_JOB)
    if "eval" in chosen:
        spaces = {load_config(f"experiment={name}", f"eval={option}").labels.name for option in chosen["eval"]}
        assert spaces == {"seven", "six", "four"}


@pytest.mark.slow
def test_a_sweep_over_trainers_gives_each_its_own_head(tmp_path: Path) -> None:
    root, out = corpus(tmp_path / "c"), tmp_path / "runs"
    own = [override for override in SMALL if "epochs" not in override]
    own += ["dataset=csv", f"dataset.root={root}", "dataset.table=table.csv", f"out={out}"]
    code, said = sweep("--multirun", "trainer=probe,frozen", "seed=0,1", *own)
    assert code == 0, said
    assert summary(said) == "sweep: 4 finished, 0 skipped, 0 failed"
    configs = [json.loads(path.read_text())["config"] for path in results(out)]
    heads = Counter((config["trainer"]["name"], config["head"]["name"]) for config in configs)
    assert heads == {("probe", "probe"): 2, ("frozen", "statistics"): 2}
    code, said = sweep("--multirun", "trainer=probe,frozen", "seed=0,1", *own)
    assert (code, summary(said)) == (0, "sweep: 0 finished, 4 skipped, 0 failed")
    shown = re.findall(r"^  trainer=(\w+) seed=(\d): csv (\d+\.\d)$", said, re.MULTILINE)
    stored = [json.loads(path.read_text()) for path in results(out)]
    assert len(shown) == 4 and sorted(shown) == sorted(
        (each["config"]["trainer"]["name"], str(each["config"]["seed"]), f"{100 * each['evals'][0]['ua']:.1f}")
        for each in stored
    )


@pytest.mark.slow
def test_a_sweep_is_completed_after_a_kill_and_grows_by_a_seed(tmp_path: Path) -> None:
    """Two families, two training corpora, two seeds, both test corpora."""
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "small.yaml").write_text(STUDY)
    out = tmp_path / "runs"
    typed = [
        "--config-dir",
        str(tmp_path / "conf"),
        "experiment=small",
        *TINY,
        "trainer.crop_seconds=0.3",
        f"out={out}",
    ]
    process = start(*typed)
    while len(results(out)) < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = results(out)
    assert 3 <= len(before) < 8

    code, said = sweep(*typed)
    assert code == 0, said
    assert summary(said) == f"sweep: {8 - len(before)} finished, {len(before)} skipped, 0 failed"
    complete = results(out)
    assert len(complete) == 8 and before.items() <= complete.items()
    assert Counter(path.parts[-4:-2] for path in complete) == dict.fromkeys(
        itertools.product(("hubert_tiny_random", "wavlm_tiny_random"), ("demo", "demo_de")), 2
    )
    for path in complete:
        result = json.loads(path.read_text())
        assert {row["corpus"] for row in result["evals"]} == {"demo", "demo_de"}
        assert result["run"]["experiment"] == "small"

    planned = subprocess.run(
        [sys.executable, SCRIPTS / "plan.py", *typed, "seed=0,1,2"], capture_output=True, text=True
    )
    lines = planned.stdout.splitlines()
    assert Counter(line.split()[0] for line in lines[:-1]) == {"finished": 8, "missing": 4}
    assert all(re.search(r" =0:0\d h ", line) for line in lines[:-1]), "measured, since similar runs are finished"
    assert lines[-1].startswith("12 runs, 8 finished; 4 to do, about 0:0")

    code, said = sweep(*typed, "seed=0,1,2")
    assert code == 0, said
    assert summary(said) == "sweep: 4 finished, 8 skipped, 0 failed"
    grown = results(out)
    assert complete.items() <= grown.items() and len(grown) == 12


@pytest.mark.slow
def test_a_failed_job_of_a_sweep_leaves_its_reason_and_stops_no_other_job(tmp_path: Path) -> None:
    out, root = tmp_path / "runs", tmp_path / "mine"
    typed = ["--multirun", *SMALL, "dataset=csv,demo_de", f"dataset.root={root}", "dataset.table=table.csv"]
    code, said = sweep(*typed, f"out={out}")
    assert code == 2
    assert summary(said) == "sweep: 1 finished, 0 skipped, 1 failed"
    assert "failed: dataset=csv: Corpus 'csv' is not at" in said
    [path] = out.glob("hubert_tiny_random/csv/*/failed.json")
    failed = json.loads(path.read_text())
    assert failed["reason"].startswith("Corpus 'csv' is not at") and failed["exit_code"] == 2
    assert failed["run"] == path.parent.name and "dataset=csv" in failed["command"].split()

    corpus(root)
    code, said = sweep(*typed, f"out={out}")
    assert code == 0, said
    assert summary(said) == "sweep: 1 finished, 1 skipped, 0 failed"
    assert not path.exists() and (path.parent / "result.json").is_file()
    assert not list((out / ".sweep").glob("outcomes-*"))


def installed(launcher: str) -> None:
    """Skip the test if the extra of a launcher is not installed."""
    for module in (f"hydra_plugins.hydra_{launcher}_launcher", launcher):
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            pytest.skip(f"pip install 'melt-ser[{launcher}]' for this")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "settings"),
    [
        ("joblib", ["hydra.launcher.n_jobs=2"]),
        ("submitit_local", ["hydra.launcher.timeout_min=60"]),
        ("ray", ["+hydra.launcher.ray.init.num_cpus=2", "+hydra.launcher.ray.init.include_dashboard=false"]),
    ],
)
def test_jobs_in_several_processes_wait_for_each_other_and_report_their_outcomes(
    launcher: str, settings: list[str], tmp_path: Path
) -> None:
    """Two jobs share a run folder and the caches; a third fails."""
    installed(launcher.removesuffix("_local"))
    out = tmp_path / "runs"
    typed = ["--multirun", f"hydra/launcher={launcher}", *settings, *SMALL, f"out={out}"]
    typed += ["eval.corpora=[demo],[demo_de]"]
    code, said = sweep(*typed, "dataset=demo_de", RAY_USAGE_STATS_ENABLED="0")
    assert code == 0, said
    assert summary(said) == "sweep: 2 finished, 0 skipped, 0 failed"
    [path] = results(out)
    assert {row["corpus"] for row in json.loads(path.read_text())["evals"]} == {"demo", "demo_de"}

    code, said = sweep(*typed, "dataset=demo_de,emodb", RAY_USAGE_STATS_ENABLED="0")
    assert code == 2
    assert summary(said) == "sweep: 0 finished, 2 skipped, 2 failed"
    assert "failed: " in said and "Corpus 'emodb' is not at" in said


def test_jobs_of_a_sweep_that_run_side_by_side_hold_a_gpu_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (first, held), (second, other) = _first_free(["0", "1"]), _first_free(["0", "1"])
    assert (first, second) == ("0", "1")
    threading.Timer(0.2, other.release).start()
    third, again = _first_free(["0", "1"])  # waits for the timer
    assert third == "1"
    for lock in (held, again):
        lock.release()


def test_a_verification_waits_for_another_one_and_does_not_repeat_it(tmp_path: Path) -> None:
    root = corpus(tmp_path / "c")
    table = pd.DataFrame({"audio": sorted(f"wav/{path.name}" for path in (root / "wav").iterdir())})
    table[["start", "end"]] = float("nan")
    decoded: list[int] = []

    def counting(outcomes: Any, total: int) -> Any:
        decoded.append(total)
        return outcomes

    threads = [threading.Thread(target=verify, args=(root, table), kwargs={"progress": counting}) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert decoded == [24]


@pytest.mark.slow
def test_the_plan_of_the_papers_table_lists_every_run_and_writes_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [SCRIPTS / "reproduce_melt_table.sh", "--dry-run", "device=cuda", f"out={tmp_path / 'runs'}"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHON": sys.executable},
    )
    assert done.returncode == 0, done.stderr
    runs = [line for line in done.stdout.splitlines() if line.startswith("missing ")]
    assert len(runs) == len({line.split()[3] for line in runs}) == 4 * 5 * 2
    assert all(re.search(r" ~\d+:\d\d h ", line) for line in runs)
    assert "not at hand: iemocap (16 runs)" in done.stdout
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def melt_data(tmp_path: Path, shared_data: Path) -> Path:
    """Make the six releases in small: rows of the released MELT files, with a tone of its own pitch for each."""
    pitches = itertools.count(200)

    def write(path: Path) -> None:
        tone(path, seconds=0.3, frequency=next(pitches))

    data = tmp_path / "data"
    for split, dialogues in (("train", 16), ("test", 6)):
        released = pd.read_csv(shared_data / "melt" / f"meld_{split}.csv", dtype=str, keep_default_na=False)
        drawn = released["Dialogue_ID"].drop_duplicates().sample(dialogues, random_state=0)
        rows = released[released["Dialogue_ID"].isin(drawn)]
        write_rows(data / "melt" / f"meld_{split}.csv", MELT_COLUMNS, rows[MELT_COLUMNS].to_numpy().tolist())
        for name in rows["filename"]:
            write(data / "melt" / MELD_FOLDERS[split] / name)
    (data / "melt_human").symlink_to(data / "melt")
    for name, paths in (("ravdess", RAVDESS.tree[::3]), ("tess", TESS.tree), ("crema_d", CREMA_D.tree[::6])):
        for path in paths:
            write(data / name / path)
    for session in range(1, 6):
        iemocap_session(data / "iemocap", session, ["ang", "hap", "exc", "neu", "sad", "fru"], write)
    return data


@pytest.mark.slow
def test_the_sweep_of_the_melt_table_in_small(melt_data: Path, tmp_path: Path) -> None:
    """Sweep over both label sources, both conditions and all six test corpora, from the released annotations."""
    out = tmp_path / "runs"
    typed = ["experiment=melt_table", *SMALL, "trainer.crop_seconds=0.3", f"out={out}"]
    aside = tmp_path / "aside"
    aside.mkdir()
    for name in ("crema_d", "tess"):
        (melt_data / name).rename(aside / name)
    code, said = sweep(*typed, MELT_SER_DATA=str(melt_data))
    assert code == 2
    assert summary(said) == "sweep: 4 finished, 0 skipped, 6 failed"
    assert "Corpus 'crema_d' is not at" in said  # the only test corpus of four runs: they are not made
    assert "tess could not be scored" in said  # one of four test corpora of two runs
    assert len(results(out)) == 6
    for name in ("crema_d", "tess"):
        (aside / name).rename(melt_data / name)
    code, said = sweep(*typed, MELT_SER_DATA=str(melt_data))
    assert code == 0, said
    assert summary(said) == "sweep: 6 finished, 4 skipped, 0 failed"
    assert said.count("already trained") == 2
    scored = Counter()
    sizes: dict[tuple[str, str, bool], int] = {}
    for path in results(out):
        result = json.loads(path.read_text())
        config = result["config"]
        source = config["dataset"]["name"]
        scored.update((source, row["corpus"], row["n"]) for row in result["evals"] if row["answer_set"] == "closed")
        sizes[source, config["labels"]["name"], config["dataset"]["both_labels"]] = result["train"]["n"]
    tests = {corpus for _, corpus, _ in scored}
    assert tests == {"melt", "melt_human", "tess", "ravdess", "iemocap", "crema_d"}
    for corpus_name in tests:
        assert len({n for _, corpus, n in scored if corpus == corpus_name}) == 1, "the same rows for both sources"
    assert sizes["melt", "four", True] == sizes["melt_human", "four", True]
    assert sizes["melt", "four", True] < min(sizes["melt", "four", False], sizes["melt_human", "four", False])


@pytest.mark.slow
def test_the_report_of_the_melt_table_has_the_words_alone_and_speech_with_words(
    melt_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, encoder = tmp_path / "runs", write_text_encoder(tmp_path / "words")
    small = ["trainer.epochs=1", "trainer.refit=false", "device=cpu", f"out={out}"]
    for typed in (
        ["experiment=melt_table", *SMALL, "eval=melt_seven", "trainer.crop_seconds=0.3"],
        ["experiment=melt_text", f"backbone.checkpoint={encoder}", "backbone.name=words"],
    ):
        code, said = sweep(*typed, *small, MELT_SER_DATA=str(melt_data))
        assert code == 0, said
    assert report([str(out)]) == 0
    page = capsys.readouterr().out.replace("\\", "")
    alone, both = (page.partition(f"{title}\n")[2].partition("\n## ")[0] for title in ("### words", SPEECH_AND_TEXT))
    assert [line.split(" | ")[0] for line in alone.splitlines() if "**" in line] == ["| melt", "| melt_human"]
    rows = [line.strip("| ").split(" | ") for line in both.splitlines() if line.startswith("| hubert")]
    sources = ("melt", "melt_human")
    pairs = {(trained, f"{tested} (test)") for trained in sources for tested in sources}
    assert {tuple(row[2:4]) for row in rows if row[4] == "0.5"} == pairs
    assert {tuple(row[2:4]) for row in rows if row[4].endswith("(dev)")} == pairs
