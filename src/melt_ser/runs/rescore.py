"""Score a finished run on further corpora and append to its result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from melt_ser.config import EvalConfig
from melt_ser.core import files
from melt_ser.core.console import say
from melt_ser.core.errors import InputError
from melt_ser.core.processes import is_main_process
from melt_ser.corpora.corpus import Corpus
from melt_ser.corpora.fold_split import SPLIT_COLUMNS
from melt_ser.corpora.labels import LabelSpace
from melt_ser.evaluation.evaluation_sets import EvaluationSet, make_evaluation_set, split_to_score
from melt_ser.runs.folder import RESULT_FILE, model_folders
from melt_ser.runs.score import evaluation_rows, pool, prediction_table, unscored_entries

if TYPE_CHECKING:
    from melt_ser.runs.plan import RunPlan


def complete(study: RunPlan, result: dict[str, Any]) -> dict[str, Any]:
    """The result of a finished run, with what it lacks of `eval.corpora` now scored, or why it is not."""
    _note_unscored(study, result)
    settings = study.config.eval
    scored = {(row["corpus"], row["split"]) for row in result["evals"]}
    wanted = [(other, split_to_score(other, settings)) for other in study.others]
    wanted += [(study.corpus, "test")] if study.scores_itself else []
    missing = [(corpus, split) for corpus, split in wanted if (corpus.name, split) not in scored]
    if not missing:
        say(f"already finished: {study.folder} (force=true runs it again)")
        return result
    say(f"already trained: {study.folder}; scoring {', '.join(corpus.name for corpus, _ in missing)}")
    for corpus, split in missing:
        of_split = settings if split == "all" else replace(settings, split=split)
        result = rescore(study.folder, result, corpus, of_split, study.config.device)
    return result


def _note_unscored(study: RunPlan, result: dict[str, Any]) -> None:
    """Say in a result why corpora could not be scored this time; what it says of others stays."""
    before = result.get("unscored", [])
    result["unscored"] = [entry for entry in before if entry["corpus"] not in study.unscored]
    result["unscored"] += unscored_entries(study.unscored)
    if result["unscored"] != before and is_main_process():
        files.write_json(study.folder / RESULT_FILE, result)


def rescore(folder: Path, result: dict[str, Any], corpus: Corpus, settings: EvalConfig, device: str) -> dict[str, Any]:
    """Score every model of a finished run on a corpus; write and return the result with its rows replaced or added."""
    models = model_folders(folder, result)
    splits = _read_splits(folder / "splits.csv")
    targets = [
        make_evaluation_set(
            corpus,
            trained_space(result),
            result["train"]["classes"],
            settings,
            _trained(splits, fold),
            _own_test(splits, corpus, result, settings, fold),
        )
        for fold, _ in models
    ]
    classes = result["train"]["classes"]
    tables = _predict(models, targets, classes, settings, device)
    if not is_main_process():
        return result
    temperatures = [entry.get("temperature") for entry in result["train"]["folds"]]  # older runs have none
    rows = []
    for (fold, _), target, table, temperature in zip(models, targets, tables, temperatures, strict=True):
        rows += evaluation_rows(folder, target, table, classes, fold, temperature, len(models) > 1)
    if len(models) > 1:
        pooled, predictions, of_row = pool(targets, tables, [fold or 0 for fold, _ in models], temperatures)
        rows = evaluation_rows(folder, pooled, predictions, classes, "all", of_row) + rows
    kept = [row for row in result["evals"] if (row["corpus"], row["split"]) != (corpus.name, targets[0].split)]
    result["evals"] = kept + rows
    result["unscored"] = [entry for entry in result.get("unscored", []) if entry["corpus"] != corpus.name]
    files.write_json(folder / RESULT_FILE, result)
    return result


def _read_splits(path: Path) -> pd.DataFrame:
    """Which utterance a run had in which part."""
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)[list(SPLIT_COLUMNS)]
    except (OSError, ValueError, KeyError) as error:  # ValueError: what pandas cannot parse
        raise InputError(
            f"{path} cannot be read ({' '.join(str(error).split())}); run again with force=true."
        ) from error


def trained_space(result: dict[str, Any]) -> LabelSpace:
    """The label space that a run was trained in."""
    classes = result["config"]["labels"]["classes"]
    return LabelSpace("trained", classes or {name: [name] for name in result["train"]["classes"]})


def _predict(
    models: list[tuple[int | None, Path]],
    targets: list[EvaluationSet],
    classes: list[str],
    settings: EvalConfig,
    device: str,
) -> list[pd.DataFrame]:
    """The predictions of each model on its target, in every process."""
    from melt_ser.data.datasets import WaveformDataset
    from melt_ser.evaluation.inference import predict_probabilities
    from melt_ser.models.export import load_model
    from melt_ser.training.device import make_accelerator

    accelerator = make_accelerator(device)
    tables = []
    for (_, model_folder), target in zip(models, targets, strict=True):
        model = load_model(model_folder, accelerator.device)
        utterances = WaveformDataset(target.table, target.corpus.root, model.classes, model.backbone.do_normalize)
        probabilities = predict_probabilities(model, utterances, settings.batch_size, accelerator)
        tables.append(prediction_table(target, probabilities, classes))
    return tables


def _trained(splits: pd.DataFrame, fold: int | None) -> pd.DataFrame:
    """The rows of a fold's train and dev parts."""
    return splits[(splits["fold"] == ("" if fold is None else str(fold))) & (splits["split"] != "test")]


def _own_test(
    splits: pd.DataFrame, corpus: Corpus, result: dict[str, Any], settings: EvalConfig, fold: int | None
) -> pd.DataFrame | None:
    """The fold's own test part where the corpus is the one the run was trained on, else None."""
    if corpus.name != result["train"]["corpus"] or settings.split != "test":
        return None
    if corpus.digest != result["train"]["digest"]:
        raise InputError(
            f"This run was trained on '{corpus.name}', and these rows are others: set dataset.name=<another> to score "
            f"another corpus, or train again if the corpus itself has changed."
        )
    of_fold = splits[(splits["fold"] == ("" if fold is None else str(fold))) & (splits["split"] == "test")]
    return corpus.table[corpus.table["utterance"].isin(of_fold["utterance"])]
