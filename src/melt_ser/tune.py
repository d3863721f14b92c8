"""`python -m melt_ser.tune <settings as for train> [--trials N] [--hours H] …`: search settings by the score on dev."""

from __future__ import annotations

import argparse
import importlib.util
import sys

from omegaconf import DictConfig

from melt_ser.cli.launch import launch
from melt_ser.cli.overrides import OPTIONS_WITH_VALUE
from melt_ser.cli.verb import number, run, whole_number
from melt_ser.core.errors import SetupError, did_you_mean

OF_HYDRA = {*OPTIONS_WITH_VALUE, "--resolve", "--shell-completion", "-sc"}


def main() -> int:
    """Search, or with --range test learning rates; return the exit code."""
    typed = sys.argv[1:]
    parser = _parser()
    if {"--help", "-h"} & set(typed):
        return run(lambda: _help(parser))
    options, words = parser.parse_known_args(typed)
    mistake = _mistake(parser, options, words)
    if mistake is not None:
        return run(lambda: _refuse(mistake))
    sys.argv[1:] = words

    def tune(composed: DictConfig) -> None:
        if options.range:
            from melt_ser.tuning.rate_range import rate_range

            rate_range(composed, options.steps)
            return
        if importlib.util.find_spec("optuna") is None:
            raise SetupError("tune needs the package optuna: pip install 'melt-ser[tune]'.")
        from melt_ser.tuning.command import run_search

        run_search(composed, options, typed)

    return launch("config", tune)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="melt-ser tune",
        usage="python -m melt_ser.tune [GROUP=NAME ...] [KEY=VALUE ...] [--config-dir FOLDER] [options]",
        description="Search the settings of a training by its score on dev; the test part is not read. GROUP=NAME and "
        "KEY=VALUE are those of train (python -m melt_ser.train --help), and what they set is not searched. The same "
        "command again goes on, also while another one is at work.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--trials", type=whole_number(0), metavar="N", help="trials in all; 0 reports those there are (default: 20)")
    add("--hours", type=number, metavar="H", help="begin no trial after this time; without --trials the only bound")
    add("--space", metavar="FILE", help="YAML of the search space (default: one of conf/tune, by the trainer)")
    add("--study", metavar="NAME", help="name of the study (default: made from the settings and the space)")
    add("--storage", metavar="PLACE", help="SQLite file or URL of Optuna's storage (default: study.db in its folder)")
    add(
        "--workers", type=whole_number(1), default=1, metavar="N", help="processes that train side by side (default: 1)"
    )
    add("--no-pruning", action="store_true", help="train every trial to its end")
    add("--range", action="store_true", help="no search: raise the learning rates step by step, and suggest values")
    add("--steps", type=whole_number(10), metavar="N", help="steps of --range (default: an epoch, but at least 100)")
    add("--one-of-several", action="store_true", help=argparse.SUPPRESS)  # started by --workers: no report at the end
    return parser


def _mistake(parser: argparse.ArgumentParser, options: argparse.Namespace, words: list[str]) -> str | None:
    """Return the sentence about an option that is unknown, or that does nothing with the others; None if all fit."""
    own = {option for action in parser._actions for option in action.option_strings} - {"--one-of-several"}
    for word in words:
        name = word.partition("=")[0]
        if name in ("--multirun", "-m"):
            return "tune searches by itself; leave --multirun out, and give each study its own command."
        if word.startswith("-") and name not in OF_HYDRA:
            return f"There is no option {name}; {did_you_mean(name, own)}"
    set_options = {name for name, value in vars(options).items() if value != parser.get_default(name)}
    if options.range and set_options - {"range", "steps"}:
        other = sorted(set_options - {"range", "steps"})[0].replace("_", "-")
        return f"--{other} has no effect with --range, which runs no trials; leave it out."
    if options.steps is not None and not options.range:
        return "--steps is for --range; leave it out, or set trainer.epochs for the trials."
    return None


def _help(parser: argparse.ArgumentParser) -> int:
    parser.print_help()
    return 0


def _refuse(sentence: str) -> int:
    raise SetupError(sentence)


if __name__ == "__main__":
    sys.exit(main())
