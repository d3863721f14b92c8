"""List every run of an experiment: state, time, folder, and missing inputs. Nothing is run or written.

    python scripts/plan.py experiment=melt_table out=runs [KEY=VALUE ...]

The time is that of training and testing. If `out` has finished runs of the same backbone, corpus, trainer and head, it
is their mean (=). Otherwise it is an estimate (~) from the audio, good to a factor of a few:

    audio      hours that `prepare` has measured, otherwise the release's utterances at 4 s each
    fine-tune  epochs · train audio / RATE                       + test audio / (3 · RATE)
    frozen     all audio of the corpus, once, / (3 · RATE)       + test audio / (3 · RATE)  + 2 % of it for each epoch
    probe      the same, without epochs

both for each fold. With trainer.crop_places, frozen takes several times as long, because each crop is computed. A
forward pass alone is a third of a step. RATE is seconds of audio a second that a base model is fine-tuned on: 100 on a
GPU (SpeechBrain's README: 3 min 14 s an epoch of wav2vec2-base on IEMOCAP, about 5.6 h of audio, on a V100 in float32)
and 2.5 on a CPU (benchmarks/README.md: 10 s for 8 clips of MELT's lengths on two cores).
A large model takes three times as long, a tiny one a twentieth.
"""

from __future__ import annotations

import functools
import sys
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

from omegaconf import DictConfig

from melt_ser.cli.compose import load_dataset, typed
from melt_ser.cli.failures import FAILED
from melt_ser.cli.launch import launch
from melt_ser.cli.sweep import overrides, visible_gpus
from melt_ser.config import BackboneConfig, Config, DatasetConfig, Method
from melt_ser.core import files
from melt_ser.core.errors import MeltSerError
from melt_ser.corpora.load import corpus_root
from melt_ser.evaluation.evaluation_sets import other_corpora
from melt_ser.models.checkpoint_files import is_cached
from melt_ser.reporting.preparation import read_reports
from melt_ser.runs.folder import INPUTS_FILE, RESULT_FILE, run_folder

RATE = {"cpu": 2.5, "cuda": 100.0}  # seconds of audio a second, fine-tuning a base model
FORWARD = 3.0  # a forward pass is this many times as fast as a training step
SIZES = {"large": 3.0, "emotion": 3.0, "tiny": 0.05}  # cost by the backbone's name; a base model costs 1
CLIP_SECONDS = 4.0  # assumed length of a clip, if the release was not prepared
EPOCH_OF_FEATURES = 0.02  # an epoch on cached features, as a share of a forward pass
FOLDS = 5  # assumed number, if only reading the corpus would tell it
PRINTED_ALIKE = ("experiment=", "out=")


load_dataset = functools.cache(load_dataset)  # read for every run


def hours(config: DatasetConfig) -> float:
    """Return the hours of audio in a corpus: measured, or from the number of utterances of its release."""
    if config.member_settings:
        return sum(map(hours, config.member_settings.values()))
    for report in read_reports(config.name):
        return float(report["hours"])
    return sum(config.expected.values()) * CLIP_SECONDS / 3600


def estimate(config: Config) -> float:
    """Return the seconds of a run by the formula above."""
    on_gpu = config.device.startswith("cuda") or (config.device == "auto" and bool(visible_gpus()))
    cost = next((factor for word, factor in SIZES.items() if word in config.backbone.name), 1.0)
    rate = RATE["cuda" if on_gpu else "cpu"] / cost
    audio = 3600 * hours(config.dataset)
    epochs = config.trainer.epochs if config.trainer.method is Method.gradient else 0
    numbered = str(config.dataset.folds).isdigit()
    folds = (int(str(config.dataset.folds)) if numbered else FOLDS) if config.dataset.fold == "all" else 1
    if config.trainer.freeze == "everything":
        training = audio / (FORWARD * rate) * (1 + folds * epochs * EPOCH_OF_FEATURES)
    else:
        training = folds * epochs * audio / rate
    return training + folds * 3600 * sum(map(hours, other_corpora(config, load_dataset))) / (FORWARD * rate)


def measured(config: Config, folder: Path) -> float | None:
    """Return the mean seconds of finished runs of this backbone, corpus, trainer and head; None without any."""
    seconds = []
    for path in folder.parent.glob(f"*/{RESULT_FILE}"):
        result: dict[str, Any] = files.read_json(path)
        of = result["config"]
        if (of["trainer"]["name"], of["head"]["name"]) == (config.trainer.name, config.head.name):
            seconds.append(result["run"]["seconds"])
    return mean(seconds) if seconds else None


def lacking(config: Config) -> list[str]:
    """Return the inputs that have to be fetched first."""
    backbone: BackboneConfig = config.backbone
    missing = [backbone.name] if backbone.checkpoint is not None and not is_cached(backbone) else []
    own = list(config.dataset.member_settings.values()) or [config.dataset]
    for corpus in (*own, *other_corpora(config, load_dataset)):
        corpus.root = corpus.root or config.eval.roots.get(corpus.name)
        try:
            corpus_root(corpus)
        except MeltSerError:
            missing.append(corpus.name)
    return list(dict.fromkeys(missing))


def state(folder: Path) -> str:
    for name, word in ((RESULT_FILE, "finished"), (FAILED, "failed"), (INPUTS_FILE, "begun")):
        if (folder / name).is_file():
            return word
    return "missing"


def clock(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60}:{minutes % 60:02} h"


def main() -> int:
    to_do: list[float] = []
    lacks: dict[str, int] = {}
    count = 0

    def plan(composed: DictConfig) -> None:
        nonlocal count
        config = typed(composed, Config)
        folder = run_folder(config)
        seconds = measured(config, folder)
        time = f"{'~' if seconds is None else '='}{clock(estimate(config) if seconds is None else seconds)}"
        settings = " ".join(part for part in overrides() if not part.startswith(PRINTED_ALIKE))
        missing = lacking(config)
        lack = f"  lacks {', '.join(missing)}" if missing else ""
        print(f"{state(folder):8} {time:>9}  {folder}  {settings}{lack}")
        count += 1
        if state(folder) != "finished":
            to_do.append(estimate(config) if seconds is None else seconds)
        for name in missing:
            lacks[name] = lacks.get(name, 0) + 1

    aside = f"hydra.sweep.dir={tempfile.gettempdir()}/melt_ser-plan"
    sys.argv += ["hydra/launcher=basic", "~hydra.callbacks.outcomes", aside]
    code = launch("config", plan)
    print(f"{count} runs, {count - len(to_do)} finished; {len(to_do)} to do, about {clock(sum(to_do))} one by one")
    for name, runs in lacks.items():
        print(f"not at hand: {name} ({runs} runs); python -m melt_ser.info says how to get it")
    return code


if __name__ == "__main__":
    sys.exit(main())
