"""The part of a model card that programs read: the front matter with `model-index`, and the hub's `.eval_results`.

Formats: github.com/huggingface/hub-docs, modelcard.md and eval_results.yaml. huggingface_hub's classes check them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from melt_ser.core.vocabulary import READ_WORDS
from melt_ser.evaluation.metrics import METRICS
from melt_ser.evaluation.results import Evaluation, Result
from melt_ser.runs.origins import starts_from_checkpoint, training_corpora

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

HUB_METRICS: dict[str, tuple[str, dict[str, str]]] = {
    "ua": ("recall", {"average": "macro"}),
    "wa": ("accuracy", {}),
    "macro_f1": ("f1", {"average": "macro"}),
    "weighted_f1": ("f1", {"average": "weighted"}),
}
"""The names and arguments that the hub has for our metrics; another metric keeps its own name."""


def card_data(result: Result, name: str, loads_in_transformers: bool, licence: str | None = None) -> ModelCardData:
    """Return the front matter of a card.

    Args:
        result: the finished run.
        name: the model's name.
        loads_in_transformers: whether a class of transformers has backbone and head.
        licence: the hub's identifier of the licence that the model's owner chose; None: none was chosen.
    """
    from huggingface_hub import ModelCardData

    corpora = training_corpora(result).values()
    repositories = sorted({corpus["repository"] for corpus in corpora if corpus.get("repository")})
    entries = [entry for row in result.closed_evals() for entry in _entries(row, result)]
    kinds = sorted({HUB_METRICS[metric][0] for metric in METRICS if metric in HUB_METRICS})
    return ModelCardData(
        language=sorted({corpus["language"] for corpus in corpora if corpus.get("language")}) or None,
        license=licence or "other",
        license_name=None if licence else "not-settled",
        library_name="transformers" if loads_in_transformers else "melt_ser",
        pipeline_tag=_task(result),
        tags=["speech-emotion-recognition", "melt_ser", result.config["backbone"]["family"]],
        base_model=_hub_checkpoint(result),
        datasets=repositories or None,
        metrics=kinds if entries else None,
        model_name=name,
        eval_results=entries or None,  # a model of attributes alone has none
    )


def _task(result: Result) -> str:
    """Return the hub's name of the model's task."""
    reads_words = result.config["backbone"]["family"] in READ_WORDS
    return "text-classification" if reads_words else "audio-classification"


def benchmark_files(result: Result) -> dict[str, str]:
    """Return the files of `.eval_results`, {name: YAML}: one for each scored corpus that is a data set of the hub.

    The value is the UA of the test. A score on recordings that the model learned from has no file. The hub shows it if
    the data set is registered there as a benchmark.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    corpora, found = training_corpora(result), {}
    for row in result.closed_evals():
        corpus = corpora.get(row.corpus, {})
        if not corpus.get("repository") or row.overlap:
            continue
        entry = EvalResultEntry(
            dataset_id=corpus["repository"],
            task_id=corpus.get("subset") or "default",
            dataset_revision=corpus.get("revision"),
            value=_rounded(row.known_value("ua")),
            notes=f"{METRICS['ua'].label} (mean recall over the classes); {_scope(row)}{_interval_note(row)}",
        )
        text = yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False, allow_unicode=True)
        found[f"{row.corpus}.yaml"] = text
    return found


def unit_of(row: Evaluation) -> str:
    """Return the unit that a row's intervals are over: speakers or utterances."""
    return f"{row.ci_unit}s"


def _entries(row: Evaluation, result: Result) -> list[EvalResult]:
    """Return an entry of `model-index` for each metric of a row."""
    from huggingface_hub import EvalResult

    corpus = training_corpora(result).get(row.corpus, {})
    entries = []
    for name, metric in METRICS.items():
        value = row.value(name)
        if value is None:
            continue
        kind, arguments = HUB_METRICS.get(name, (name, {}))
        bounds = row.interval(name)
        interval = {"ci95": [_rounded(bound) for bound in bounds], "ci95_over": unit_of(row)} if bounds else {}
        entries.append(
            EvalResult(
                task_type=_task(result),
                task_name="Speech emotion recognition",
                dataset_type=corpus.get("repository") or row.corpus,
                dataset_name=row.corpus,
                dataset_config=corpus.get("subset"),
                dataset_split=row.split,
                dataset_revision=corpus.get("revision"),
                dataset_args={"folds": _scope(row), "utterances": row.n, "digest": row.digest},
                metric_type=kind,
                metric_value=_rounded(value),
                metric_name=metric.label,
                metric_args={**arguments, **interval} or None,
            )
        )
    return entries


def _scope(row: Evaluation) -> str:
    """Return what a row is over: the split "test", "fold 2", "all folds pooled", or "mean of 5 models"."""
    scopes: dict[Any, str] = {
        None: f"split {row.split}",
        "all": "all folds pooled",
        "mean": f"mean of {row.models} models",
    }
    return scopes.get(row.fold, f"fold {row.fold}")


def _interval_note(row: Evaluation) -> str:
    bounds = row.interval("ua")
    if bounds is None:
        return ""
    low, high = map(_rounded, bounds)
    return f"; 95 % interval {low} to {high} over {unit_of(row)}"


def _hub_checkpoint(result: Result) -> str | None:
    """Return the id of the checkpoint if it is one of the hub."""
    is_of_hub = (result.train.weights or "").startswith("commit:")
    return result.config["backbone"]["checkpoint"] if starts_from_checkpoint(result) and is_of_hub else None


def _rounded(fraction: float) -> float:
    return round(fraction, 4)
