"""Turn an exception of a verb into one sentence for the user and an exit code; `noting_failure` also stores both.

Technical debt: patterns read Hydra's and OmegaConf's messages, because their exceptions carry no key and no choices.
"""

from __future__ import annotations

import contextlib
import re
import traceback
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import hydra.conf
import yaml
from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from melt_ser import config
from melt_ser.cli.keys import MERGED, place_of, renamed, unknown_key, unknown_name
from melt_ser.cli.quoting import shell_setting, shell_word, unreadable
from melt_ser.config import RENAMED
from melt_ser.core.errors import MeltSerError, did_you_mean, one_line
from melt_ser.core.package import conf_folder

WORKER_TRACEBACK = re.compile(
    r"Caught \w+ in DataLoader worker.*^melt_ser\.core\.errors\.\w+: ", re.DOTALL | re.MULTILINE
)
FAILED = "failed.json"
READ_AS = {"True": "true", "False": "false", "None": "null"}
KINDS = {bool: "true, false", int: "a whole number", float: "a number", str: "a word"}


class Failure(NamedTuple):
    """A failure: a sentence for the user and the exit code. `known` is False for a bug; its traceback is shown too."""

    sentence: str
    exit_code: int
    known: bool = True


def failure_of(error: Exception, schema: type[Any]) -> Failure:
    """Return the sentence and exit code for an exception of a verb. `schema` is the class of the verb's settings."""
    if isinstance(error, MeltSerError):
        # A process that decodes audio passes on a whole traceback, with the sentence at the end.
        return Failure(one_line(WORKER_TRACEBACK.sub("", str(error)).strip()), error.exit_code)
    sentence = explain(error, schema)
    if sentence is None and isinstance(error, OSError) and error.filename is not None:
        sentence = f"{error.filename}: {error.strerror}; correct the path, or its permissions."
    if sentence is not None:
        return Failure(one_line(sentence), 2)
    return Failure(one_line(f"{type(error).__name__}: {error}"), 1, known=False)


@contextlib.contextmanager
def noting_failure(folder: Path, command: str, schema: type[Any]) -> Iterator[None]:
    """Write `failed.json` {reason, exit_code, command, run} into a run folder if the block fails; reraise the error.

    The file is not written if another process works in the folder, or if the folder is not writable.
    """
    try:
        yield
    except Exception as error:
        from melt_ser.core import files
        from melt_ser.core.locks import exclusive_lock
        from melt_ser.core.processes import is_main_process

        failure = failure_of(error, schema)
        note = {"reason": failure.sentence, "exit_code": failure.exit_code, "command": command, "run": folder.name}
        with contextlib.suppress(MeltSerError), exclusive_lock(folder):
            if is_main_process():
                files.write_json(folder / FAILED, note)
        raise


def explain(error: BaseException, schema: type[Any]) -> str | None:
    """Return one sentence about a configuration mistake, or None if the exception has another cause."""
    chain = _chain(error)
    if isinstance(error, yaml.YAMLError | UnicodeDecodeError):
        return _unreadable(error)
    if isinstance(error, OSError) and re.search(r"Could not load this library: .*torchaudio", str(error)):
        return (
            "torchaudio does not load next to this torch: a CUDA build needs a CUDA build. Install both anew from one "
            "index, such as pip install torch torchaudio --index-url https://download.pytorch.org/whl/cpu"
        )
    text = "\n".join(str(link) for link in chain)
    theirs = any(isinstance(link, HydraException | OmegaConfBaseException) for link in chain)
    if not theirs and not _raised_by_hydra(error):
        return None
    renamed = _renamed(text)
    if renamed is not None:
        return renamed
    unparsed = next((link for link in chain if isinstance(link, OverrideParseException)), None)
    if unparsed is not None:
        return _unparsed(unparsed.override)
    for pattern, tell in (
        (r"Could not find '(?:[^']*/)?([\w@.]+)/([^'/]+)'", _unknown_choice),
        (r"Could not load '(?:[^']*/)?([\w@.]+)/([^'/]+)'", _unknown_choice_of_several),
        (r"Key '([^']+)' (?:is )?not in '(\w+)'", _unknown_field),
        (r"Could not override '([^']+)'", _unknown_key),
        (r"config group '([^']+)' does not exist", _unknown_key),
        (r"Additional config directory '(.*?)' not found", _no_config_dir),
        (r"Ambiguous value for argument '(.*?)'\n", _several_values),
        (r"Key '([^']+)' is not in struct", _unknown_key),
        (r"Key (\S*) \(\w+\) is incompatible with \(str\)\s+full_key: ([\w.]+)\.\1", _key_that_is_no_text),
        (r"Incompatible key type '(None)Type'\s+full_key: ?([\w.]*)", _key_that_is_no_text),
        (r"In '([^']+)': [^']*?Merge error: (\w+) is not a subclass", _not_a_mapping),
        (r"(?i)missing mandatory value: ([\w.]+)", _missing),
        (r"full_key: ([\w.]+)", _wrong_value),
    ):
        match = re.search(pattern, text)
        if match:
            return tell(match, text, schema)
    return " ".join(text.split("\n\n")[0].split())


