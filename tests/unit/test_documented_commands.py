"""Every command in the documents is one that its program takes: settings compose, options parse, files are there."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import runpy
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from checkout import CHECKOUT
from documented import Command, documented
from melt_ser import tune
from melt_ser.__main__ import VERBS
from melt_ser.cli.checks import check
from melt_ser.cli.compose import SCHEMAS, compose, typed
from melt_ser.cli.help import VERBS as BY_YAML
from melt_ser.cli.overrides import with_run
from melt_ser.cli.published_classifier import with_classifier
from melt_ser.config import Config

COMMANDS = documented()
YAML_OF = {verb: name for name, verb in BY_YAML.items()}
HAS_RAY = importlib.util.find_spec("hydra_plugins.hydra_ray_launcher") is not None
OTHERS = {  # programs of others, which no test starts here
    "curl": "tests/integration/test_serve.py posts the same forms",
    "docker": "scripts/try_container.py runs the lines of the Dockerfile; what runs in it is looked at above",
    "git": "the releaser's",
    "hf": "huggingface_hub's; it needs an account",
    "pdflatex": "tests/unit/reporting/test_latex.py compiles such tables",
    "twine": "tests/integration/test_wheel.py checks by it; an upload needs an account",
    "uv": "scripts/check_extras.sh starts it",
    "export": "a variable of the shell",
    "ray": "tests/integration/test_ray_cluster.py starts a cluster by it",
    "source": "the shell's",
}
OTHER_MODULES = {"llama_cpp.server": "a server of others"}


class Parsed(Exception):
    """The options were parsed; the work does not begin."""


@contextmanager
def parsing_only() -> Iterator[None]:
    """Let each argparse program stop with Parsed as soon as its options are parsed."""
    parse = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser, *arguments: object) -> None:
        parse(parser, *arguments)  # type: ignore[call-overload]
        raise Parsed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        yield


def jobs(words: list[str]) -> Iterator[list[str]]:
    """Yield settings that together have each value of a sweep once."""
    settings = [word for word in words if not word.startswith("-")]
    values: dict[int, list[str]] = {}
    for number, word in enumerate(settings):
        if "," not in word or "{" in word:  # a mapping cannot be swept
            continue
        override = OverridesParser.create().parse_override(word)
        if override.is_sweep_override():
            values[number] = [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
    for turn in range(max(map(len, values.values()), default=1)):
        yield [values[at][turn % len(values[at])] if at in values else word for at, word in enumerate(settings)]


def of_hydra() -> list[Command]:
    return [command for command in COMMANDS if command.verb in YAML_OF and "--help" not in command.words]


def of_argparse() -> list[Command]:
    return [command for command in COMMANDS if command.verb and command.verb not in (*YAML_OF, "tune")]


def others() -> list[Command]:
    return [command for command in COMMANDS if command.verb is None]


def test_the_documents_show_every_verb() -> None:
    assert {command.verb for command in COMMANDS if command.verb} == set(VERBS)


@pytest.mark.slow
@pytest.mark.parametrize("command", of_hydra(), ids=str)
def test_settings_compose(command: Command) -> None:
    assert command.verb is not None
    name = YAML_OF[command.verb]
    words = [
        word for word in command.arguments if HAS_RAY or not re.match(r"hydra/launcher=ray|hydra\.launcher\.ray", word)
    ]
    if command.verb == "evaluate":
        words = with_classifier(with_run(words))
    for job in jobs(words):
        settings = typed(compose(job, name), SCHEMAS[name])
        if isinstance(settings, Config):
            check(settings)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.verb == "tune"], ids=str)
def test_a_search_has_options_and_settings(command: Command) -> None:
    parser = tune._parser()
    options, words = parser.parse_known_args(command.arguments)
    assert tune._mistake(parser, options, words) is None
    check(typed(compose(words, "config"), Config))


@pytest.mark.parametrize("command", of_argparse(), ids=str)
def test_options_parse(command: Command) -> None:
    main = importlib.import_module(f"melt_ser.{command.verb}").main
    with parsing_only(), pytest.raises(Parsed):
        main(command.arguments)


@pytest.mark.parametrize("command", others(), ids=str)
def test_the_program_is_there(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *rest = command.words
    if program == "python" and rest[0] == "-m":
        assert rest[1] in OTHER_MODULES
    elif program == "python" and rest[0] in ("-", "-c"):
        compile(rest[1] if rest[0] == "-c" else "", "code", "exec")
    elif program == "python" and rest[0].startswith("RUN/"):  # a program beside an exported model
        assert (CHECKOUT / "src/melt_ser/runs" / Path(rest[0]).name).is_file()
    elif program == "python" and rest[0].endswith(".py"):
        script = CHECKOUT / rest[0]
        if "parse_args" in script.read_text(encoding="utf-8") and "--help" not in rest:
            monkeypatch.setattr(sys, "argv", [str(script), *rest[1:]])
            with parsing_only(), pytest.raises(Parsed):
                runpy.run_path(str(script), run_name="__main__")
    elif program == "make":
        makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
        for target in rest:
            assert "=" in target or re.search(rf"^{target}:", makefile, re.MULTILINE), target
    elif program == "pip":
        extras = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        for name in re.findall(r"\[([\w,]+)\]", " ".join(rest)):
            assert set(name.split(",")) <= set(extras["optional-dependencies"])
    elif "/" in program:
        assert (CHECKOUT / program).is_file()
    else:
        assert program in OTHERS
