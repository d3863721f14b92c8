"""The commands that the documents show: those of their ```sh blocks, and those of this package within their text."""

from __future__ import annotations

import re
import shlex
from itertools import dropwhile
from pathlib import Path
from typing import NamedTuple

from checkout import CHECKOUT

PAGES = ("README.md", "CONTRIBUTING.md", "docs/*.md", "benchmarks/README.md")
BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
IN_TEXT = re.compile(r"`((?:python -m melt_ser\.|melt-ser )[^`]+)`")
PLACEHOLDER = re.compile(r"<(\w[\w ]*)>")  # <run id>: a redirection for a shell
EXAMPLES = {  # placeholders in whose place only some names can stand
    "dataset=<name>": "dataset=emodb",
    "melt_ser.<verb>": "melt_ser.info",
    "melt-ser <verb>": "melt-ser info",
}
ASSIGNMENT = re.compile(r'^(\w+)="([^"\n]*)"$', re.MULTILINE)  # a variable of the lines below it
VARIABLE = re.compile(r"\w+=")  # in front of a command, or alone
SEPARATORS = ("&&", "||", "|", ";")


class Command(NamedTuple):
    """A command of a page, as a shell splits it."""

    page: str
    words: tuple[str, ...]

    @property
    def place(self) -> int | None:
        """The place of the verb, if the command starts one of this package, in whatever way."""
        if self.words[:2] == ("docker", "build"):
            return None
        for place, word in enumerate(self.words):
            if word.startswith("melt_ser.") and self.words[place - 1] == "-m":
                return place
            if word in ("melt-ser", "melt_ser") and self.words[0] in ("melt-ser", "uv", "docker"):
                return place + 1
        return None

    @property
    def verb(self) -> str | None:
        """The verb of this package, or None."""
        return None if self.place is None else self.words[self.place].removeprefix("melt_ser.")

    @property
    def arguments(self) -> list[str]:
        """The words behind the verb."""
        return [] if self.place is None else list(self.words[self.place + 1 :])

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


def documented() -> list[Command]:
    """Return the commands of all pages."""
    paths = [path for pattern in PAGES for path in sorted(CHECKOUT.glob(pattern))]
    return [command for path in paths for command in commands_of(path)]


def commands_of(path: Path) -> list[Command]:
    """Return the commands of a page in their order; a command of the text stands without its surroundings."""
    text, page = path.read_text(encoding="utf-8"), str(path.relative_to(CHECKOUT))
    found = [command for block in BLOCK.findall(text) for command in split(block)]
    without_blocks = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    found += [command for line in IN_TEXT.findall(without_blocks) for command in split(" ".join(line.split()))]
    return [Command(page, words) for words in found]


def split(text: str) -> list[tuple[str, ...]]:
    """Return the commands of a shell text as their words, without comments, variables and redirections."""
    text = re.sub(r"<<'(\w+)'(.*?)\n.*?^\1$", r"\2", text, flags=re.DOTALL | re.MULTILINE)
    for name, value in ASSIGNMENT.findall(text):
        text = text.replace(f"${name}", value)
    for placeholder, example in EXAMPLES.items():
        text = text.replace(placeholder, example)
    lines = re.sub(r"\\\n\s*", "", PLACEHOLDER.sub(lambda name: name[1].replace(" ", "_"), text)).splitlines()
    commands: list[list[str]] = []
    for line in lines:
        commands.append([])
        for word in _words(line):
            if word in SEPARATORS:
                commands.append([])
            else:
                commands[-1].append(word)
    commands = [list(dropwhile(VARIABLE.match, words)) for words in commands]
    return [tuple(words) for words in commands if words]


def _words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split, lexer.commenters = True, ""
    words = []
    for word in lexer:
        if word == ">" or word.startswith("#"):  # shlex would also take the # within a word for a comment
            break
        words.append(word)
    return words
