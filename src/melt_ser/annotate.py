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
from melt_ser.cli.signals import run_async
from melt_ser.cli.verb import number, run, whole_number
from melt_ser.core.console import finish, say
from melt_ser.core.errors import InputError, MeltSerError, SetupError

if TYPE_CHECKING:
    from melt_ser.annotation.answering import AnnotationProgress
    from melt_ser.annotation.job import Failure, Job
    from melt_ser.annotation.journal import Journal
    from melt_ser.annotation.local import LocalEngine
    from melt_ser.annotation.openai_engine import Endpoint
    from melt_ser.corpora.lines import Line

PAPER_MODEL = "gpt-4o-2024-08-06"


def main(arguments: list[str] | None = None) -> int:
    """Annotate, or print the cost, or combine labels files; return the exit code.

    It is 1 if a call got no readable answer; every line is written, if need be without a label.
    """
    stopped = "stopped; the same command goes on from what is answered."
    return run(lambda: _run(_parser().parse_args(arguments)), stopped)


def _run(options: argparse.Namespace) -> int:
    try:
        _check_out(options)
        return _combine(options) if options.combine else annotate(options)
    except MeltSerError:
        raise
    except Exception:  # a bug of ours; its traceback must not show the key either
        from melt_ser.annotation.openai_engine import without_key

        key = os.environ.get(options.key_variable, "").strip()
        print(without_key(traceback.format_exc(), key), file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="melt-ser annotate", description="Label text with emotions by a language model."
    )
    parser.add_argument(
        "tables", type=Path, nargs="+", metavar="TABLE", help="corpus tables, MELD's CSVs or their folder"
    )
    parser.add_argument("--out", type=Path, required=True, help="the labels file to write (CSV)")
    parser.add_argument("--combine", action="store_true", help="the tables are labels files: write their consensus")
    parser.add_argument(
        "--method", choices=("majority", "dawid_skene"), default="majority", help="of the consensus (majority)"
    )
    question = parser.add_argument_group("the question")
    question.add_argument(
        "--prompt",
        metavar="NAME",
        help="dialogue, dialogue_de, dialogue_zh, melt, context, definitions, few_shot, or a YAML of yours "
        "(melt for MELD's own files, otherwise dialogue)",
    )
    question.add_argument("--corpus", metavar="TEXT", help="where the lines are from, as {{ corpus }} in the prompt")
    question.add_argument("--samples", type=whole_number(1), default=1, help="answers for each line (1)")
    question.add_argument("--temperature", type=number, default=1.0, help="(1.0, the paper's)")
    question.add_argument(
        "--filter", default="", metavar="NAMES", help="short_clips,few_words,vague_characters: the paper's"
    )
    question.add_argument("--first", type=whole_number(1), metavar="N", help="only the first N lines, to try a prompt")
    question.add_argument(
        "--map", action="append", default=[], metavar="OTHER=LABEL", help="the label for an answer outside the set"
    )
    add_column_options(parser)
    engine = parser.add_argument_group("the engine")
    engine.add_argument("--engine", choices=("openai", "batch", "local"), default="openai", help="(openai)")
    engine.add_argument(
        "--model", help=f"({PAPER_MODEL}, the paper's); for local: hub id, folder, GGUF file or <id>:<GGUF>"
    )
    engine.add_argument("--base-url", metavar="URL", help="a server of the OpenAI protocol (OpenAI's)")
    engine.add_argument(
        "--key-variable", default="OPENAI_API_KEY", metavar="NAME", help="variable with the API key (OPENAI_API_KEY)"
    )
    engine.add_argument("--timeout", type=number, default=120.0, help="seconds that an answer may take (120)")
    engine.add_argument("--concurrency", type=whole_number(1), default=8, help="calls, or batches, at a time (8)")
    engine.add_argument(
        "--batch-requests", type=whole_number(1), default=10_000, metavar="N", help="calls in a batch (10000)"
    )
    engine.add_argument(
        "--calibrate", type=Path, metavar="TABLE", help="labelled lines that calibrate the engine local"
    )
    engine.add_argument("--poll", type=number, default=30.0, metavar="SECONDS", help="between looks at a batch (30)")
    cost = parser.add_argument_group("the cost")
    cost.add_argument("--dry-run", action="store_true", help="print cost and time, and ask nothing")
    cost.add_argument("--limit", type=number, default=1.0, metavar="US$", help="ask you above this cost (1.00)")
    cost.add_argument("--yes", action="store_true", help="do not ask you")
    cost.add_argument("--price", metavar="IN,OUT", help="US$ per million tokens of prompts and answers (OpenAI's)")
    cost.add_argument("--journal", type=Path, help="(<out> with the suffix .journal.sqlite)")
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
    from melt_ser.annotation.answering import AnnotationProgress
    from melt_ser.annotation.answers import parse_rules
    from melt_ser.annotation.cost import confirm_cost, describe, estimate_job, price_of
    from melt_ser.annotation.job import Job
    from melt_ser.annotation.journal import empty_journal, open_journal
    from melt_ser.annotation.openai_engine import Endpoint
    from melt_ser.annotation.prompts import load_prompt
    from melt_ser.annotation.question import notes_on, usual_prompt
    from melt_ser.core.places import neighbour
    from melt_ser.corpora.lines import earlier_lines, later_lines, read_lines

    _check_engine(options)
    remote = options.engine != "local" and not options.dry_run
    endpoint = Endpoint(options.base_url, options.key_variable, options.timeout) if remote else None
    path = options.journal or neighbour(options.out.with_suffix(""), "", ".journal.sqlite")
    columns = chosen_columns(options)
    given = load_prompt(options.prompt, options.corpus) if options.prompt else None
    notes: list[str] = []  # said before anything is asked, and not if the command is wrong
    lines = read_lines(options.tables, columns, notes.append)
    prompt = given or usual_prompt(options.corpus, lines, path)
    notes += notes_on(prompt, lines)
    rules = parse_rules(options.map, prompt.labels)  # before anything is paid
    earlier, later = earlier_lines(lines, prompt.history), later_lines(lines, prompt.following)
    chosen = _chosen_lines(lines, options)
    local = None
    if options.engine == "local" and not options.dry_run:
        from melt_ser.annotation.local import open_engine

        local = open_engine(options.model, prompt, options.temperature, options.calibrate, columns)
    temperature = local.temperature if local else options.temperature
    job = Job(chosen, earlier, prompt, options.model, temperature, options.samples, later)
    with empty_journal() if options.dry_run and not path.exists() else open_journal(path) as journal:
        price, source = price_of(options.model, options.engine, options.base_url, options.price)
        estimate = estimate_job(job, journal)
        for note in notes:
            say(note)
        for sentence in describe(job, estimate, price, source, options.engine, options.concurrency):
            if options.dry_run:
                print(sentence)
            else:
                say(sentence)
        if options.dry_run:
            return 0
        if estimate.calls and not options.yes:
            confirm_cost(None if price is None else estimate.cost(price), options.limit)
        spent = 0.0 if price is None else price.of(estimate.spent.prompt_tokens, estimate.spent.completion_tokens)
        with AnnotationProgress(len(job), len(job) - estimate.calls, price, spent) as progress:
            server_or_model = endpoint or local
            assert server_or_model is not None
            failures = run_async(_answer_all(options, server_or_model, job, journal, progress))
        return _write(options.out, job, journal, rules, failures)


