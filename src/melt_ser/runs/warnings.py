"""The sentences that limit what a run's numbers mean: those known before the training, and those of its scores."""

from __future__ import annotations

from collections.abc import Sequence

from melt_ser.core.counting import counted
from melt_ser.core.vocabulary import WITHOUT_WEIGHTS, reads_words
from melt_ser.corpora.fold_split import FoldSplit, group_warnings, shared_audio_warnings
from melt_ser.corpora.sentences import words_alone_note
from melt_ser.evaluation.calibration import TEMPERATURES
from melt_ser.evaluation.results import Evaluation, RatingScore
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
    for other in plan.others:
        if other.config.synthetic:
            sentences += group_warnings(other.table, other.config)
    if reads_words(vars(plan.config.backbone)):
        for corpus in (plan.corpus, *plan.others):
            sentences += words_alone_note(corpus.table, corpus.name)
    sentences += dict.fromkeys(note for split in plan.splits for note in split.notes)
    for split in plan.splits:
        sentences += shared_audio_warnings(plan.corpus.name, split)
        sentences += _missing_classes(plan, split)
    return sentences


def warnings_after(plan: RunPlan, rows: Sequence[Evaluation], ratings: Sequence[RatingScore] = ()) -> list[str]:
    """Return the sentences about the trained model and its scores."""
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
    noted = [row for row in ratings if row.interval_note and (plan.one_model or not isinstance(row.fold, int))]
    sentences += dict.fromkeys(f"{row.corpus}, {row.of}: {row.interval_note}" for row in noted)
    whole = [row for row in rows if plan.one_model or not isinstance(row.fold, int)]
    return sentences + warnings_of_scores(rows, whole, ratings)


def warnings_of_scores(
    rows: Sequence[Evaluation], whole: Sequence[Evaluation], ratings: Sequence[RatingScore] = ()
) -> list[str]:
    """Return the sentences about scores; `whole` are the rows over all folds."""
    sentences: list[str] = []
    closed = [row for row in rows if row.answer_set == "closed"]
    notes = [f"{row.corpus}: {row.interval_note}" for row in whole if row.answer_set == "closed" and row.interval_note]
    sentences += dict.fromkeys(notes)
    if any(row.calibration is not None and row.calibration.temperature_at_bound for row in closed):
        low, high = TEMPERATURES
        sentences.append(
            f"A temperature is at a bound of the fit ({low:g} to {high:g}): dev gave no best value, so do not trust "
            "the calibration error with it."
        )
    scored: list[Evaluation | RatingScore] = [*closed, *ratings]
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
        sentences.append(f"The training part{of_fold} has no {', '.join(untrained)}; the model cannot answer it.")
    untested = [name for name in plan.classes if name not in set(split.test["class"])]
    if untested and plan.scores_itself:
        sentences.append(f"The test part{of_fold} has no {', '.join(untested)}; its UA is over the other classes.")
    return sentences
