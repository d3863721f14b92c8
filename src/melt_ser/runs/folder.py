"""Find the folder of a run and read its files.

    <out>/<backbone>/<dataset>/<run id>/
        config.yaml  inputs.json  splits.csv  predictions/<corpus>.csv  figures/  result.json
        metrics.csv  dev.csv  model/  fold.json   with dataset.fold=all, these are in folds/<k>/ for each fold
        model/README.md  model/figures/   the model card of the run, also with dataset.fold=all
        slurm_job.txt   the Slurm job that began the run with force=true
        probe.csv  probe.json  probe.safetensors   of trainer=probe, in place of metrics.csv
    <out>/<backbone>/<dataset>/<run id>.previous/   the finished run, while force=true runs it again

The run id (identity.py) hashes the resolved configuration without infrastructure and without `eval`, so the same
settings, typed in any way, lead to the same folder.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pandas as pd
import yaml

from melt_ser.config import Config
from melt_ser.core import files
from melt_ser.core.console import say
from melt_ser.core.errors import InputError, SetupError, first_line
from melt_ser.core.package import expanded
from melt_ser.core.places import named, refuse_unfit_name
from melt_ser.evaluation.result_files import load_result
from melt_ser.evaluation.results import RERUN_HINT, Inputs, Result
from melt_ser.runs.identity import Settings, identity, plain

RESULT_FILE, INPUTS_FILE = "result.json", "inputs.json"  # the marks of a finished and of a started run
CONFIG_FILE = "config.yaml"
PREVIOUS = ".previous"
JOB_FILE = "slurm_job.txt"  # the Slurm job that began the run with force=true


def run_folder(config: Config) -> Path:
    """Return the folder of a run; SetupError if the backbone or the corpus has a name that cannot name a folder."""
    for key, name in (("backbone.name", config.backbone.name), ("dataset.name", config.dataset.name)):
        refuse_unfit_name(key, name)
    return expanded(config.out) / config.backbone.name / config.dataset.name / identity(config)


def previous_folder(folder: Path) -> Path:
    """Return the folder that keeps the finished run while `force=true` runs it again."""
    folder = named(folder)
    return folder.with_name(folder.name + PREVIOUS)


def set_aside(folder: Path) -> None:
    """Empty a run folder: move a finished run to `previous_folder`, and delete an unfinished one."""
    if not (folder / RESULT_FILE).is_file():
        shutil.rmtree(folder, ignore_errors=True)
        return
    previous = previous_folder(folder)
    shutil.rmtree(previous, ignore_errors=True)  # the run in `folder` has replaced it
    with files.telling_failed_writes(previous):
        os.replace(folder, previous)
    say(f"the finished run stays in {previous} until the new run is finished")


def note_job(folder: Path) -> None:
    """Note in a run folder that this Slurm job began the run; do nothing outside Slurm."""
    if "SLURM_JOB_ID" in os.environ:
        files.write_text(folder / JOB_FILE, os.environ["SLURM_JOB_ID"])


def begun_by_this_job(folder: Path) -> bool:
    """Return whether this Slurm job began the run and was queued again since; `force=true` then goes on with it."""
    path = folder / JOB_FILE
    was_queued_again = os.environ.get("SLURM_RESTART_COUNT", "0") != "0"
    return was_queued_again and path.is_file() and path.read_text(encoding="utf-8") == os.environ.get("SLURM_JOB_ID")


def goes_on(folder: Path, force: bool) -> bool:
    """Return whether a command uses the files that it finds in a run folder; `force=true` begins anew."""
    return not force or begun_by_this_job(folder)


def read_result(folder: Path) -> Result:
    """Read the result of a finished run; SetupError if there is none, InputError if it is not sound."""
    path, previous = folder / RESULT_FILE, previous_folder(folder)
    if not path.is_file():
        before = f"; the run before it is in {previous}" if previous.is_dir() else ""
        raise SetupError(f"There is no finished run in {folder}: it has no result.json{before}.")
    result: Result = load_result(path, Result)
    sizes = ({len(row.classes), len(row.confusion), *map(len, row.confusion)} for row in result.evals)
    if not all(len(size) == 1 and size != {0} for size in sizes):
        raise InputError(f"{path} has a confusion matrix that does not fit its classes; {RERUN_HINT}.")
    return result


def read_inputs(folder: Path) -> Inputs:
    """Read the inputs that a run started with; InputError if the file is not sound."""
    inputs: Inputs = files.read_typed(folder / INPUTS_FILE, Inputs, RERUN_HINT)
    return inputs


def write_settings(folder: Path, config: Config) -> None:
    """Write `config.yaml`."""
    files.write_text(folder / CONFIG_FILE, yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True))


def read_settings(folder: Path) -> Settings:
    """Read `config.yaml` as plain values, {} if there is none; InputError if it is damaged."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        return {}
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise ValueError("no settings")
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read ({first_line(error)}); delete it, and it is written again.") from None
    return settings


def model_folders(folder: Path, result: Result) -> list[tuple[int | None, Path]]:
    """Return the model folders of a finished run, each with the number of its fold (None: the release's own split).

    Raises SetupError if the result is of a published classifier: its model is not in the folder.
    """
    if result.is_published:
        checkpoint = result.config["backbone"]["checkpoint"]
        raise SetupError(
            f"{folder} has the scores of {checkpoint}, and no model; to score it on another corpus, give evaluate the "
            "same run= as before, and to label files, use the pipeline of transformers."
        )
    return [(entry.fold, folder / entry.folder / "model") for entry in result.train.folds]


def read_epochs(folder: Path) -> pd.DataFrame:
    """Read the table of epochs that a fold wrote, maybe before a stop; InputError if it is damaged."""
    path = folder / "metrics.csv"
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({first_line(error)}); {RERUN_HINT}.") from None