def _check_engine(options: argparse.Namespace) -> None:
    """Fill in the paper's model. Raises SetupError if --engine local has no model or a temperature of 0."""
    if options.engine == "local" and not options.model:
        raise SetupError("--engine local needs a --model: a hub id, a folder, a GGUF file or <hub id>:<GGUF file>.")
    if options.engine == "local" and not options.temperature:
        raise SetupError("--engine local needs a --temperature above 0 for its probabilities; leave the option out.")
    options.model = options.model or PAPER_MODEL


def _chosen_lines(lines: list[Line], options: argparse.Namespace) -> list[Line]:
    """Return the lines that pass the filters, at most --first of them, and print how many each filter leaves out."""
    from melt_ser.annotation.filters import filter_lines

    passing, left_out = filter_lines(lines, [name for name in options.filter.split(",") if name])
    for name, out in left_out.items():
        if out or name in options.filter:
            say(f"the filter {name} leaves out {len(out):,} of {len(lines):,} lines")
    if not passing:
        raise InputError(f"No line of {', '.join(map(str, options.tables))} is left to annotate.")
    return passing[: options.first]


async def _answer_all(
    options: argparse.Namespace,
    server_or_model: Endpoint | LocalEngine,
    job: Job,
    journal: Journal,
    progress: AnnotationProgress,
) -> list[Failure]:
    """Ask the chosen engine for every missing answer, and return the calls that failed.

    An answer that is still unreadable after the second try is no failure here; the journal has it.

    Args:
        options: the options of the command.
        server_or_model: the endpoint of openai or batch, or the local model.
        job: the lines and the question.
        journal: the answers so far; new ones are added.
        progress: the progress bar.
    """
    from melt_ser.annotation.answering import answer_all
    from melt_ser.annotation.batch import Batches
    from melt_ser.annotation.openai_engine import Endpoint, OpenAIEngine

    if not isinstance(server_or_model, Endpoint):
        return await answer_all(job, server_or_model, journal, 1, progress)
    async with aclosing(server_or_model) as endpoint:
        if options.engine == "batch":
            requests, concurrency, poll = options.batch_requests, options.concurrency, options.poll
            return await Batches(job, endpoint, journal, requests, concurrency, poll, progress).answer_all()
        engine = OpenAIEngine(endpoint, job.model, job.temperature)
        return await answer_all(job, engine, journal, options.concurrency, progress)


def _write(out: Path, job: Job, journal: Journal, rules: dict[str, str], failures: list[Failure]) -> int:
    """Write the labels file, print how many answers are missing or outside the label set, and return the exit code.

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
    for sentence in (without_answer, outside_the_set(labelled)):
        if sentence:
            say(sentence)
    _finish(out)
    return 1 if without_answer else 0


def _combine(options: argparse.Namespace) -> int:
    """Write one labels file from several."""
    from melt_ser.annotation.labels_file import combine, write_labels

    write_labels(options.out, combine(options.tables, options.method))
    _finish(options.out)
    return 0


def _finish(out: Path) -> None:
    """Print the path of the labels file, unless it is a stream: in standard output, the line would follow the rows."""
    from melt_ser.core.places import is_stream

    if not is_stream(out):
        finish(out)


if __name__ == "__main__":
    sys.exit(main())
