"""`annotate --review` and `annotate --reviewed`: write the page, and read its answers."""

from __future__ import annotations

import argparse

from melt_ser.core.console import finish, say
from melt_ser.core.errors import SetupError
from melt_ser.core.places import is_stream


def review(options: argparse.Namespace) -> int:
    """Write a review, or read its answers; return the exit code."""
    return _write(options) if options.review else _read(options)


def _write(options: argparse.Namespace) -> int:
    """Write the folder of a review, and say what to do with it; return the exit code."""
    from melt_ser.label_study.listening import KEY, SHARED
    from melt_ser.label_study.rating_page import load_questions, load_words
    from melt_ser.label_study.review import build_review

    words, questions = load_words(options.words), load_questions(options.questions)
    key, problems = build_review(options.tables, options.out, options.review, options.root, words, questions)
    for problem in problems:
        say(f"without its clip: {problem}")
    if len(key.items) < options.review:
        say(f"the labels files have {len(key.items):,} lines; all of them are in the review")
    if len(key.sources) == 1 and all(one.confidence in (None, 1.0) for item in key.items for one in item.said):
        say("no confidence tells these lines from others: they are drawn at random; see --samples")
    say(f"give raters the folder {options.out / SHARED}, or run: melt-ser listen serve {options.out} --raters 3")
    say(f"then: melt-ser annotate {options.out / KEY} {options.out / 'answers'} --reviewed --out reviewed.csv")
    finish(options.out / SHARED / "index.html")
    return 0


def _read(options: argparse.Namespace) -> int:
    """Write the raters' labels beside the model's, and say how far they agree; return the exit code."""
    from melt_ser.annotation.consensus import LINES_PER_LABEL
    from melt_ser.core import files
    from melt_ser.label_study.review_answers import RATER, label_columns, review_agreement, reviewed_table

    key, *answers = options.tables
    if not answers:
        raise SetupError("--reviewed needs the key.json of the review and the raters' answers, or their folder.")
    table, unanswered = reviewed_table(key, answers, options.method)
    if unanswered:
        say(f"left out: {unanswered:,} lines that no rater gave a label")
    columns = label_columns(table)
    raters = [column for column in columns if column.startswith(RATER)]
    used = len(set(table["label"]) - {""})
    if options.method == "dawid_skene" and len(table) < LINES_PER_LABEL * used:
        say(
            f"caution: {len(table):,} lines with {used} labels are few for dawid_skene, and a vote may be better; "
            f"compare with --method majority or one_coin"
        )
    files.write_csv(options.out, table)
    for chosen, told in ((raters, "the raters"), (columns, "raters and label sources")):
        result = review_agreement(table, chosen)
        if result is None:
            continue
        shown = "not defined" if result.alpha is None else f"{result.alpha:.3f}"
        say(f"agreement of {told} ({len(chosen)}): Krippendorff's alpha {shown} on {result.n:,} lines")
    for column in (name for name in columns if name not in raters):
        both = table[(table[column] != "") & (table["label"] != "")]
        same = (both[column].str.casefold() == both["label"].str.casefold()).mean() if len(both) else 0.0
        say(f"{column}: the consensus keeps its label on {100 * same:.1f} % of {len(both):,} lines")
    if is_stream(options.out):
        return 0
    say(f"more: melt-ser agreement {options.out} --columns {','.join(columns)}")
    finish(options.out)
    return 0
