"""`python -m melt_ser.annotate TABLE… --out labels.csv [--model M] [--prompt NAME] …`

Label text with emotions by a language model. The journal next to the labels file holds every answer, so the same
command goes on after a stop, and nothing is paid twice.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

from melt_ser.annotation.column_options import add_column_options, chosen_columns
from melt_ser.annotation.engine_options import PAPER_MODEL, add_engine_options, temperature
from melt_ser.annotation.modes import refuse_ignored
from melt_ser.cli.signals import run_async
from melt_ser.cli.verb import given_path, run, whole_number
from melt_ser.core.console import finish, say
from melt_ser.core.counting import counted
from melt_ser.core.errors import MeltSerError, SetupError
from melt_ser.label_study.options import add_review_options

if TYPE_CHECKING:
    from melt_ser.annotation.answering import AnnotationProgress
    from melt_ser.annotation.dialect import Options
    from melt_ser.annotation.endpoint import Endpoint
    from melt_ser.annotation.job import Failure, Job
    from melt_ser.annotation.journal import Journal
    from melt_ser.annotation.token_counts import TokenCounter


def main(arguments: list[str] | None = None) -> int:
    """Annotate, or print the cost, or combine labels files; return the exit code.

    It is 1 if a call got no readable answer, or no line a label; every line is written, if need be without a label.
    """
    stopped = "stopped; the same command goes on from what is answered."
    return run(lambda: _run(_parser(), arguments), stopped)


def _run(parser: argparse.ArgumentParser, arguments: list[str] | None) -> int:
    options = parser.parse_args(arguments)
    try:
        refuse_ignored(options, parser)
        if options.review or options.reviewed:
            from melt_ser.label_study.review_verb import review

            return review(options)
        _check_out(options)
        return _combine(options) if options.combine else annotate(options)
    except MeltSerError:
        raise
    except Exception:  # a bug of ours; its traceback must not show the key either
        from melt_ser.core.secret import without_key

        key = os.environ.get(options.key_variable, "").strip()
        print(without_key(traceback.format_exc(), key), file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="melt-ser annotate", description="Label text with emotions by a language model."
    )
    parser.add_argument(
        "tables", type=given_path, nargs="+", metavar="TABLE", help="corpus tables, MELD's CSVs or their folder"
    )
    parser.add_argument("--out", type=given_path, required=True, help="the labels file to write (CSV)")
    parser.add_argument("--combine", action="store_true", help="the tables are labels files: write their consensus")
    parser.add_argument(
        "--method", choices=("majority", "dawid_skene", "one_coin"), default="majority", help="(majority)"
    )
    add_review_options(parser)
    question = parser.add_argument_group("the question")
    question.add_argument(
        "--prompt",
        metavar="NAME",
        help="dialogue, dialogue_de, dialogue_zh, melt, context, definitions, few_shot, or a YAML of yours "
        "(melt for MELD's own files, otherwise dialogue)",
    )
    question.add_argument("--corpus", metavar="TEXT", help="where the lines are from, as {{ corpus }} in the prompt")
    question.add_argument("--samples", type=whole_number(1), default=1, help="answers for each line (1)")
    question.add_argument(
        "--temperature", type=temperature, default=1.0, help="a number, or none to leave it out (1.0, the paper's)"
    )
    question.add_argument(
        "--filter", default="", metavar="NAMES", help="short_clips,few_words,vague_characters: the paper's"
    )
    question.add_argument("--first", type=whole_number(1), metavar="N", help="only the first N lines, to try a prompt")
    question.add_argument(
        "--map", action="append", default=[], metavar="OTHER=LABEL", help="the label for an answer outside the set"
    )
    add_column_options(parser)
    add_engine_options(parser)
    return parser


def _check_out(options: argparse.Namespace) -> None:
    """Raise SetupError, before anything is paid, if --out is a folder, an input, or a stream without --journal.

    --combine has no journal, so it may write to any stream.
    """
    from melt_ser.core.places import is_stream
    from melt_ser.corpora.lines import files_of

    if options.out.is_dir():
        raise SetupError(f"--out {options.out} is a folder; name a file, such as {options.out / 'labels.csv'}.")
    if is_stream(options.out) and options.journal is None and not options.combine:
        raise SetupError(f"--out {options.out} is no file, so the journal cannot lie next to it; give --journal too.")
    inputs = [file.resolve() for table in options.tables for file in files_of(table)]
    if options.out.resolve() in inputs:
        raise SetupError(f"--out {options.out} is one of the tables to read; name another file.")


def annotate(options: argparse.Namespace) -> int:
    """Ask the model for every missing answer, write the labels file, and return the exit code."""
    from melt_ser.annotation.answering import AnnotationProgress, answer_all
    from melt_ser.annotation.answers import parse_rules
    from melt_ser.annotation.cost import confirm_cost, describe, estimate_job, price_of
    from melt_ser.annotation.dialect import Options
    from melt_ser.annotation.endpoint import Endpoint, address_of
    from melt_ser.annotation.filters import passing_lines
    from melt_ser.annotation.job import Job, adopt
    from melt_ser.annotation.journal import empty_journal, open_journal
    from melt_ser.annotation.prompts import load_prompt
    from melt_ser.annotation.purse import purse_for
    from melt_ser.annotation.question import notes_on, usual_prompt
    from melt_ser.annotation.token_counts import BY_RULE, token_counter
    from melt_ser.core.places import neighbour
    from melt_ser.corpora.lines import earlier_lines, later_lines, read_lines

    _check_engine(options)
    remote = options.engine != "local" and not options.dry_run
    server = (options.base_url, options.key_variable, options.timeout, options.api_version)
    endpoint = Endpoint(*server) if remote else None
    path = options.journal or neighbour(options.out.with_suffix(""), "", ".journal.sqlite")
    columns = chosen_columns(options)
    given = load_prompt(options.prompt, options.corpus) if options.prompt else None
    notes: list[str] = []  # said before anything is asked, and not if the command is wrong
    lines = read_lines(options.tables, columns, notes.append)
    prompt = given or usual_prompt(options.corpus, lines, path)
    notes += notes_on(prompt, lines)
    rules = parse_rules(options.map, prompt.labels)  # before anything is paid
    earlier, later = earlier_lines(lines, prompt.history), later_lines(lines, prompt.following)
    chosen = passing_lines(lines, options.filter, ", ".join(map(str, options.tables)), notes.append)[: options.first]
    local = None
    if options.engine == "local" and not options.dry_run:
        from melt_ser.annotation.local import open_engine

        local = open_engine(options.model, prompt, options.temperature, options.calibrate, columns)
    temperature = local.temperature if local else options.temperature
    asked = Options(temperature, options.max_tokens, options.reasoning_effort, options.extra_body)
    address = "" if options.engine == "local" else address_of(options.base_url)
    answer = (asked.max_tokens, asked.shaping)
    job = Job(chosen, earlier, prompt, options.model, temperature, options.samples, address, *answer, later)
    counter = BY_RULE if options.engine == "local" else token_counter(options.model)
    with empty_journal() if options.dry_run and not path.exists() else open_journal(path) as journal:
        if options.moved_from:
            adopt(job, address_of(options.moved_from), journal)
        price, source = price_of(options.model, options.engine, options.base_url, options.price)
        estimate = estimate_job(job, journal, counter)
        for note in notes:
            say(note)
        for sentence in describe(job, estimate, price, source, options.engine, options.concurrency):
            if options.dry_run:
                print(sentence)
            else:
                say(sentence)
        if estimate.calls == len(job):
            for other, count in journal.other_addresses(job.settings).items():
                answers = counted(count, "answer is", "answers are")
                say(f"note: {answers} from {other}; if that is the same server, give --moved-from {other}")
        if options.dry_run:
            return 0
        if estimate.calls and not options.yes:
            confirm_cost(None if price is None else estimate.cost(price), options.limit)
        purse = purse_for(estimate, price, options.limit)
        with AnnotationProgress(len(job), len(job) - estimate.calls, purse) as progress:
            if local is not None:
                failures = run_async(answer_all(job, local, journal, 1, progress))
            else:
                assert endpoint is not None
                failures = run_async(_answer_all(options, endpoint, asked, counter, job, journal, progress))
        return _write(options.out, job, journal, rules, failures)


def _check_engine(options: argparse.Namespace) -> None:
    """Fill in the paper's model. Raises SetupError if --engine local has no model or a temperature of 0."""
    if options.engine == "local" and not options.model:
        raise SetupError("--engine local needs a --model: a hub id, a folder, a GGUF file or <hub id>:<GGUF file>.")
    if options.engine == "local" and not options.temperature:
        raise SetupError("--engine local needs a --temperature above 0 for its probabilities; leave the option out.")
    options.model = options.model or PAPER_MODEL


