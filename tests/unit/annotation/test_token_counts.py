"""Tokens are counted by the model's tokenizer, by tiktoken, or by a rule that knows the script."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from melt_ser.annotation import token_counts
from melt_ser.annotation.token_counts import BY_RULE, by_rule, token_counter

# The counts of o200k_base.
MEASURED = {
    "How could you forget my birthday? I waited for you the whole evening, and you did not even call.": 21,
    "Wie konntest du meinen Geburtstag vergessen? Ich habe den ganzen Abend auf dich gewartet.": 17,
    "你怎么能忘记我的生日呢?我等了你整整一个晚上,你连一个电话都没有打。": 27,
    "どうして私の誕生日を忘れることができたの?一晩中あなたを待っていたのに、電話もしてくれなかった。": 36,
    "Как ты мог забыть мой день рождения? Я ждал тебя весь вечер, а ты даже не позвонил.": 24,
}


@pytest.mark.parametrize(("text", "tokens"), MEASURED.items())
def test_the_rule_comes_close_in_every_script(text: str, tokens: int) -> None:
    assert 0.6 * tokens <= by_rule(text) <= 1.5 * tokens


def test_a_model_with_a_tokenizer_on_this_machine_is_counted_by_it(tmp_path: Path) -> None:
    tokenizer = Tokenizer(WordLevel({"good": 0, "day": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    counter = token_counter(str(tmp_path))
    assert counter.name == f"the tokenizer of {tmp_path}" and counter.count("good day day") == 3
    assert counter.of_messages([{"role": "user", "content": "good day"}] * 2) == 2 * (4 + 2)


def encoding(name: str) -> tiktoken.Encoding:
    octets = {bytes([byte]): byte for byte in range(256)}
    return tiktoken.Encoding(name, pat_str=".", mergeable_ranks=octets, special_tokens={"<|endoftext|>": 256})


def test_openais_models_are_counted_by_tiktoken_and_others_by_its_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "here")
    monkeypatch.setattr("tiktoken.get_encoding", encoding)
    monkeypatch.setattr("tiktoken.model.get_encoding", encoding)
    assert token_counter("gpt-4-0613").name == "tiktoken's cl100k_base"
    counter = token_counter("some-model")
    assert counter.name == "tiktoken's o200k_base"
    assert counter.count("<|endoftext|>") == 13  # an utterance's marks are text


def test_without_a_vocabulary_the_rule_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(name: str) -> Any:
        raise ConnectionError("no network")

    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "here")
    monkeypatch.setattr("tiktoken.get_encoding", no_network)
    monkeypatch.setattr("tiktoken.model.get_encoding", no_network)
    assert token_counter("gpt-4o") == token_counter("some-model") == BY_RULE
    monkeypatch.setattr("tiktoken.model.get_encoding", lambda name: time.sleep(60))
    monkeypatch.setattr(token_counts, "PATIENCE", 0.05)
    assert token_counter("gpt-4o") == BY_RULE


def test_without_downloads_or_without_tiktoken_the_rule_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    assert token_counter("gpt-4o") == BY_RULE  # HF_HUB_OFFLINE is set
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "here")
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    assert token_counter("gpt-4o") == BY_RULE
