"""From predictions to the rows of `result.json`, their files and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melt_ser.core import files
from melt_ser.evaluation.evaluation_sets import EvaluationSet
from melt_ser.evaluation.metrics import Floats
from melt_ser.evaluation.scoring import PROTOCOLS, answers_among, constant_prediction_warning, score
from melt_ser.evaluation.slices import slices
from melt_ser.evaluation.statistics import resampling_units
from melt_ser.runs.figures import confusion_figure

Row = dict[str, Any]


def prediction_table(target: EvaluationSet, probabilities: np.ndarray, classes: list[str]) -> pd.DataFrame:
    """The columns of `predictions/<corpus>.csv`; `prediction` is the open decision, over all classes."""
    frame = pd.DataFrame(
        {
            "utterance": target.table["utterance"],
            "reference": target.table["class"],
            "prediction": [classes[answer] for answer in probabilities.argmax(axis=1)],
        }
    )
    return pd.concat([frame, pd.DataFrame(probabilities, columns=classes)], axis=1)


def evaluation_rows(
    folder: Path,
    target: EvaluationSet,
    predictions: pd.DataFrame,
    classes: list[str],
    fold: int | str | None,
    temperature: float | Floats | None,
    one_of_many: bool = False,
) -> list[Row]:
    """Write the predictions under `folder`, and a confusion figure unless `one_of_many`; a row for each protocol.

    What is resampled as a whole, speakers or recordings, is written too where it is not the utterance itself, so that
    systems can be compared by their run folders alone. `temperature` was fitted on dev: one, or one a prediction.
    The files are named after the corpus; after its split too, where that is not test or the whole, or holds recordings
    that were trained on; and after the fold, where it is `one_of_many` to be pooled.
    """
    plain = target.split in ("test", "all") and not target.overlap
    stem = target.name if plain else f"{target.name}_{target.split}"
    stem += f"_fold{fold}" if one_of_many else ""
    path = Path("predictions") / f"{stem}.csv"
    files.write_csv(folder / path, predictions)
    speakers, recordings = target.table["speaker"], target.table["utterance"]
    kind = resampling_units(len(predictions), speakers, recordings).kind
    groups = speakers if kind == "speaker" else recordings
    groups_path = Path("groups") / f"{stem}.csv" if groups.duplicated().any() else None
    if groups_path:
        files.write_csv(folder / groups_path, pd.DataFrame({"utterance": predictions["utterance"], "group": groups}))
    rows = []
    for protocol in PROTOCOLS:
        scored = score(
            predictions,
            speakers,
            classes,
            target.corpus_classes,
            protocol,
            recordings=recordings,
            temperature=temperature,
        )
        answers = answers_among(predictions, scored["classes"])
        rows.append(
            {
                "corpus": target.name,
                "split": target.split,
                "fold": fold,
                "protocol": protocol,
                "digest": target.corpus.digest,
                "n": scored.pop("n"),
                "dropped": target.dropped,
                **scored,
                "slices": slices(target.table, predictions["reference"], answers, scored["classes"]),
                "overlap": target.overlap,
                "predictions": path.as_posix(),
                "groups": groups_path and groups_path.as_posix(),
            }
        )
    closed = rows[0]
    warning = constant_prediction_warning(closed)
    for row in rows:
        row["warnings"] = [warning] if warning else []
    if not one_of_many:
        title = f"{target.name}, {target.split}" + ("" if fold is None else f", fold {fold}")
        confusion_figure(closed, title, folder / "figures" / f"confusion_{stem}.png")
    return rows


def unscored_entries(unscored: dict[str, str]) -> list[dict[str, str]]:
    """What a result says of test corpora that could not be read."""
    return [{"corpus": name, "reason": reason} for name, reason in unscored.items()]


def pool(
    targets: list[EvaluationSet], predictions: list[pd.DataFrame], numbers: list[int], temperatures: list[float | None]
) -> tuple[EvaluationSet, pd.DataFrame, Floats | None]:
    """The folds' targets, predictions and temperatures, one a prediction, as one; None where a fold has none.

    Folds of the training corpus test on different utterances. Another corpus is tested by every fold's model: its
    utterances then occur once a fold, named `<utterance>#<fold>`, so that UA and WA are the means over the models.
    """
    first = targets[0]
    table = pd.concat([target.table for target in targets], ignore_index=True)
    pooled = pd.concat(predictions, ignore_index=True)
    if pooled["utterance"].duplicated().any():
        folds = np.repeat(numbers, [len(frame) for frame in predictions])
        pooled["utterance"] += "#" + pd.Series(folds.astype(str))
    if table["utterance"].duplicated().any():
        dropped = first.dropped
    else:  # labels are dropped fold by fold, refused clips are the corpus's and counted once
        dropped = {}
        for target in targets:
            for reason, count in target.dropped.items():
                refused = reason.startswith("clip refused")
                dropped[reason] = count if refused else dropped.get(reason, 0) + count
    overlap = sum(target.overlap for target in targets)
    known = [temperature for temperature in temperatures if temperature is not None]
    of_row = np.repeat(known, [len(frame) for frame in predictions]) if len(known) == len(predictions) else None
    return EvaluationSet(first.corpus, first.split, table, first.corpus_classes, dropped, overlap), pooled, of_row
