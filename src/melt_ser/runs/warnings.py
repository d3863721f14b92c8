"""The sentences that limit what a run's numbers mean: those known before the training, and those of its scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from melt_ser.core.counting import counted
from melt_ser.core.vocabulary import WITHOUT_WEIGHTS, reads_words
from melt_ser.corpora.corpus import Corpus
from melt_ser.corpora.fold_split import FoldSplit, group_warnings, shared_audio_warnings
from melt_ser.corpora.sentences import words_alone_note
from melt_ser.evaluation.calibration import TEMPERATURES
from melt_ser.evaluation.results import Evaluation, RatingScore, Result
from melt_ser.runs.plan import RunPlan


def single_fold(plan: RunPlan) -> list[str]:
    """Return a sentence if the run is one fold of several: its test part is a small share of the corpus."""
    split = plan.splits[0]
    if len(plan.splits) > 1 or split.fold is None or split.test.empty:
        return []
    usable, _ = plan.corpus.usable(plan.space)
    tested, known = (set(table["speaker"]) - {""} for table in (split.test, usable))
    speakers = f", {len(tested)} of {len(known)} speakers" if known else ""
    return [
        f"This is fold {split.fold} of '{plan.corpus.name}' alone: it is tested on {len(split.test)} of {len(usable)} "
        f"utterances{speakers}. dataset.fold=all trains and scores every fold."
    ]


def warnings_before(plan: RunPlan) -> list[str]:
    """Return the sentences about the corpora and the splits, which are known before the training."""
    usable, _ = plan.corpus.usable(plan.space)
    sentences = [*single_fold(plan), *plan.corpus.notes, *group_warnings(usable, plan.config.dataset)]
    backbone = vars(plan.config.backbone)
    if reads_words(backbone):
        sentences += words_alone_note(plan.corpus.table, plan.corpus.name)
    for other in plan.others:
        sentences += warnings_of_test_corpus(other, backbone)
    sentences += dict.fromkeys(note for split in plan.splits for note in split.notes)
    for split in plan.splits:
        sentences += shared_audio_warnings(plan.corpus.name, split)
        sentences += _missing_classes(plan, split)
    return sentences


def warnings_of_test_corpus(corpus: Corpus, backbone: Mapping[str, Any]) -> list[str]:
    """Return the sentences about another corpus than the training's that limit any score there."""
    sentences = group_warnings(corpus.table, corpus.config) if corpus.config.synthetic else []
    return sentences + (words_alone_note(corpus.table, corpus.name) if reads_words(backbone) else [])


def warnings_of_model(plan: RunPlan) -> list[str]:
    """Return the sentences about the trained model."""
    sentences = []
    backbone = plan.config.backbone
    if backbone.is_random and backbone.family not in WITHOUT_WEIGHTS:
        sentences.append(
            f"The backbone '{backbone.name}' starts from random weights: it is for trying things out, "
            f"and its numbers say nothing about pretrained models."
        )
    power = plan.config.objective.prior_correction
    if power:
        sentences.append(
            f"The probabilities are divided by the classes' shares in train to the power {power:g} "
            "(objective.prior_correction)."
        )
    return sentences


def warnings_of_scores(result: Result) -> list[str]:
    """Return the sentences about the scores of a result."""
    noted = [row for row in result.whole_ratings() if row.interval_note]
    sentences = list(dict.fromkeys(f"{row.corpus}, {row.of}: {row.interval_note}" for row in noted))
    notes = [f"{row.corpus}: {row.interval_note}" for row in result.closed_evals() if row.interval_note]
    sentences += dict.fromkeys(notes)
    closed = [row for row in result.evals if row.answer_set == "closed"]
    if any(row.calibration is not None and row.calibration.temperature_at_bound for row in closed):
        low, high = TEMPERATURES
        sentences.append(
            f"A temperature is at a bound of the fit ({low:g} to {high:g}): dev gave no best value, so do not trust "
            "the calibration error with it."
        )
    scored: list[Evaluation | RatingScore] = [*closed, *result.ratings]
    sentences += dict.fromkeys(f"{row.corpus}: {warning}" for row in scored for warning in row.warnings)
    overlaps: dict[str, int] = {}
    for row in scored:  # rows of single folds have a part of the overlap of all folds
        overlaps[row.corpus] = max(row.overlap, overlaps.get(row.corpus, 0))
    sentences += [
        f"{counted(count, 'recording')} of '{name}' {'was' if count == 1 else 'were'} trained on."
        for name, count in overlaps.items()
        if count
    ]
    return sentences


def _missing_classes(plan: RunPlan, split: FoldSplit) -> list[str]:
    sentences = []
    of_fold = "" if split.fold is None else f" of fold {split.fold}"
    untrained = [name for name in plan.classes if name not in set(split.train["class"])]
    if untrained:
        sentences.append(f"The training part{of_fold} has no {', '.join(untrained)}; the model does not learn it.")
    untested = [name for name in plan.classes if name not in set(split.test["class"])]
    if untested and plan.scores_itself:
        sentences.append(f"The test part{of_fold} has no {', '.join(untested)}; its UA is over the other classes.")
    return sentences
