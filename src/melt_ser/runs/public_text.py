"""Texts of a run as strangers may read them: without paths of the machine, and without names or words of a corpus."""

from __future__ import annotations

import re
import shlex
from pathlib import PurePath
from typing import Any

PRIVATE = ("out", "force", "device", "cache", "trainer.workers")  # settings that change nothing for another person
ABSOLUTE = re.compile(r"(?<![\w.:<>])(?:~[\w-]*/|/|[A-Za-z]:\\)[^\s,\]}\"']+")
PATH = "<path>"
EXAMPLE = re.compile(r" \(such as [^)]*\)|; the first: .*")  # a file or a sentence of a corpus


def public_command(command: str) -> str:
    """Return the overrides of a run without those of the machine, and with each absolute path as `<path>`.

    >>> public_command("dataset=emodb dataset.root='/home/ann/my corpora/emodb' out=/tmp/runs device=cuda:1 seed=1")
    "dataset=emodb 'dataset.root=<path>' seed=1"
    """
    kept = []
    for word in shlex.split(command):
        key, sign, value = word.partition("=")
        name = key.lstrip("+~")
        if name in PRIVATE or name.startswith(("cache.", "hydra")):
            continue
        kept.append(key + sign + _public_value(value))
    return shlex.join(kept)


def without_paths(text: str) -> str:
    """Return a text with each absolute path as `<path>`; the name of a file, with its ending, stays.

    >>> without_paths("{a: /data/a, b: facebook/hubert}, and /home/ann/labels.csv")
    '{a: <path>, b: facebook/hubert}, and <path>/labels.csv'
    """
    return ABSOLUTE.sub(lambda found: _masked(found.group()), text)


def without_examples(sentence: str) -> str:
    """Return a sentence about a corpus without the file or the words that it gives as an example.

    >>> without_examples("a and b share 2 sentences (such as 'go home'), in 3 and 4 utterances.")
    'a and b share 2 sentences, in 3 and 4 utterances.'
    """
    return without_paths(EXAMPLE.sub("", sentence))


def public_settings(value: Any) -> Any:
    """Return settings in which no text has an absolute path."""
    if isinstance(value, dict):
        return {key: public_settings(item) for key, item in value.items()}
    if isinstance(value, list):
        return [public_settings(item) for item in value]
    return _public_value(value) if isinstance(value, str) else value


def _public_value(value: str) -> str:
    """Return the value of a setting without absolute paths; one that is a path may have blanks."""
    return _masked(value) if value.startswith(("/", "~/")) else without_paths(value)


def _masked(path: str) -> str:
    name = PurePath(path.replace("\\", "/")).name
    return f"{PATH}/{name}" if "." in name.lstrip(".") else PATH
