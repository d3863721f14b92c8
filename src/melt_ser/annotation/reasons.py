"""Why a line has no label, in a word: for the labels file, the counts and the question whether to ask again."""

from __future__ import annotations

from melt_ser.annotation.answers import AnswerError, parse_answer
from melt_ser.annotation.completions import CUT, FILTERED, REFUSED
from melt_ser.annotation.engines import Reply
from melt_ser.annotation.prompts import Prompt
from melt_ser.core.errors import one_line

UNREADABLE = "unreadable"  # the only one that a repair may help
TRUNCATED = "truncated"
THINKING = "truncated while thinking"
REFUSED_BY_MODEL = "refused"
FILTERED_OUT = "filtered"
OUTSIDE = "outside the set"
IN_A_BATCH = "in a batch"
NO_ANSWER = "no answer"
BY_LIMIT = (TRUNCATED, THINKING)  # a higher limit of tokens may help
LONGEST_SHOWN = 100  # characters of a refusal


def problem_of(reply: Reply, prompt: Prompt) -> tuple[str | None, str | None]:
    """Return the sentence and the word that say why a reply gives no answer; None and None if it gives one."""
    try:
        parse_answer(reply.text, prompt)
    except AnswerError as error:
        unreadable = str(error)
    else:
        return None, None
    limit = "" if reply.max_tokens is None else f" at {reply.max_tokens:,} tokens"
    if reply.finish in FILTERED:
        return "The server's content filter holds the answer back.", FILTERED_OUT
    if reply.finish in REFUSED:
        return f"The model refuses to answer: {one_line(reply.text)[:LONGEST_SHOWN]}", REFUSED_BY_MODEL
    if reply.finish in CUT and not reply.text.strip():
        return f"The model was cut{limit} while it thought; give a higher --max-tokens.", THINKING
    if reply.finish in CUT:
        return f"The answer was cut{limit}; give a higher --max-tokens.", TRUNCATED
    return unreadable, UNREADABLE
