"""Facts about the model for a client: its outputs, its results, and the calibration of its probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from melt_ser.core.errors import SetupError
from melt_ser.core.package import __version__
from melt_ser.evaluation.labelling import LONGEST_SECONDS, SHORTEST_WINDOW, Model
from melt_ser.evaluation.results import ENSEMBLE, Evaluation, RatingScore, Result
from melt_ser.models.hub_model import is_on_hub
from melt_ser.runs.folder import read_result
from melt_ser.runs.public_text import without_examples
from melt_ser.serving.answers import Bin, LimitFacts, ModelFacts, Rating, Score
from melt_ser.serving.limits import Limits

Row = TypeVar("Row", Evaluation, RatingScore)


def model_facts(folder: Path, fold: int | None, model: Model, limits: Limits) -> ModelFacts:
    """Return the facts of the model of a run, of one of its model folders, or of the hub; without paths and examples.

    Only a run folder has results, so only then there are scores.
    """
    result = _result(folder)
    return ModelFacts(
        name=str(folder) if is_on_hub(folder) else folder.resolve().name,
        version=__version__,
        classes=model.classes,
        attributes={name: list(scale) for name, scale in model.classifiers[0].outputs.scales.items()},
        models=len(model.classifiers),
        backbone=None if result is None else result.config["backbone"]["name"],
        trained_on=None if result is None else result.train.corpus,
        scores=[] if result is None else [_score(row) for row in _rows(result, fold)],
        ratings=[] if result is None else [_rating(row) for row in _rating_rows(result, fold, model.attributes)],
        warnings=[] if result is None else list(dict.fromkeys(map(without_examples, result.warnings))),
        limits=LimitFacts(
            upload_megabytes=limits.megabytes,
            audio_seconds=limits.seconds,
            stream_seconds=limits.stream_seconds,
            requests=limits.requests,
            timeout_seconds=limits.timeout,
            window_seconds=[SHORTEST_WINDOW, LONGEST_SECONDS],
        ),
    )


def _result(folder: Path) -> Result | None:
    if is_on_hub(folder):
        return None
    try:
        return read_result(folder)
    except SetupError:  # a model folder
        return None


def _rows(result: Result, fold: int | None) -> list[Evaluation]:
    """Return the row of each corpus and split."""
    closed = [row for row in result.evals if row.answer_set == "closed"]
    return _answered(closed, result.closed_evals(), fold, lambda row: (row.corpus, row.split))


def _rating_rows(result: Result, fold: int | None, attributes: list[str]) -> list[RatingScore]:
    """Return the row of each corpus, split and attribute."""
    every, whole = ([row for row in rows if row.of in attributes] for rows in (result.ratings, result.whole_ratings()))
    return _answered(every, whole, fold, lambda row: (row.corpus, row.split, row.of))


def _answered(
    every: Iterable[Row], whole: Iterable[Row], fold: int | None, key: Callable[[Row], tuple[str, ...]]
) -> list[Row]:
    """Return a row for each key: of the fold, or of all folds together.

    The mean of the folds' answers, which the server gives then, has results on other corpora alone; on the run's own
    the answers of the single models (`whole`) stand for it.
    """
    if fold is not None:
        return [row for row in every if row.fold == fold]
    rows = {key(row): row for row in whole}
    rows |= {key(row): row for row in every if row.fold == ENSEMBLE}
    return list(rows.values())


def _score(row: Evaluation) -> Score:
    return Score(
        corpus=row.corpus,
        split=row.split,
        utterances=row.n,
        classes=row.classes,
        ua=row.known_value("ua"),
        ua_ci95=row.interval("ua"),
        chance=row.chance,
        ece=row.ece,
        calibration=[]
        if row.calibration is None
        else [Bin(confidence=one.confidence, accuracy=one.accuracy, n=one.n) for one in row.calibration.curve],
    )


def _rating(row: RatingScore) -> Rating:
    return Rating(
        corpus=row.corpus,
        split=row.split,
        attribute=row.of,
        utterances=row.n,
        ccc=row.values.get("ccc"),
        ccc_ci95=row.ci95.get("ccc"),
        rmse=row.values.get("rmse"),
    )
