"""The filters of the MELT paper, as named steps that count what they leave out.

The paper says that it removed utterances under 1 s and characters too vague for the model; its released rows show what
that means and what else was removed. From MELD's train and test files the steps leave 34 rows more than the release has
(28 files by name, of which train dia125_utt3 is unreadable; a name that train and test share is out of both) and miss
2 that it has (train dia296_utt17 of 0.958 s, test dia155_utt3 of 0 s by its annotated times).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from melt_ser.core.errors import SetupError, did_you_mean
from melt_ser.corpora.lines import Line

SHORTEST = 1.0  # seconds
# MELD's clips are cut at video frames, so they last up to 1/24 s longer than by their annotated times; every released
# row but two is of 0.962 s or more.
CUT_LONGER = 0.038
FEWEST_WORDS = 3
FEWEST_LINES = 10  # of a character, in train, that pass the other filters: so it is for all 42 of the release
NAMELESS = ("all", "guy", "the casting director", "the interviewer")  # with ten lines or more; Woman is in the release


def short_clips(lines: Sequence[Line]) -> list[bool]:
    """Which are of clips under 1 s; one whose duration is not known is kept."""
    return [line.duration is not None and line.duration < _shortest(line) for line in lines]


def _shortest(line: Line) -> float:
    return SHORTEST - CUT_LONGER if "EndTime" in line.columns else SHORTEST  # else it is measured


def few_words(lines: Sequence[Line]) -> list[bool]:
    """Which have two words or fewer."""
    return [len(line.text.split()) < FEWEST_WORDS for line in lines]


def vague_characters(lines: Sequence[Line]) -> list[bool]:
    """Which are of characters with fewer than ten lines (in train, if there is one), or whose name names no one."""
    training = [line for line in lines if line.split == "train"] or lines
    counts = Counter(line.speaker.casefold() for line in training)
    known = {name for name, count in counts.items() if name and count >= FEWEST_LINES} - set(NAMELESS)
    return [line.speaker.casefold() not in known for line in lines]


def no_text(lines: Sequence[Line]) -> list[bool]:
    """Which say nothing, so that no model can label them; always left out."""
    return [not line.text for line in lines]


FILTERS: dict[str, Callable[[Sequence[Line]], list[bool]]] = {
    "short_clips": short_clips,
    "few_words": few_words,
    "vague_characters": vague_characters,
}


def filter_lines(lines: Sequence[Line], names: Iterable[str] = ()) -> tuple[list[Line], dict[str, list[Line]]]:
    """The lines that pass, and those that each filter left out, by its name; SetupError for an unknown name.

    In the order of `FILTERS`, whatever that of the names, so that a line is counted once, by the first that it fails.
    """
    chosen = set(names)
    for name in sorted(chosen - set(FILTERS)):
        raise SetupError(f"There is no filter '{name}': {did_you_mean(name, FILTERS)}")
    kept, left_out = list(lines), {}
    for name, fails in {"no_text": no_text, **FILTERS}.items():
        if name == "no_text" or name in chosen:
            failed = fails(kept)
            left_out[name] = [line for line, out in zip(kept, failed, strict=True) if out]
            kept = [line for line, out in zip(kept, failed, strict=True) if not out]
    return kept, left_out
