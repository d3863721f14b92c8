"""Score a finished run on further corpora and add the rows to its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pandas as pd

from melt_ser.config import ClassifierConfig, ClassLoss, EvalConfig, EvaluateConfig, Target
from melt_ser.core import files
from melt_ser.core.console import say
from melt_ser.core.errors import InputError, SetupError
from melt_ser.core.package import expanded
from melt_ser.core.processes import is_main_process
from melt_ser.corpora.corpus import Corpus
from melt_ser.corpora.fold_split import SPLIT_COLUMNS
from melt_ser.corpora.labels import LabelSpace
from melt_ser.corpora.words import readable_by
from melt_ser.evaluation.evaluation_sets import EvaluationSet, make_evaluation_set, split_to_score
from melt_ser.evaluation.results import RERUN_HINT, Evaluation, RatingScore, Result, write_result
from melt_ser.models.families import check_trusted, find_family
from melt_ser.models.outputs import Outputs
from melt_ser.runs.evaluations import answers_of, evaluation_rows, unscored_entries, with_rows
from melt_ser.runs.folder import RESULT_FILE, model_folders, read_result
from melt_ser.runs.identity import settings_of
from melt_ser.runs.plan import RunPlan
from melt_ser.runs.warnings import warnings_of_scores, warnings_of_test_corpus

if TYPE_CHECKING:
    from melt_ser.data.datasets import ClipDataset
    from melt_ser.models.classifier import SpeechClassifier


@dataclass(frozen=True)
class FinishedSystem:
    """A finished run that `evaluate` scores on another corpus; `target` is the judgement that its model has learnt."""

    config: EvaluateConfig
    folder: Path
    target: Target

    def score(self, corpus: Corpus) -> Result:
        """Do as `rescore` does, from the result that is in the folder now: another `evaluate` may have added rows."""
        result = read_result(self.folder)
        corpus = readable_by(corpus, result.config["backbone"])
        result = rescore(self.folder, result, corpus, self.config.eval, self.config.device)
        evals, ratings = ([row for row in rows if row.corpus == corpus.name] for rows in (result.evals, result.ratings))
        scored = msgspec.structs.replace(result, evals=evals, ratings=ratings)
        for sentence in [*_about(corpus, result), *warnings_of_scores(scored)]:
            say(f"note: {sentence}")
        return result


def finished_system(config: EvaluateConfig) -> FinishedSystem:
    """Find the finished run that `config.run` names.

    Raises SetupError if there is none, if settings are for a published classifier, or if its family is the user's own
    module and `config.family` does not name it.
    """
    folder = expanded(config.run)
    if not folder.exists() and folder.parts[1:] and not folder.parts[2:]:
        raise SetupError(f"There is no run in {folder}; if it is a classifier of the hub, write run=hub:{folder}.")
    result = read_result(folder)
    if config.revision is not None or config.classifier != ClassifierConfig():
        raise SetupError(
            f"revision and classifier are for published classifiers, but {folder} is a run; leave them out."
        )
    model_folders(folder, result)  # refuses a result without models
    if config.family is not None:
        find_family(config.family, "family")
    check_trusted(result.config["backbone"]["family"], folder)
    return FinishedSystem(config, folder, Target(result.train.target))


def complete(plan: RunPlan, result: Result) -> Result:
    """Score the corpora of `eval.corpora` that a finished run lacks in `eval.precision`, or that have changed since.

    The reason for each unreadable corpus is noted.
    """
    _note_unscored(plan, result)
    _note_stated(plan, result)
    settings = plan.config.eval
    wanted = [(other, split_to_score(other, settings)) for other in plan.others]
    wanted += [(plan.reference, "test")] if plan.scores_itself else []
    missing = [(corpus, split) for corpus, split in wanted if not _is_scored(corpus, split, result, settings)]
    if not missing:
        say(f"already finished: {plan.folder} (force=true runs it again)")
        return result
    say(f"already trained: {plan.folder}; scoring {', '.join(corpus.name for corpus, _ in missing)}")
    for corpus, split in missing:
        of_split = settings if split == "all" else replace(settings, split=split)
        own = {fold.fold: fold.test for fold in plan.splits} if corpus is plan.reference else None
        result = rescore(plan.folder, result, corpus, of_split, plan.config.device, own)
    return result


def _is_scored(corpus: Corpus, split: str, result: Result, settings: EvalConfig) -> bool:
    """Return whether a result has rows of these very utterances and labels, in the precision of the settings."""
    rows: list[Evaluation | RatingScore] = [*result.evals, *result.ratings]
    return any(
        (row.corpus, row.split, row.precision) == (corpus.name, split, settings.precision)
        and row.digest in (corpus.digest, "")  # old results may have none
        for row in rows
    )


def _note_unscored(plan: RunPlan, result: Result) -> None:
    """Replace the result's entries of corpora that could not be read this time; keep the other entries."""
    before = result.unscored
    others = [entry for entry in before if entry.corpus not in plan.unscored]
    result.unscored = others + unscored_entries(plan.unscored)
    if result.unscored != before and is_main_process():
        write_result(plan.folder / RESULT_FILE, result)


