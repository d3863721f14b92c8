"""Run a search from its command to its report, alone or with workers."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence

from omegaconf import DictConfig

from melt_ser.cli.own_checkpoint import DEFAULT_OF, is_read
from melt_ser.cli.sweep import VISIBLE, overrides, visible_gpus
from melt_ser.config import Method, Target
from melt_ser.core.console import say
from melt_ser.core.counting import counted
from melt_ser.core.errors import InputError
from melt_ser.core.files import sha256
from melt_ser.core.package import expanded
from melt_ser.core.places import refuse_unfit_name
from melt_ser.core.processes import cores
from melt_ser.models.checkpoint_files import weights_digest
from melt_ser.runs.identity import identity
from melt_ser.tuning.search import check_space, search
from melt_ser.tuning.space import default_space, read_space
from melt_ser.tuning.study import Study, storage_url
from melt_ser.tuning.study_report import report
from melt_ser.tuning.trial import Trainer, checked, search_plan

TRIALS = 20  # unless --trials or --hours says more
STARTED_BY_WORKERS = "--one-of-several"


def run_search(composed: DictConfig, options: argparse.Namespace, command: Sequence[str]) -> None:
    """Search, and report the study.

    Args:
        composed: the configuration of the command.
        options: those of tune.
        command: all words of the command, for the workers.

    Raises SetupError if a setting or the space is wrong, and InputError at the end if trials have failed.
    """
    config, words = checked(composed), overrides()
    path = expanded(options.space) if options.space else default_space(config.trainer)
    space = read_space(path).without(keys_set_by(words, composed))
    is_worker = options.one_of_several
    plan = search_plan(config)
    if not options.space and plan.corpus.target is Target.attributes:
        space = space.without(["trainer.method"])  # a probe of attributes has one method
    if not is_worker:  # the process that started it has done so
        check_space(space, words, plan.corpus.target)
    settings = identity(config)
    digest = sha256(settings + space.digest)[:8]
    name = options.study or f"{config.backbone.name}-{config.dataset.name}-{config.trainer.name}-{digest}"
    refuse_unfit_name("--study", name)
    folder = expanded(config.out) / "tune" / name
    inputs = {
        "settings": settings,
        "space": space.digest,
        "corpus": plan.corpus.digest,
        "weights": weights_digest(config.backbone),
    }
    is_probe = config.trainer.method is not Method.gradient
    prune_after = None if options.no_pruning or (is_probe and plan.one_model) else config.trainer.epochs // 5
    url = storage_url(options.storage, folder)
    study = Study(folder, url, space, inputs, config.seed, prune_after, plan.dev_metric)
    trials = options.trials if options.trials is not None else None if options.hours is not None else TRIALS
    if not is_worker:
        trials_so_far = counted(study.count(), "trial")
        say(f"study: {folder} ({trials_so_far} so far; searched: {', '.join(space.settings)}; {path})")
    if options.workers > 1 and trials != 0:
        _run_workers(options.workers, command)
    else:
        search(study, Trainer(plan, folder), words, trials, options.hours)
    if not is_worker:
        report(study, plan, words)


def keys_set_by(words: Sequence[str], composed: DictConfig) -> set[str]:
    """Return the keys that a command sets, with each setting that takes its value from a default of `backbone` there.

    composed: the configuration of the command.
    """
    typed = {word.partition("=")[0].lstrip("+~") for word in words}
    return typed | {reader for key, reader in DEFAULT_OF.items() if key in typed and is_read(composed, key)}


def _run_workers(number: int, command: Sequence[str]) -> None:
    """Start workers with the same command, and wait for them; InputError if one of them fails.

    The workers share the cores of the machine, and its GPUs take turns.
    """
    gpus = visible_gpus()
    threads = max(1, cores() // number)
    workers = []
    try:
        for place in range(number):
            environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
            if len(gpus) > 1:
                environment[VISIBLE] = gpus[place % len(gpus)]
            words = [*command, "--workers", "1", STARTED_BY_WORKERS]
            workers.append(subprocess.Popen([sys.executable, "-m", "melt_ser.tune", *words], env=environment))
        codes = [worker.wait() for worker in workers]
    finally:
        for worker in workers:
            worker.terminate()  # does nothing to those that have ended
        for worker in workers:
            worker.wait()
    if any(codes):
        raise InputError(
            f"{sum(map(bool, codes))} of {number} workers stopped early (see above); the same command goes on."
        )
