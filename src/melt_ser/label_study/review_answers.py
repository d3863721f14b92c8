"""Read the answers of a review: each rater's labels beside the model's, their agreement, and a consensus."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from melt_ser.annotation.consensus import FEWEST_RATERS, MODELS, Consensus, majority
from melt_ser.core.errors import InputError, SetupError
from melt_ser.label_study.answer_files import Given, read_answers, read_versioned
from melt_ser.label_study.label_sources import LabelTable
from melt_ser.label_study.review import ReviewItem, ReviewKey
from melt_ser.label_study.source_agreement import SourceAgreement, source_agreement

MODEL, RATER = "model", "rater_"  # columns: of a model's labels, and the beginning of a rater's


def reviewed_table(key_path: Path, answer_paths: Sequence[Path], method: str = "majority") -> tuple[pd.DataFrame, int]:
    """Return a row for each reviewed line: its text, the label of each rater and source, and the consensus (`label`).

    Also return the number of lines that no rater gave a label, which are left out.

    The votes of people and models count alike; among equally frequent labels that of the first rater wins. Raises
    SetupError if a file is missing or the method needs more votes, InputError if a file is damaged or is of another
    study, or no line has a label.
    """
    key: ReviewKey = read_versioned(key_path, ReviewKey, "give the key.json that `annotate --review` wrote")
    given, about = read_answers(answer_paths, key.study, key_path, {item.id: item.labels for item in key.items})
    answered = [item for item in key.items if any(_chosen(item, answers) for answers in given.values())]
    if not answered:
        raise InputError("The answers have no label; give the raters' answer files.")
    raters = sorted(given)
    sources = list(dict.fromkeys(said.source for item in answered for said in item.said))
    of_source = _columns(sources)
    rows = [_row(item, {rater: given[rater] for rater in raters}, of_source) for item in answered]
    columns = [*(RATER + rater for rater in raters), *of_source.values()]
    table = pd.DataFrame(rows).reindex(columns=["utterance", "speaker", "text", *columns, "confidence"]).fillna("")
    spelled = {label.casefold(): label for label in answered[0].labels}
    votes = [[spelled.get(label.casefold()) for label in row] for row in table[columns].to_numpy().tolist()]
    agreed = _consensus(votes, answered[0].labels, method)
    table = table.rename(columns={"confidence": "model_confidence"})
    table["label"] = [one.label or "" for one in agreed]
    table["confidence"] = [round(one.confidence, 4) for one in agreed]
    told = {f"about_{rater}": _told(about[rater]) for rater in raters if rater in about}
    return table.assign(**told), len(key.items) - len(answered)


def label_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns of a reviewed table with the labels of raters and sources."""
    return [name for name in map(str, table) if name.startswith((RATER, MODEL)) and name != "model_confidence"]


def review_agreement(table: pd.DataFrame, columns: Sequence[str]) -> SourceAgreement | None:
    """Return the agreement of columns of a reviewed table; None if no line has two labels, or all are the same."""
    labels = table[list(columns)].astype("str")
    names = sorted({label.casefold() for column in labels for label in labels[column]} - {""})
    twice = labels[(labels != "").sum(axis=1) >= 2].reset_index(drop=True)
    return None if twice.empty or len(names) < 2 else source_agreement(LabelTable(twice, None, {}), names)


def _row(item: ReviewItem, given: dict[str, dict[str, Given]], of_source: dict[str, str]) -> dict[str, str]:
    chosen = {RATER + rater: _chosen(item, answers) for rater, answers in given.items()}
    said = {of_source[one.source]: one.label for one in item.said}
    sure = [one.confidence for one in item.said if one.confidence is not None]
    told = {"confidence": f"{sum(sure) / len(sure):.4g}"} if sure else {}
    return {"utterance": item.utterance, "speaker": item.speaker, "text": item.text, **chosen, **said, **told}


def _chosen(item: ReviewItem, answers: dict[str, Given]) -> str:
    return answers[item.id].chosen or "" if item.id in answers else ""


def _columns(sources: Sequence[str]) -> dict[str, str]:
    """Return the column of each source: its name without the suffix, unless two are then the same."""
    stems = [Path(source).stem for source in sources]
    names = stems if len(set(stems)) == len(stems) else sources
    return {source: f"{MODEL}_{name}" if source else MODEL for source, name in zip(sources, names, strict=True)}


def _consensus(votes: list[list[str | None]], labels: list[str], method: str) -> list[Consensus]:
    if method == "majority":
        return [majority([vote for vote in row if vote] or [None], labels) for row in votes]
    if len(votes[0]) < FEWEST_RATERS:
        raise SetupError(
            f"{method} needs {FEWEST_RATERS} raters and label sources or more, not {len(votes[0])}; "
            "use --method majority."
        )
    return MODELS[method](votes, labels)


def _told(answers: dict[str, str]) -> str:
    return "; ".join(f"{name}: {answer}" for name, answer in answers.items())
