"""The filters of the MELT paper, as named steps that count the lines they leave out.

The paper says that it removed utterances under 1 s and characters too vague for the model; its released rows show the
exact limits and a further filter. On MELD's train and test files, these steps keep 34 rows that the release lacks
(of 28 file names: a name that train and test share is missing from both, and the clip of train dia125_utt3 is
unreadable) and remove 2 rows that it has (train dia296_utt17 of 0.958 s, test dia155_utt3 of 0 s by its annotated
times).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from melt_ser.core.errors import InputError, SetupError, did_you_mean
from melt_ser.corpora.lines import Line

SHORTEST = 1.0  # seconds
# MELD's clips are cut at video frames, so they last up to 1/24 s longer than their annotated times. All released rows
# except two last at least 0.962 s.
CUT_LONGER = 0.038
FEWEST_WORDS = 3
FEWEST_LINES = 10  # of a character, in train, after the other filters; all 42 characters of the release have that many
# Letters of Thai, Lao, Burmese, Khmer, Japanese and Chinese, which write no spaces between words.
UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]")
NAMELESS = ("all", "guy", "the casting director", "the interviewer")  # ten lines or more; MELT keeps "Woman"


def short_clips(lines: Sequence[Line]) -> list[bool]:
    """Return True for lines with clips under 1 s; a line of unknown duration passes."""
    return [line.duration is not None and line.duration < _shortest(line) for line in lines]


def _shortest(line: Line) -> float:
    return SHORTEST - CUT_LONGER if "EndTime" in line.columns else SHORTEST  # other durations are measured


def few_words(lines: Sequence[Line]) -> list[bool]:
    """Return True for lines of two words or fewer. Raises SetupError if ICU has to count them and is not installed."""
    return [count_words(line.text) < FEWEST_WORDS for line in lines]


def count_words(text: str) -> int:
    """Return the number of words: texts between spaces; within a script without spaces, ICU's words of its dictionary.

    >>> count_words("Don't do it, Ross!"), count_words("我很高兴见到你！")
    (4, 5)
    """
    parts = text.split()
    unspaced = [part for part in parts if UNSPACED.search(part)]
    if not unspaced:
        return len(parts)
    try:
        from icu4py.breakers import WordBreaker
    except ModuleNotFoundError:
        raise SetupError(
            f"The filter few_words counts the words of lines such as '{unspaced[0][:20]}' by ICU: "
            "pip install 'melt-ser[words]'."
        ) from None
    found = [word for part in unspaced for word in WordBreaker(part, "en") if any(map(str.isalnum, word))]
    return len(parts) - len(unspaced) + len(found)


def vague_characters(lines: Sequence[Line]) -> list[bool]:
    """Return True for lines of characters with under ten lines (in train, if there is one) or without a real name."""
    training = [line for line in lines if line.split == "train"] or lines
    counts = Counter(line.speaker.casefold() for line in training)
    known = {name for name, count in counts.items() if name and count >= FEWEST_LINES} - set(NAMELESS)
    return [line.speaker.casefold() not in known for line in lines]


def no_text(lines: Sequence[Line]) -> list[bool]:
    """Return True for lines without text; no model can label them, so they are always left out."""
    return [not line.text for line in lines]


FILTERS: dict[str, Callable[[Sequence[Line]], list[bool]]] = {
    "short_clips": short_clips,
    "few_words": few_words,
    "vague_characters": vague_characters,
}


def filter_lines(lines: Sequence[Line], names: Iterable[str] = ()) -> tuple[list[Line], dict[str, list[Line]]]:
    """Return the lines that pass, and the lines that each filter left out, by filter name.

    Filters run in the order of `FILTERS`, not of `names`; a line counts for the first filter that it fails. Raises
    SetupError for an unknown name.
    """
    chosen = set(names)
    for name in sorted(chosen - set(FILTERS)):
        raise SetupError(f"There is no filter '{name}': {did_you_mean(name, FILTERS)}")
    passing, left_out = list(lines), {}
    for name, fails in {"no_text": no_text, **FILTERS}.items():
        if name == "no_text" or name in chosen:
            failed = fails(passing)
            left_out[name] = [line for line, out in zip(passing, failed, strict=True) if out]
            passing = [line for line, out in zip(passing, failed, strict=True) if not out]
    return passing, left_out


def passing_lines(lines: Sequence[Line], names: str, tables: str, tell: Callable[[str], None]) -> list[Line]:
    """Return the lines that a command asks about.

    Args:
        lines: those of the tables.
        names: of filters, with commas between them (--filter).
        tables: their paths, for the sentences of errors.
        tell: gets a sentence for each filter that leaves lines out.

    Raises InputError if no line is left, SetupError for an unknown name.
    """
    chosen = [name for name in names.split(",") if name]
    passing, left_out = filter_lines(lines, chosen)
    if not lines:
        raise InputError(f"{tables} has no line; give a table with a line in each row.")
    if len(left_out["no_text"]) == len(lines):
        raise InputError(f"No line of {tables} has a text; name the column with the text by --text.")
    if not passing:
        raise InputError(f"No line of {tables} passes --filter {names}; leave a filter out.")
    for name, out in left_out.items():
        if name in chosen:
            tell(f"the filter {name} leaves out {len(out):,} of {len(lines):,} lines")
        elif out:
            tell(f"{len(out):,} of {len(lines):,} lines have no text and are left out, such as {out[0].utterance}")
    return passing