async def _answer_all(
    options: argparse.Namespace,
    server: Endpoint,
    asked: Options,
    counter: TokenCounter,
    job: Job,
    journal: Journal,
    progress: AnnotationProgress,
) -> list[Failure]:
    """Ask a server for every missing answer, and return the calls that failed.

    An answer that is still unreadable after the second try is no failure here; the journal has it.

    Args:
        options: the options of the command.
        server: answers, call by call or in batches.
        asked: how the model is asked.
        counter: counts the tokens if the server does not.
        job: the lines and the question.
        journal: the answers so far; new ones are added.
        progress: the progress bar.
    """
    from melt_ser.annotation.answering import answer_all
    from melt_ser.annotation.batch import Batches
    from melt_ser.annotation.dialect import ANSWER_LIMIT, THINKING_LIMIT
    from melt_ser.annotation.openai_engine import OpenAIEngine
    from melt_ser.annotation.pace import Pace

    limit = THINKING_LIMIT if journal.has_seen_thinking(job.model, job.prompt.version) else ANSWER_LIMIT
    async with aclosing(server) as endpoint:
        if options.engine == "batch":
            sizes = (options.batch_requests, options.concurrency, options.poll)
            return await Batches(job, endpoint, journal, *sizes, progress, asked, counter, limit).answer_all()
        pace = Pace(options.requests_per_minute, options.tokens_per_minute)
        engine = OpenAIEngine(endpoint, job.model, asked, counter, pace, limit)
        return await answer_all(job, engine, journal, options.concurrency, progress)


