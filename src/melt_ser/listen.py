"""`python -m melt_ser.listen build TABLE … | serve FOLDER | score KEY ANSWERS…`: a blind test of two label sources."""

from __future__ import annotations

import argparse
import sys

from melt_ser.cli.verb import given_path, names, number, run, whole_number
from melt_ser.core.console import Progress, finish, say
from melt_ser.core.counting import counted
from melt_ser.core.errors import SetupError
from melt_ser.label_study.options import add_page_options, add_pair_options
from melt_ser.reporting.small_report import add_output_options, write


def main(arguments: list[str] | None = None) -> int:
    """Build a test, collect its answers or score them; return the exit code."""
    return run(lambda: _run(_parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    code: int = options.run(options)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="melt-ser listen", description="A blind preference test of two label sources."
    )
    verbs = parser.add_subparsers(required=True, metavar="build|serve|score")
    make = verbs.add_parser("build", help="write a folder with the page, the clips and the key")
    make.add_argument("first", type=given_path, metavar="A.csv", help="a corpus table (audio, start, end) with labels")
    make.add_argument("second", type=given_path, nargs="?", metavar="B.csv", help="labels of the second source")
    add_pair_options(make)
    make.add_argument("--labels", type=names, metavar="LABELS", help="use only these (default: every label)")
    make.add_argument("--root", type=given_path, required=True, help="the folder of the table's audio")
    make.add_argument("--out", type=given_path, required=True, help="folder to write; raters get its share/")
    make.add_argument("--clips", type=whole_number(1), default=40, help="clips to judge (default: 40)")
    make.add_argument("--checks", type=whole_number(0), default=3, help="attention checks besides them (default: 3)")
    make.add_argument("--longest", type=number, default=30.0, metavar="SECONDS", help="of a clip (default: 30)")
    make.add_argument(
        "--seed", type=whole_number(0), default=0, help="of the choice, the order and the sides (default: 0)"
    )
    add_page_options(make)
    make.set_defaults(run=_build)
    serve = verbs.add_parser("serve", help="show the page of a test, or of a review, and collect the answers")
    serve.add_argument("folder", type=given_path, help="the folder that build, or annotate --review, wrote")
    serve.add_argument("--raters", type=names, required=True, metavar="CODES", help="codes, or a number of raters")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    serve.add_argument("--port", type=whole_number(0), default=8080, help="(default: 8080; 0: any that is free)")
    serve.add_argument("--address", metavar="URL", help="of the page, if another server passes it on")
    serve.set_defaults(run=_serve)
    count = verbs.add_parser("score", help="turn answers into preferences")
    count.add_argument("key", type=given_path, help="the key.json that build wrote")
    count.add_argument("answers", type=given_path, nargs="+", help="the raters' files, or folders of them")
    count.add_argument(
        "--allow-failed", type=whole_number(0), default=0, metavar="CHECKS", help="checks a rater may fail (default: 0)"
    )
    count.add_argument("--seed", type=whole_number(0), default=0, help="of the bootstrap (default: 0)")
    add_output_options(count)
    count.set_defaults(run=_score)
    return parser


def _build(options: argparse.Namespace) -> int:
    from melt_ser.label_study.label_pairs import read_pairs
    from melt_ser.label_study.listening import KEY, SHARED, build
    from melt_ser.label_study.rating_page import load_questions, load_words

    if not options.longest > 0:
        raise SetupError(f"--longest is {options.longest:g}; give more than 0 seconds.")
    pairs = read_pairs(options.first, options.second, options.first_column, options.second_column, options.keys)
    words, questions = load_words(options.words), load_questions(options.questions)
    numbers = {name: getattr(options, name) for name in ("clips", "checks", "longest", "seed")}
    key = build(pairs, options.root, options.out, options.labels, **numbers, words=words, questions=questions)
    for reason, count in key["left_out"].items():
        say(f"not used: {counted(count, 'utterance')}, {reason}")
    for clip in key["problems"]:
        say(f"skipped: {clip['reason']}")
    say(f"give raters the folder {options.out / SHARED}; keep {options.out / KEY} to yourself")
    finish(options.out / SHARED / "index.html")
    return 0


def _serve(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C; the links of the raters are on standard output."""
    from melt_ser.label_study.answer_server import ANSWERS, AnswerServer, codes_of

    codes = codes_of(options.raters)
    with AnswerServer(options.folder, options.host, options.port) as server:
        for code in codes:
            print(server.link(code, options.address), flush=True)
        say(f"answers go to {options.folder / ANSWERS}; stop with Ctrl-C")
        server.serve_forever()
    return 0


def _score(options: argparse.Namespace) -> int:
    import msgspec

    from melt_ser.label_study.listening_answers import read_judgements
    from melt_ser.label_study.preference import preference, sections

    judgements = read_judgements(options.key, options.answers, options.allow_failed)
    with Progress("comparing the sources"):
        result = preference(judgements, seed=options.seed)
    write(options, sections(result), msgspec.to_builtins(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
