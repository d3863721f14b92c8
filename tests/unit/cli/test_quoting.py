"""What an error advises to type, pasted into bash, gives the value back: any text, list or mapping."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from melt_ser.cli.compose import load_config
from melt_ser.cli.failures import failure_of
from melt_ser.cli.quoting import shell_setting, shell_word, written
from melt_ser.config import Config

ODD = "'\"$`!\\{}[](),:=~ \n\t\r\x1b\x80\u2028ü😀#%&;<>*?|@a1-"
TEXT = st.text(st.one_of(st.sampled_from(ODD), st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
WORDS = [
    "/data/it's",
    "/data/$HOME",
    "/data/`id`",
    "C:\\new\\",
    "a!b",
    '"q"',
    "two\nlines",
    "${x}",
    "\\${x}",
    "null",
    "",
]


def words_of_bash(words: str) -> list[str]:
    """Return the words as bash passes them to a program."""
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' first {words}"], capture_output=True, timeout=60, check=True)
    return done.stdout.decode("utf-8", "surrogateescape").split("\0")[1:-1]


def value_of(override: str) -> Any:
    """Return the value that Hydra and OmegaConf read from an override."""
    value = OmegaConf.create({"value": OverridesParser.create().parse_override(override).value()})
    plain = OmegaConf.to_container(value, resolve=True)
    assert isinstance(plain, dict)
    return plain["value"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(TEXT, st.lists(TEXT, max_size=3), st.none(), st.booleans(), st.integers()), min_size=20))
def test_a_pasted_setting_gives_its_value(values: list[Any]) -> None:
    advised = [shell_setting("dataset.root", value) for value in values]
    assert all("\n" not in setting for setting in advised)
    typed = words_of_bash(" ".join(advised))
    assert [value_of(override) for override in typed] == values


@pytest.mark.parametrize("value", WORDS)
def test_a_pasted_setting_of_a_likely_value_gives_it(value: str) -> None:
    [typed] = words_of_bash(shell_setting("dataset.licence", value))
    assert load_config(typed).dataset.licence == value


@settings(max_examples=5, deadline=None)  # composing takes longest, so few mappings with many entries
@given(st.dictionaries(TEXT, st.one_of(TEXT, st.none()), min_size=20, max_size=30))
def test_a_pasted_mapping_gives_its_entries(entries: dict[str, str | None]) -> None:
    [typed] = words_of_bash(shell_setting("dataset.columns", entries))
    assert load_config("dataset=csv", "dataset.reader=my_reader", typed).dataset.columns == entries  # of any name


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXT.filter(lambda text: not text.startswith(("[", "{"))), min_size=20))
def test_the_sentence_about_a_value_that_cannot_be_read_gives_it(values: list[str]) -> None:
    advised = []
    for value in values:
        try:
            OverridesParser.create().parse_overrides([f"dataset.root={value}"])
        except HydraException as error:
            sentence = failure_of(error, Config).sentence
            found = re.fullmatch(r"dataset\.root: the value needs quotes: (.*)\.", sentence)
            assert found is not None, sentence
            advised.append((value, found[1]))
    typed = words_of_bash(" ".join(setting for _, setting in advised))
    assert [value_of(override) for override in typed] == [value for value, _ in advised]


def test_a_file_name_that_is_no_utf8_comes_back_as_its_bytes() -> None:
    assert words_of_bash(shell_word("l\udcff.wav")) == ["l\udcff.wav"]


@pytest.mark.parametrize("value", ["wavlm", "/data/emodb", 3, 1e-4, ["emodb", "urdu"], "007"])
def test_a_value_that_needs_no_quotes_has_none(value: Any) -> None:
    assert not re.search("['\"]", written(value))