def _renamed(text: str) -> str | None:
    """Return a sentence with the new key if the message contains an old key."""
    for old in RENAMED:
        if re.search(rf"(?<![\w.]){re.escape(old)}(?![\w.])", text):
            return renamed(old)
    return None


def _unreadable(error: yaml.YAMLError | UnicodeDecodeError) -> str | None:
    """Return a sentence about a YAML file that cannot be parsed. Its path is a variable of the frame that reads it."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_globals.get("__name__") == "hydra._internal.core_plugins.file_config_source":
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark is not None else ""
            problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not a mapping"
            return f"{frame.f_locals['full_path']}{line} is not YAML in UTF-8 ({problem}); correct it."
    return None


def _raised_by_hydra(error: BaseException) -> bool:
    """Return whether Hydra or OmegaConf raised the exception; they also raise Python's general exceptions."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].f_globals.get("__name__", "").partition(".")[0] in ("hydra", "omegaconf")


def _chain(error: BaseException | None) -> list[BaseException]:
    """Return the exception and its causes."""
    links = []
    while error is not None and error not in links:
        links.append(error)
        error = error.__cause__ or error.__context__
    return links


def _unparsed(override: str) -> str:
    """Return a sentence about an override that Hydra's grammar rejects.

    Values with most signs, or with letters beyond ASCII, need quotes; keys cannot have such characters, except the
    entries of dictionaries (overrides.py).
    """
    key, equals, value = override.partition("=")
    if not equals or not re.fullmatch(r"[+~]*\w([\w./@-]*\w)?", key, re.ASCII):
        return f"{shell_word(override)} is no setting; write it as <key>=<value>."
    return unreadable(key.lstrip("+~"), value)


def _unknown_choice(match: re.Match[str], text: str, schema: type[Any]) -> str:
    group, name = match.groups()
    options = re.search(r"Available options in '[^']*':\n((?:\t\S+\n?)*)", text)
    choices = options.group(1).split() if options else []
    return f"There is no {group} '{name}'; {did_you_mean(name, choices)}"


def _unknown_choice_of_several(match: re.Match[str], text: str, schema: type[Any]) -> str:
    """Return a sentence about a name in `group=[a,b]`; Hydra lists no options there."""
    group, name = match.groups()
    choices = [path.stem for path in (conf_folder() / group).glob("*.yaml")]
    return f"There is no {group} '{name}'; {did_you_mean(name, choices)}"


def _unknown_key(match: re.Match[str], text: str, schema: type[Any]) -> str:
    key = match.group(1)
    try:
        place = place_of(key, schema)
    except MeltSerError as error:
        return str(error)
    reason = text.splitlines()[-1].strip().rstrip(".")
    return f"{place.setting}: {reason}."