def _write(out: Path, job: Job, journal: Journal, rules: dict[str, str], failures: list[Failure]) -> int:
    """Write the labels file, print how many answers are missing or outside the label set, and return the exit code.

    It is 1 if an answer is missing, or if no line has a label.

    Args:
        out: the labels file.
        job: the lines and the question.
        journal: the answers.
        rules: the label for each answer outside the label set (--map).
        failures: the calls that failed, with the reason.
    """
    from melt_ser.annotation.job import labelled_lines, unanswered
    from melt_ser.annotation.labels_file import outside_the_set, write_labels

    labelled = labelled_lines(job, journal, rules)
    write_labels(out, labelled)
    without_answer = unanswered(job, journal, failures)
    no_label = not any(line.is_labelled for line in labelled)
    for sentence in (without_answer, outside_the_set(labelled), f"{out} has no label at all" if no_label else ""):
        if sentence:
            say(sentence)
    _finish(out)
    return 1 if without_answer or no_label else 0


def _combine(options: argparse.Namespace) -> int:
    """Write one labels file from several."""
    from melt_ser.annotation.combining import combine, few_lines
    from melt_ser.annotation.labels_file import write_labels

    labelled = combine(options.tables, options.method)
    if caution := few_lines(labelled, options.method):
        say(caution)
    write_labels(options.out, labelled)
    _finish(options.out)
    return 0


def _finish(out: Path) -> None:
    """Print the path of the labels file, unless it is a stream: in standard output, the line would follow the rows."""
    from melt_ser.core.places import is_stream

    if not is_stream(out):
        finish(out)


if __name__ == "__main__":
    sys.exit(main())
