"""Output folders, full disks, results, checkpoints of an interrupted run, and the cache of verifications."""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import soundfile

from bad_inputs import Expected, kept_folder, kind
from bad_inputs.corpora import GOOD_CLIPS, prepare, refused, train, typed, used
from bad_inputs.disks import enlarge, read_only, small_disk
from melt_ser.cli.compose import compose
from melt_ser.runs.run import run
from small_runs import corpus


@functools.cache
def _finished() -> Path:
    folder = kept_folder()
    run(compose(train(corpus(folder / "corpus"))[1:]))
    return folder


def finished_run(folder: Path) -> Path:
    """A finished run on the corpus beside it; gives the run folder."""
    shutil.copytree(_finished(), folder, dirs_exist_ok=True)
    return next(folder.glob("runs/*/*/*/result.json")).parent


def as_it_was(folder: Path) -> Expected:
    """The same command as before on a run folder, none of whose files may change; beside them is the reason."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def unchanged() -> None:
        after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert "run again with force=true" in json.loads(after.pop(folder / "failed.json"))["reason"]
        assert after == before

    return Expected(train(folder.parents[3] / "corpus"), 1, ["run again with force=true"], unchanged)


@kind
def a_result_that_is_not_json(folder: Path) -> Expected:
    run_folder = finished_run(folder)
    (run_folder / "result.json").write_text('{"schema_version": 1,')
    return as_it_was(run_folder)


@kind
def a_result_of_another_version(folder: Path) -> Expected:
    run_folder = finished_run(folder)
    result = json.loads((run_folder / "result.json").read_text())
    (run_folder / "result.json").write_text(json.dumps({**result, "schema_version": 99}))
    return as_it_was(run_folder)


@kind
def a_result_that_is_a_list(folder: Path) -> Expected:
    run_folder = finished_run(folder)
    (run_folder / "result.json").write_text('[{"schema_version": 1}]')
    return as_it_was(run_folder)


@kind
def a_result_without_its_metrics(folder: Path) -> Expected:
    run_folder = finished_run(folder)
    result = json.loads((run_folder / "result.json").read_text())
    del result["evals"][1]["macro_f1"]
    (run_folder / "result.json").write_text(json.dumps(result))
    return as_it_was(run_folder)


@kind
def a_result_of_another_shape_to_evaluate(folder: Path) -> Expected:
    run_folder = finished_run(folder)
    content = json.loads((run_folder / "result.json").read_text())
    content["config"]["labels"]["classes"] = []
    (run_folder / "result.json").write_text(json.dumps(content))
    command = ["evaluate", f"run={run_folder}", *typed(folder / "corpus"), "device=cpu"]
    return Expected(command, 1, ["result.json has no sound 'config.labels.classes'", "run again with force=true"])


@kind
def a_result_of_another_shape_to_predict_with(folder: Path) -> Expected:
    run_folder = finished_run(folder)
    result = json.loads((run_folder / "result.json").read_text())
    result["train"]["folds"] = [{"fold": None}]
    (run_folder / "result.json").write_text(json.dumps(result))
    command = ["predict", str(run_folder), str(folder / "corpus")]
    return Expected(command, 1, ["result.json has no sound 'train.folds[0].folder'", "run again with force=true"])


@kind
def a_mark_of_a_trained_fold_of_another_shape(folder: Path) -> Expected:
    run_folder = finished_run(folder)
    (run_folder / "result.json").unlink()
    (run_folder / "fold.json").write_text('{"best_epoch": 1, "dev_ua": "good", "seconds": 1.0}')
    return refused(train(folder / "corpus"), "fold.json has no sound 'dev_ua'; delete it to train that fold again")


@kind
def a_mark_of_a_begun_run_of_another_shape(folder: Path) -> Expected:
    run_folder = finished_run(folder)
    (run_folder / "result.json").unlink()
    (run_folder / "inputs.json").write_text('["csv"]')
    return refused(train(folder / "corpus"), "inputs.json has no sound 'content'; run again with force=true")


@kind
def a_run_without_a_result(folder: Path) -> Expected:
    run_folder = finished_run(folder)
    (run_folder / "result.json").unlink()
    command = ["evaluate", f"run={run_folder}", *typed(folder / "corpus")]
    return refused(command, "There is no finished run in", "it has no result.json", code=2)


@kind
def a_run_without_its_splits(folder: Path) -> Expected:
    run_folder = finished_run(folder)
    (run_folder / "splits.csv").unlink()
    command = ["evaluate", f"run={run_folder}", *typed(folder / "corpus"), "device=cpu"]
    return Expected(command, 1, ["splits.csv", "run again with force=true"], _result_intact(run_folder))


@kind
def a_damaged_checkpoint_of_an_interrupted_run(folder: Path) -> Expected:
    run_folder = finished_run(folder)
    for name in ("result.json", "fold.json"):
        (run_folder / name).unlink()
    checkpoint = run_folder / "checkpoints" / "epoch0001"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.pt").write_bytes(b"torn")
    return refused(train(folder / "corpus"), "The checkpoint", "cannot be read", "delete that folder")


@kind
def a_damaged_verification(folder: Path) -> Expected:
    """The cache lost its second half: it is made again, and no clip is lost."""
    root = corpus(folder / "corpus")
    stored = verification(root)
    content = stored.read_bytes()
    stored.write_bytes(content[: len(content) // 2])
    return used(root)


@kind
def a_torn_verification(folder: Path) -> Expected:
    root = corpus(folder / "corpus")
    verification(root).write_bytes(b"\0" * 100)
    return used(root)


def verification(root: Path) -> Path:
    """The stored verification of a corpus."""
    from melt_ser.config import DatasetConfig
    from melt_ser.corpora.load import load_corpus
    from melt_ser.corpora.verification import Measurements

    config = DatasetConfig(name="csv", reader="csv", root=str(root), table="table.csv")
    load_corpus(config)
    return next(Measurements(root).folder.glob("*.parquet"))


@kind
def a_cache_that_cannot_be_written(folder: Path) -> Expected:
    """That costs time, not the run."""
    (folder / "file").touch()
    os.environ["MELT_SER_CACHE"] = str(folder / "file")  # the tests' own_cache puts it back
    return used(corpus(folder / "corpus"), 0, GOOD_CLIPS, "note: the verification could not be kept in")


@kind
def a_file_in_place_of_the_output_folder(folder: Path) -> Expected:
    (folder / "runs").write_text("precious")

    def intact() -> None:
        assert (folder / "runs").read_text() == "precious"

    command = train(corpus(folder / "corpus"))
    return Expected(command, 2, ["cannot write", "runs", "Not a directory", "give another folder (out="], intact)


@kind
def an_output_folder_nobody_can_write(folder: Path) -> Expected:
    command = train(corpus(folder / "corpus"), "out=/proc/melt_ser")
    return Expected(command, 2, ["cannot write /proc/melt_ser", "give another folder (out="])


@kind
def a_read_only_output_folder(folder: Path) -> Expected:
    command = train(corpus(folder / "corpus"))
    (folder / "runs").mkdir()
    read_only(folder / "runs")
    return refused(command, "cannot write", "Read-only file system", code=2)


@kind
def a_full_disk_from_the_start(folder: Path) -> Expected:
    command = train(corpus(folder / "corpus"))
    disk = small_disk(folder / "runs", 16)
    (disk / "filler").write_bytes(b"0" * 12 * 1024)
    return refused(command, "cannot write", "No space left on device; free space there", code=2)


@kind
def a_disk_that_fills_during_a_checkpoint(folder: Path) -> Expected:
    """With more space the same command goes on and ends well."""
    root = corpus(folder / "corpus")
    disk = small_disk(folder / "runs", 300)

    def done_with_more_space() -> None:
        assert not list(disk.rglob("result.json")) and not list(disk.rglob(".checkpoint*"))
        enlarge(disk, 100_000)
        assert run(compose(train(root)[1:])).is_file()

    return Expected(train(root), 2, ["cannot write", "checkpoint", "free space there"], done_with_more_space)


@kind
def a_disk_that_is_full_when_a_result_grows(folder: Path) -> Expected:
    """`evaluate` appends to a finished result, which has to survive."""
    disk = small_disk(folder / "runs", 20_000)
    run_folder = finished_run(folder)
    shutil.copytree(folder / "corpus", folder / "other")
    fill(disk)
    command = ["evaluate", f"run={run_folder}", *typed(folder / "other", "dataset.name=other"), "device=cpu"]
    command.append("eval.allow_overlap=true")
    return Expected(command, 2, ["cannot write", "No space left on device"], _result_intact(run_folder))


def fill(disk: Path) -> None:
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(b"0" * 4096)


def _result_intact(run_folder: Path) -> Callable[[], None]:
    before = (run_folder / "result.json").read_bytes()

    def intact() -> None:
        assert (run_folder / "result.json").read_bytes() == before

    return intact


@kind
def a_result_in_whose_place_is_a_folder(folder: Path) -> Expected:
    run_folder = finished_run(folder)
    (run_folder / "result.json").unlink()
    (run_folder / "result.json").mkdir()
    command = ["predict", str(run_folder), str(folder / "corpus")]
    return Expected(command, 2, ["There is no finished run in"])


@kind
def a_damaged_head(folder: Path) -> Expected:
    run_folder = finished_run(folder)
    description = run_folder / "model" / "melt_ser.json"
    description.write_text(json.dumps({**json.loads(description.read_text()), "head": {"pooling": "average"}}))
    command = ["predict", str(run_folder), str(folder / "corpus")]
    return Expected(command, 2, ["melt_ser.json does not describe a model of ours"])


@kind
def a_finished_run_whose_corpus_has_changed(folder: Path) -> Expected:
    run_folder = finished_run(folder)
    (folder / "corpus" / "wav" / "s0_0.wav").write_bytes(b"")
    command = train(folder / "corpus")
    return Expected(command, 1, ["has changed since the run", "set force=true"], _result_intact(run_folder))


@kind
def a_finished_run_whose_audio_has_changed(folder: Path) -> Expected:
    """The same names and durations, other samples: another corpus."""
    run_folder = finished_run(folder)
    clip = folder / "corpus" / "wav" / "s0_0.wav"
    samples, rate = soundfile.read(clip)
    soundfile.write(clip, -samples, rate)
    says = ["Corpus 'csv' has changed since the run", "set force=true"]
    return Expected(train(folder / "corpus"), 1, says, _result_intact(run_folder))


@kind
def a_corpus_that_was_trained_on(folder: Path) -> Expected:
    run_folder = finished_run(folder)
    command = ["evaluate", f"run={run_folder}", *typed(folder / "corpus"), "eval.split=train", "device=cpu"]
    return Expected(command, 1, ["were trained on", "eval.allow_overlap=true"], _result_intact(run_folder))


@kind
def a_folder_without_audio(folder: Path) -> Expected:
    run_folder = finished_run(folder)
    (folder / "empty").mkdir()
    return Expected(
        ["predict", str(run_folder), str(folder / "empty"), str(folder / "corpus" / "wav"), "--format", "csv"],
        1,
        ["empty holds no audio files", "s3_5.wav,", "1 of 25 files could not be labelled"],
    )


@kind
def a_root_that_is_not_there(folder: Path) -> Expected:
    return refused(prepare(folder / "nowhere"), "Corpus 'csv' is not at", "dataset.root=<folder>", code=2)
