"""`python -m melt_ser.annotate TABLE… --out labels.csv [--engine openai|batch|local] [--model M] [--prompt NAME] …`

Emotion labels from text by a language model. What has been answered is in the journal beside the labels file, so that
the same command goes on where it was stopped, and nothing is paid twice.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import traceback
from collections import Counter
from contextlib import aclosing
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

from melt_ser.cli.arguments import number, whole_number
from melt_ser.cli.verb import run
from melt_ser.core.console import finish, say
from melt_ser.core.errors import InputError, MeltSerError, SetupError

if TYPE_CHECKING:
    from melt_ser.annotation.cost import Price
    from melt_ser.annotation.job import Failure, Job
    from melt_ser.annotation.journal import Journal
    from melt_ser.annotation.local import LocalEngine
    from melt_ser.annotation.openai_engine import Endpoint
    from melt_ser.annotation.progress import AnnotationProgress
    from melt_ser.annotation.prompts import Prompt
    from melt_ser.corpora.lines import Line

PAPER_MODEL = "gpt-4o-2024-08-06"
GIVEN_LABELS = ("label", "Emotion", "llm_label")  # columns in which labelled lines have their label
COUNTED = 10  # labels outside the set that are told with their counts, and
LONGEST_SHOWN = 40  # how many characters of each
NAMED = 3  # lines without a label that are named, of those that are counted


def main(arguments: list[str] | None = None) -> int:
    """Annotate, or tell the cost; 1 where some line got no answer that can be read, and the rest is written."""
    options = _parser().parse_args(arguments)
    return run(lambda: _run(options), "stopped; the same command goes on from what is answered.")


def _run(options: argparse.Namespace) -> int:
    try:
        _check_out(options)
        return _combine(options) if options.combine else annotate(options)
    except MeltSerError:
        raise
    except Exception:  # a mistake of ours, which must not show the key either
        from melt_ser.annotation.openai_engine import without_key

        key = os.environ.get(options.key_variable, "").strip()
        print(without_key(traceback.format_exc(), key), file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="melt-ser annotate", description="Emotion labels from text by a language model."
    )
    parser.add_argument(
        "tables", type=Path, nargs="+", metavar="TABLE", help="corpus tables, MELD's CSVs or their folder"
    )
    parser.add_argument("--out", type=Path, required=True, help="the labels file to write (CSV)")
    parser.add_argument("--combine", action="store_true", help="the tables are labels files: write their consensus")
    parser.add_argument("--method", choices=("majority", "dawid_skene"), default="majority", help="of it (majority)")
    asked = parser.add_argument_group("what is asked")
    asked.add_argument(
        "--prompt", default="melt", help="melt, context, definitions, few_shot or a YAML of yours (melt)"
    )
    asked.add_argument("--samples", type=whole_number(1), default=1, help="answers for each line (1)")
    asked.add_argument("--temperature", type=number, default=1.0, help="(1.0, the paper's)")
    asked.add_argument(
        "--filter", default="", metavar="NAMES", help="short_clips,few_words,vague_characters: the paper's"
    )
    asked.add_argument(
        "--first", type=whole_number(1), metavar="N", help="only the first N lines, to try what a prompt gives"
    )
    asked.add_argument(
        "--map", action="append", default=[], metavar="OTHER=LABEL", help="the label for an answer outside the set"
    )
    engine = parser.add_argument_group("who is asked")
    engine.add_argument("--engine", choices=("openai", "batch", "local"), default="openai", help="(openai)")
    engine.add_argument(
        "--model", help=f"({PAPER_MODEL}, the paper's); of local: hub id, folder, GGUF file or <id>:<GGUF>"
    )
    engine.add_argument("--base-url", metavar="URL", help="a server of the OpenAI protocol (OpenAI's)")
    engine.add_argument(
        "--key-variable", default="OPENAI_API_KEY", metavar="NAME", help="where its key is (OPENAI_API_KEY)"
    )
    engine.add_argument("--timeout", type=number, default=120.0, help="seconds that an answer may take (120)")
    engine.add_argument("--concurrency", type=whole_number(1), default=8, help="calls, or batches, at a time (8)")
    engine.add_argument(
        "--batch-requests", type=whole_number(1), default=10_000, metavar="N", help="calls in a batch (10000)"
    )
    engine.add_argument("--calibrate", type=Path, metavar="TABLE", help="labelled lines, by which local is calibrated")
    engine.add_argument("--poll", type=number, default=30.0, metavar="SECONDS", help="between looks at a batch (30)")
    paid = parser.add_argument_group("what it costs")
    paid.add_argument("--dry-run", action="store_true", help="tell cost and time, and ask nothing")
    paid.add_argument("--limit", type=number, default=1.0, metavar="US$", help="asks you where it costs more (1.00)")
    paid.add_argument("--yes", action="store_true", help="does not ask you")
    paid.add_argument("--price", metavar="IN,OUT", help="US$ a million tokens of prompts and answers (OpenAI's)")
    paid.add_argument("--journal", type=Path, help="(<out> with the suffix .journal.sqlite)")
    return parser


def _check_out(options: argparse.Namespace) -> None:
    """SetupError, before anything is paid, where the labels file would take the place of an input or is a folder."""
    from melt_ser.corpora.lines import files_of

    if options.out.is_dir():
        raise SetupError(f"--out {options.out} is a folder; name a file, such as {options.out / 'labels.csv'}.")
    inputs = [file.resolve() for table in options.tables for file in files_of(table)]
    if options.out.resolve() in inputs:
        raise SetupError(f"--out {options.out} is one of the tables that are read; name another file.")


def annotate(options: argparse.Namespace) -> int:
    """Ask what is not answered yet, write the labels file, and return the exit code."""
    from melt_ser.annotation.answers import parse_rules
    from melt_ser.annotation.job import Job, describe, estimated
    from melt_ser.annotation.journal import empty_journal, open_journal
    from melt_ser.annotation.openai_engine import Endpoint
    from melt_ser.annotation.progress import AnnotationProgress
    from melt_ser.annotation.prompts import load_prompt
    from melt_ser.corpora.lines import earlier_lines, read_lines

    if options.engine == "local" and not options.model:
        raise SetupError("--engine local needs a --model: a hub id, a folder, a GGUF file or <hub id>:<GGUF file>.")
    if options.engine == "local" and not options.temperature:
        raise SetupError("--engine local samples nothing: at --temperature 0 it has no probabilities; leave it out.")
    options.model = options.model or PAPER_MODEL
    remote = options.engine != "local" and not options.dry_run
    endpoint = Endpoint(options.base_url, options.key_variable, options.timeout) if remote else None
    prompt = load_prompt(options.prompt)
    parse_rules(options.map, prompt.labels)  # before anything is paid
    lines = read_lines(options.tables)
    earlier = earlier_lines(lines, prompt.history)
    kept = _kept(lines, options)
    local = _local_engine(options, prompt) if options.engine == "local" and not options.dry_run else None
    temperature = local.temperature if local else options.temperature
    job = Job(kept, earlier, prompt, options.model, temperature, options.samples)
    path = options.journal or options.out.with_suffix(".journal.sqlite")
    with empty_journal() if options.dry_run and not path.exists() else open_journal(path) as journal:
        price, source = _price(options)
        estimate = estimated(job, journal)
        for sentence in describe(job, estimate, price, source, options.engine, options.concurrency):
            if options.dry_run:
                print(sentence)
            else:
                say(sentence)
        if options.dry_run:
            return 0
        if estimate.calls:
            _agree(options, None if price is None else estimate.cost(price))
        spent = 0.0 if price is None else price.of(estimate.spent.prompt_tokens, estimate.spent.completion_tokens)
        with AnnotationProgress(len(job), len(job) - estimate.calls, price, spent) as progress:
            asked = endpoint or local
            assert asked is not None
            failures = asyncio.run(_ask(options, asked, job, journal, progress))
        return _finish(options, job, journal, failures)


def _kept(lines: list[Line], options: argparse.Namespace) -> list[Line]:
    """The lines that pass the filters, what is left out told; of these the first, where so few are wanted."""
    from melt_ser.annotation.filters import filter_lines

    kept, left_out = filter_lines(lines, [name for name in options.filter.split(",") if name])
    for name, out in left_out.items():
        if out or name in options.filter:
            say(f"{len(out):,} of {len(lines):,} lines are left out by the filter {name}")
    if not kept:
        raise InputError(f"No line of {', '.join(map(str, options.tables))} is left to annotate.")
    return kept[: options.first]


def _local_engine(options: argparse.Namespace, prompt: Prompt) -> LocalEngine:
    """The model in this process, calibrated by labelled lines where they are given."""
    from melt_ser.annotation.local import LocalEngine
    from melt_ser.corpora.lines import earlier_lines, read_lines

    model, _, file = options.model.rpartition(":")
    apart = model and file.endswith(".gguf") and not Path(options.model).is_file()
    name, gguf_file = (model, file) if apart else (options.model, None)
    say(f"loading {options.model}")
    engine = LocalEngine(name, gguf_file, options.temperature)
    if options.calibrate:
        lines = read_lines(options.calibrate)
        earlier = earlier_lines(lines, prompt.history)
        labels = [next((line.columns[name] for name in GIVEN_LABELS if name in line.columns), "") for line in lines]
        known = [(line, label) for line, label in zip(lines, labels, strict=True) if label in prompt.labels]
        if not known:
            raise InputError(
                f"{options.calibrate} has no line with a label of the prompt in {', '.join(GIVEN_LABELS)}."
            )
        temperature = engine.calibrate(
            [(prompt.messages(line, earlier[line.utterance]), prompt.schema, label) for line, label in known]
        )
        say(f"calibrated by {len(known):,} of {len(lines):,} lines: temperature {temperature:.3f}")
    return engine


def _price(options: argparse.Namespace) -> tuple[Price | None, str]:
    """The price of tokens and where it is from; None where it is not known."""
    from melt_ser.annotation.cost import FREE, is_own_machine, known_price, parse_price

    if options.price:
        return parse_price(options.price), "--price"
    if options.engine == "local" or is_own_machine(options.base_url):
        return FREE, "your own machine"
    return known_price(options.model, options.engine == "batch") or (None, "")


def _agree(options: argparse.Namespace, dollars: float | None) -> None:
    """Ask whether to spend more than the limit, or what is not known; SetupError for no, and where nobody can say."""
    from melt_ser.annotation.cost import money

    if options.yes or (dollars is not None and dollars <= options.limit):
        return
    cost = "what this costs is not known (--price 2.50,10 tells it)" if dollars is None else f"about {money(dollars)}"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise SetupError(f"{cost}, and --limit is {money(options.limit)}; add --yes, or a higher --limit.")
    print(f"{cost}. Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise SetupError("nothing was asked; --first 50 tries a prompt for less.")


async def _ask(
    options: argparse.Namespace,
    asked: Endpoint | LocalEngine,
    job: Job,
    journal: Journal,
    progress: AnnotationProgress,
) -> list[Failure]:
    """Have the chosen engine answer what is open; the calls that got no answer."""
    from melt_ser.annotation.batch import Batches
    from melt_ser.annotation.job import answer_all
    from melt_ser.annotation.openai_engine import Endpoint, OpenAIEngine

    if not isinstance(asked, Endpoint):
        return await answer_all(job, asked, journal, 1, progress)
    async with aclosing(asked):
        if options.engine == "batch":
            batches = Batches(job, asked, journal, options.batch_requests, options.concurrency, options.poll, progress)
            return await batches.answer_all()
        engine = OpenAIEngine(asked, job.model, job.temperature)
        return await answer_all(job, engine, journal, options.concurrency, progress)


def _finish(options: argparse.Namespace, job: Job, journal: Journal, failures: list[Failure]) -> int:
    """Write the labels file, and tell what it lacks: answers that did not come or cannot be read, labels outside."""
    from melt_ser.annotation.answers import parse_rules
    from melt_ser.annotation.job import labelled_lines, unreadable
    from melt_ser.annotation.labels_file import write_labels

    labelled = labelled_lines(job, journal, parse_rules(options.map, job.prompt.labels))
    write_labels(options.out, labelled)
    failed = {(failure.utterance, failure.sample): failure.reason for failure in [*unreadable(job, journal), *failures]}
    if failed:
        named = "; ".join(f"{utterance} ({reason})" for (utterance, _), reason in list(failed.items())[:NAMED])
        say(f"{len(failed):,} of {len(job):,} calls have no answer that can be read: {named}")
    outside = Counter(one.answer.label_raw for one in labelled if one.answer is not None and not one.label)
    if outside:
        describe = [f"{shorten(label, LONGEST_SHOWN)} {count:,}" for label, count in outside.most_common(COUNTED)]
        counts = ", ".join(describe + ([f"{len(outside) - COUNTED:,} others"] if len(outside) > COUNTED else []))
        lines = sum(outside.values())
        say(f"{lines:,} lines have no label, since theirs is none of the prompt's ({counts}); see --map")
    finish(options.out)
    return 1 if failed else 0


def _combine(options: argparse.Namespace) -> int:
    """Write one labels file from several."""
    from melt_ser.annotation.combine import combine
    from melt_ser.annotation.labels_file import write_labels

    write_labels(options.out, combine(options.tables, options.method))
    finish(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