def _note_stated(plan: RunPlan, result: Result) -> None:
    """Take over what the command states about corpus and checkpoint: it changes no score, but the card and `push`."""
    stated, is_new = settings_of(plan.config), False
    for group, key in (("dataset", "licence"), ("backbone", "licence"), ("backbone", "pretraining")):
        is_new |= result.config[group].get(key) != stated[group][key]
        result.config[group][key] = stated[group][key]
    if is_new and is_main_process():
        write_result(plan.folder / RESULT_FILE, result)


def rescore(
    folder: Path,
    result: Result,
    corpus: Corpus,
    settings: EvalConfig,
    device: str,
    own_tests: Mapping[int | None, pd.DataFrame] | None = None,
) -> Result:
    """Score every model of a finished run on a corpus; write and return the result with new rows in place of old ones.

    Args:
        folder, result: the finished run.
        corpus: the corpus to score.
        settings: `eval` of the configuration.
        device: auto, cpu, cuda or cuda:<number>.
        own_tests: the test part of each fold in the training corpus; None: those of the run's `splits.csv`.

    Raises InputError if recordings of the corpus were trained on (unless `eval.allow_overlap` is on), or if the run's
    own corpus has changed.
    """
    entries = [entry for entry in result.train.folds if own_tests is None or entry.fold in own_tests]
    paths = dict(model_folders(folder, result))
    models = [(entry.fold, paths[entry.fold]) for entry in entries]
    outputs, splits = outputs_of(result), _read_splits(folder / "splits.csv")
    evaluation_sets = [
        make_evaluation_set(
            corpus,
            trained_space(result),
            list(outputs.classes),
            settings,
            _trained(splits, fold),
            own_tests[fold] if own_tests else _own_test(splits, corpus, result, settings, fold),
            result.train.sentences if corpus.name != result.train.corpus else (),
            outputs.scales,
        )
        for fold, _ in models
    ]
    for scored in evaluation_sets:
        scored.notes = [*scored.notes, *_missing_folds(result, own_tests)]
    is_shared = result.config["trainer"].get("freeze") == "everything"  # the backbone is the same in every fold
    probabilities = _predict([path for _, path in models], is_shared, evaluation_sets, settings, device)
    if not is_main_process():
        return result
    answers = [
        answers_of(entry.fold, scored, found, outputs, entry.temperature)
        for entry, scored, found in zip(entries, evaluation_sets, probabilities, strict=True)
    ]
    of_old_scores = warnings_of_scores(result)
    with_rows(result, evaluation_rows(folder, answers, outputs))
    lasting = [sentence for sentence in result.warnings if sentence not in of_old_scores]
    result.warnings = list(dict.fromkeys([*lasting, *_about(corpus, result), *warnings_of_scores(result)]))
    result.unscored = [entry for entry in result.unscored if entry.corpus != corpus.name]
    root = corpus.config.root
    if root is not None and corpus.name != result.train.corpus:  # a report finds the audio of errors there
        result.config["eval"].setdefault("roots", {})[corpus.name] = root
    write_result(folder / RESULT_FILE, result)
    return result


