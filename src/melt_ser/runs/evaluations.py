"""Make the rows of `result.json` from predictions, with their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from melt_ser.core import files
from melt_ser.evaluation.evaluation_sets import EvaluationSet
from melt_ser.evaluation.metrics import Floats
from melt_ser.evaluation.results import Evaluation, Unscored
from melt_ser.evaluation.scoring import ANSWER_SETS, Scores, answers_among, constant_prediction_warning, score
from melt_ser.evaluation.slices import slices
from melt_ser.evaluation.statistics import resampling_units


def prediction_table(evaluation_set: EvaluationSet, probabilities: np.ndarray, classes: list[str]) -> pd.DataFrame:
    """Return the columns of `predictions/<corpus>.csv` for probabilities, (utterances, classes).

    `prediction` is the open answer, chosen among all classes of the model.
    """
    frame = pd.DataFrame(
        {
            "utterance": evaluation_set.table["utterance"],
            "reference": evaluation_set.table["class"],
            "prediction": [classes[answer] for answer in probabilities.argmax(axis=1)],
        }
    )
    return pd.concat([frame, pd.DataFrame(probabilities, columns=classes)], axis=1)


def evaluation_rows(
    folder: Path,
    evaluation_set: EvaluationSet,
    predictions: pd.DataFrame,
    classes: list[str],
    fold: int | str | None,
    temperature: float | Floats | None,
    one_of_many: bool = False,
) -> list[Evaluation]:
    """Score predictions with each answer set; write them and their groups under the run folder.

    Answers are chosen among the classes of the corpus (answer set closed), or among all classes (open). The files are
    named after the corpus. The split is added if it is not "test" or "all", or if the model was trained on some of the
    recordings; the fold is added if it is one of many.

    Args:
        folder: the run folder.
        evaluation_set: the scored utterances.
        predictions: a `prediction_table`, in the order of the set.
        classes: the classes of the model.
        fold: number, "all", or None.
        temperature: fitted on dev: one number, or one for each prediction, (utterances,); None: unknown.
        one_of_many: whether the fold is pooled with others afterwards.
    """
    stem = _file_stem(evaluation_set, fold if one_of_many else None)
    path = Path("predictions") / f"{stem}.csv"
    files.write_csv(folder / path, predictions)
    groups = _write_groups(folder, Path("groups") / f"{stem}.csv", evaluation_set, predictions)
    rows = []
    for answer_set in ANSWER_SETS:
        scores = score(
            predictions,
            evaluation_set.table["speaker"],
            classes,
            evaluation_set.corpus_classes,
            answer_set,
            recordings=evaluation_set.table["utterance"],
            temperature=temperature,
        )
        rows.append(_row(evaluation_set, predictions, scores, answer_set, fold, path.as_posix(), groups))
        if answer_set == "closed":
            warning = constant_prediction_warning(scores)
    for row in rows:
        row.warnings = [*([warning] if warning else []), *evaluation_set.notes]
    return rows


def _file_stem(evaluation_set: EvaluationSet, fold: int | str | None) -> str:
    usual = evaluation_set.split in ("test", "all") and not evaluation_set.overlap
    stem = evaluation_set.name if usual else f"{evaluation_set.name}_{evaluation_set.split}"
    return stem if fold is None else f"{stem}_fold{fold}"


def _write_groups(folder: Path, path: Path, evaluation_set: EvaluationSet, predictions: pd.DataFrame) -> str | None:
    """Write the resampled unit of each utterance and return the path; two run folders can then be compared.

    The unit is the speaker, or the recording. If each utterance is its own unit, write nothing and return None.
    """
    speakers, recordings = evaluation_set.table["speaker"], evaluation_set.table["utterance"]
    unit = resampling_units(len(predictions), speakers, recordings).kind
    groups = speakers if unit == "speaker" else recordings
    if not groups.duplicated().any():
        return None
    files.write_csv(folder / path, pd.DataFrame({"utterance": predictions["utterance"], "group": groups}))
    return path.as_posix()


def _row(
    evaluation_set: EvaluationSet,
    predictions: pd.DataFrame,
    scores: Scores,
    answer_set: str,
    fold: int | str | None,
    path: str,
    groups: str | None,
) -> Evaluation:
    answers = answers_among(predictions, scores.classes)
    return scores.as_evaluation(
        corpus=evaluation_set.name,
        split=evaluation_set.split,
        fold=fold,
        answer_set=answer_set,
        digest=evaluation_set.corpus.digest,
        dropped=evaluation_set.dropped,
        slices=slices(evaluation_set.table, predictions["reference"], answers, scores.classes),
        overlap=evaluation_set.overlap,
        predictions=path,
        groups=groups,
    )


def unscored_entries(unscored: dict[str, str]) -> list[Unscored]:
    """Return the entries of a result for test corpora that could not be read."""
    return [Unscored(corpus=name, reason=reason) for name, reason in unscored.items()]


def pool(
    evaluation_sets: list[EvaluationSet],
    predictions: list[pd.DataFrame],
    numbers: list[int],
    temperatures: list[float | None],
) -> tuple[EvaluationSet, pd.DataFrame, Floats | None]:
    """Join the folds' evaluation sets, predictions and temperatures.

    Folds of the training corpus test on different utterances. Another corpus is tested by every fold's model: each of
    its utterances then occurs once for each fold, named `<utterance>#<fold>`. UA and WA are then means over the models.
    The pooled temperatures, (utterances,), are None if a fold has no temperature.

    Args:
        evaluation_sets, predictions, temperatures: an entry for each fold.
        numbers: the numbers of the folds.
    """
    first = evaluation_sets[0]
    table = pd.concat([part.table for part in evaluation_sets], ignore_index=True)
    pooled = pd.concat(predictions, ignore_index=True)
    if pooled["utterance"].duplicated().any():
        folds = np.repeat(numbers, [len(frame) for frame in predictions])
        pooled["utterance"] += "#" + pd.Series(folds.astype(str))
    dropped = first.dropped if table["utterance"].duplicated().any() else _sum_of_dropped(evaluation_sets)
    overlap = sum(part.overlap for part in evaluation_sets)
    known = [temperature for temperature in temperatures if temperature is not None]
    of_row = np.repeat(known, [len(frame) for frame in predictions]) if len(known) == len(predictions) else None
    joined = EvaluationSet(first.corpus, first.split, table, first.corpus_classes, dropped, overlap, first.notes)
    return joined, pooled, of_row


def _sum_of_dropped(evaluation_sets: list[EvaluationSet]) -> dict[str, int]:
    """Add the counts of the folds; refused clips are counted for the whole corpus, so they are added once."""
    dropped: dict[str, int] = {}
    for part in evaluation_sets:
        for reason, count in part.dropped.items():
            refused = reason.startswith("clip refused")
            dropped[reason] = count if refused else dropped.get(reason, 0) + count
    return dropped