def _unknown_field(match: re.Match[str], text: str, schema: type[Any]) -> str:
    """Return a sentence about a key that a dataclass, the second group of the match, does not have."""
    name, owner = match.groups()
    node = getattr(config, owner, None) or getattr(hydra.conf, owner, None)
    found = re.search(r"full_key: ([\w.\[\]-]+)\.", text) or re.search(r"Could not override '([^']+)'", text)
    if node is None or node is schema:
        return unknown_key(name, schema)
    return unknown_name(name, found.group(1) if found else "", typing.get_type_hints(node))


def _several_values(match: re.Match[str], text: str, schema: type[Any]) -> str:
    """Return a sentence about `key=a,b` without --multirun; only a list or a text may have a comma itself."""
    key, _, value = match.group(1).lstrip("+").partition("=")
    place = place_of(key, schema)
    is_list = typing.get_origin(place.kind) is list
    if is_list or (key in MERGED and place.is_group):
        meant = f"write {shell_setting(key, value.split(','))} for {'one' if is_list else 'all together'}, or "
    elif not place.is_group and {str, Any} & set(place.kinds):
        meant = f"write {shell_setting(key, value)} for one, or "
    else:
        meant = "write decimals with a point, or " if float in place.kinds else ""
    return f"{key} has a comma: {meant}add --multirun to run each."


def _wrong_value(match: re.Match[str], text: str, schema: type[Any]) -> str:
    key = match.group(1)
    typed = re.search(r"Error merging override \+*([\w.]+)=", text)
    if typed and typed[1].endswith(f".{key}"):  # OmegaConf names the entry of a dictionary alone
        key = typed[1]
    enumeration = re.search(r"Invalid value '([^']*)', expected one of \[([^\]]*)\]", text)
    if enumeration:
        value, choices = enumeration.groups()
        return f"{key} cannot be '{value}'; {did_you_mean(value, re.split(r', *', choices))}"
    if re.search(r"field '[^']*' is not Optional", text):
        return f"{key} cannot be null; give it a value, or leave it out."
    wrong = re.search(r"Value '(.*)' of type '\w+' is incompatible with type hint '(?:\w+\[)*Union\b", text)
    kinds = [words for kind, words in KINDS.items() if kind in place_of(key, schema).kinds] if wrong else []
    if wrong and kinds:
        return f"{key} is {' or '.join(kinds)}, not {READ_AS.get(wrong[1], wrong[1])}."
    if "'NoneType' object" in text:
        return f"{key} is null, so it has no entries to change; write it into a YAML of yours (--config-dir)."
    if "is not a ListConfig, list or tuple" in text or "incompatible with type hint 'typing.List[" in text:
        return f"{key} is a list: give it in brackets, within the shell's quotes: '{key}=[…]'."
    if "Cannot merge DictConfig with ListConfig" in text or "Cannot assign str to Dict" in text:
        return f"{key} has entries, each with a name: '{key}={{<name>:<value>}}'."
    reason = " ".join(text[: match.start()].split("\n")[-2].split()) if "\n" in text[: match.start()] else text
    return f"{key}: {reason.rstrip('.')}."


def _key_that_is_no_text(match: re.Match[str], text: str, schema: type[Any]) -> str:
    """Return a sentence about a key without quotes that YAML, or a command line, reads as true, null or a number."""
    key, place = match.groups()
    kind = READ_AS.get(key, key)
    typed = re.search(r"Error merging override \+*([\w.]+)=", text)
    if typed:
        return f"{typed[1]} has a key that is no text ({kind}); give each entry by itself: +{typed[1]}.<key>=<value>."
    example = {"True": "yes", "False": "no", "None": "null"}.get(key, key)
    return f'{place} has a key that YAML reads as {kind}, not as text; put it in quotes, as in "{example}".'


def _not_a_mapping(match: re.Match[str], text: str, schema: type[Any]) -> str:
    return f"The YAML of {match.group(1)} is of the type {match.group(2)}; it has to be keys and values."


def _no_config_dir(match: re.Match[str], text: str, schema: type[Any]) -> str:
    return f"--config-dir {match.group(1)} is no folder; correct the path."


def _missing(match: re.Match[str], text: str, schema: type[Any]) -> str:
    return f"{match.group(1)} has to be given: {match.group(1)}=<value>."