def _missing_folds(result: Result, own_tests: Mapping[int | None, pd.DataFrame] | None) -> list[str]:
    """Return sentences on folds without a test part or a model: eval.reference may label other folds than before."""
    if own_tests is None:
        return []
    trained = [entry.fold for entry in result.train.folds]
    untested = ", ".join(str(fold) for fold in trained if fold not in own_tests)
    untrained = ", ".join(str(fold) for fold in own_tests if fold not in trained)
    sentences = [f"Fold {untested} is left out: its test part has no label (eval.reference)."] if untested else []
    if untrained:
        sentences.append(f"Fold {untrained} is left out: the run has no model of it; force=true trains every fold.")
    return sentences


def _about(corpus: Corpus, result: Result) -> list[str]:
    """Return the sentences about a test corpus; those about the training corpus have been in the result before."""
    return [] if corpus.name == result.train.corpus else warnings_of_test_corpus(corpus, result.config["backbone"])


def outputs_of(result: Result) -> Outputs:
    """Return the outputs of a run's models."""
    objective = result.config.get("objective", {})  # older results have none
    independent = bool(result.train.classes) and objective.get("class_loss") == ClassLoss.multi_label.value
    scales = {name: (low, high) for name, (low, high) in result.train.scales.items()}
    return Outputs(result.train.classes, scales, independent)


def _read_splits(path: Path) -> pd.DataFrame:
    """Read the part of each utterance in each fold; InputError if the file is damaged."""
    return files.read_csv(path, dict.fromkeys(SPLIT_COLUMNS, str), RERUN_HINT)[list(SPLIT_COLUMNS)]


def trained_space(result: Result) -> LabelSpace:
    """Return the label space that a run was trained in."""
    classes = result.config["labels"]["classes"]
    return LabelSpace("trained", classes or {name: [name] for name in result.train.classes})


def _predict(
    folders: list[Path], is_shared: bool, evaluation_sets: list[EvaluationSet], settings: EvalConfig, device: str
) -> list[np.ndarray]:
    """Return the probabilities of each model for its evaluation set, in every process.

    Models that share their backbone are computed together; others are in memory one at a time.
    """
    # These import torch; a result that needs no scores is shown without it.
    from melt_ser.models.export import load_model, share_backbones
    from melt_ser.runs.probabilities import predict_each
    from melt_ser.runs.utterances import read_utterances
    from melt_ser.training.device import make_accelerator

    accelerator = make_accelerator(device)
    loaded = (load_model(folder, accelerator.device) for folder in folders)
    probabilities: list[np.ndarray] = []
    for models in [share_backbones(loaded)] if is_shared else ([model] for model in loaded):
        first = models[0]

        def read(scored: EvaluationSet, first: SpeechClassifier = first) -> ClipDataset:
            return read_utterances(first, scored.table, scored.corpus)

        own = evaluation_sets[len(probabilities) :][: len(models)]
        which = "" if len(models) == len(folders) else f" by model {len(probabilities) + 1}/{len(folders)}"
        probabilities += predict_each(models, own, read, settings.batch_size, accelerator, which)
    return probabilities


def _trained(splits: pd.DataFrame, fold: int | None) -> pd.DataFrame:
    """Return the rows of a fold's train and dev parts."""
    return splits[(splits["fold"] == ("" if fold is None else str(fold))) & (splits["split"] != "test")]


def _own_test(
    splits: pd.DataFrame, corpus: Corpus, result: Result, settings: EvalConfig, fold: int | None
) -> pd.DataFrame | None:
    """Return the fold's own test part; None if the run was trained on another corpus."""
    if corpus.name != result.train.corpus or settings.split != "test":
        return None
    if corpus.digest != result.train.digest:
        words = result.config["dataset"].get("words")
        same_words = "" if words in (None, corpus.config.words) else f"give its words with dataset.words={words}, "
        raise InputError(
            f"This run was trained on '{corpus.name}', and its rows now differ from those of the training: {same_words}"
            "set dataset.name=<another> to score another corpus, or train again if the corpus itself has changed."
        )
    of_fold = splits[(splits["fold"] == ("" if fold is None else str(fold))) & (splits["split"] == "test")]
    return corpus.table[corpus.table["utterance"].isin(of_fold["utterance"])]
