"""Count the tokens of a text: by the model's own tokenizer if it is on this machine, else by OpenAI's, else by rule."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from melt_ser.annotation.engines import Message

TOKENS_A_MESSAGE = 4  # marks of its role, its beginning and its end
OPENAIS = "o200k_base"  # the vocabulary of OpenAI's models since GPT-4o
PATIENCE = 10.0  # seconds for tiktoken's download of a vocabulary, which has no limit of its own
# Tokens a character, measured by o200k_base on two sentences of dialogue in each language: English 0.23, German 0.21,
# Polish 0.37, Russian 0.29, Greek 0.45, Arabic 0.34, Thai 0.42, Chinese 0.80, Japanese 0.75, Korean 0.64. Older
# vocabularies take more tokens.
PLAIN, ACCENTED, ALPHABETIC, IDEOGRAPHIC = 0.25, 0.6, 0.4, 0.8
ACCENTED_LETTER = re.compile("[\u0080-\u024f\u1e00-\u1eff]")
IDEOGRAPH = re.compile("[\u3000-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00010000-\U0010ffff]")
OTHER_LETTER = re.compile("[\u0250-\u1dff\u2e80-\u2fff\u3100-\u33ff\ua000-\uabff]")


@dataclass(frozen=True)
class TokenCounter:
    """A way to count tokens; `name` says which, for the estimate."""

    name: str
    count: Callable[[str], int]

    def of_messages(self, messages: Sequence[Message]) -> int:
        """Return the tokens of a chat."""
        return sum(TOKENS_A_MESSAGE + self.count(message["content"]) for message in messages)


def by_rule(text: str) -> int:
    """Return roughly how many tokens a text has, by the scripts of its letters.

    >>> by_rule("How could you forget my birthday?"), by_rule("你怎么能忘记我的生日呢?")
    (8, 9)
    """
    if text.isascii():
        return round(len(text) * PLAIN)
    accented, ideographs = len(ACCENTED_LETTER.findall(text)), len(IDEOGRAPH.findall(text))
    others = len(OTHER_LETTER.findall(text))
    plain = len(text) - accented - ideographs - others
    return round(plain * PLAIN + accented * ACCENTED + others * ALPHABETIC + ideographs * IDEOGRAPHIC)


BY_RULE = TokenCounter("a rule for each script, such as 4 Latin letters or 1.25 Chinese ones a token", by_rule)


def token_counter(model: str) -> TokenCounter:
    """Return the best way to count a model's tokens that this machine has.

    It is the model's own tokenizer if it lies in a folder or in the cache of the Hugging Face hub, otherwise tiktoken
    with the vocabulary of OpenAI's model, or for other models with that of GPT-4o. tiktoken downloads a vocabulary at
    its first use; without a network and without a copy in `$TIKTOKEN_CACHE_DIR`, a rule counts by script.
    """
    count = _own(model)
    if count is not None:
        return TokenCounter(f"the tokenizer of {model}", lru_cache(maxsize=1024)(count))
    encoding = _encoding(model)
    if encoding is None:
        return BY_RULE

    def count_by_encoding(text: str) -> int:
        return len(encoding.encode(text, disallowed_special=()))

    return TokenCounter(f"tiktoken's {encoding.name}", lru_cache(maxsize=1024)(count_by_encoding))


def _own(model: str) -> Callable[[str], int] | None:
    """Return the count by a model's own tokenizer; None if it is not on this machine."""
    from huggingface_hub import try_to_load_from_cache
    from tokenizers import Tokenizer

    file: Any = Path(model).expanduser() / "tokenizer.json"
    try:
        if not file.is_file():
            file = try_to_load_from_cache(model, "tokenizer.json")
        tokenizer = Tokenizer.from_file(str(file)) if isinstance(file, str | Path) else None
    except Exception:  # no name of the hub, or a damaged file, for which tokenizers has no exact error
        return None
    return None if tokenizer is None else lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def _encoding(model: str) -> Any:
    """Return tiktoken's encoding for a model; None without the package, or if its vocabulary cannot be had."""
    try:
        import tiktoken
    except ModuleNotFoundError:
        return None
    if os.environ.get("HF_HUB_OFFLINE", "0") != "0" and not os.environ.get("TIKTOKEN_CACHE_DIR"):
        return None  # the user wants no download
    found: list[Any] = []

    def find() -> None:
        with suppress(Exception):  # no network, a proxy's page, a full disk: the rule counts instead
            try:
                found.append(tiktoken.encoding_for_model(model))
            except KeyError:
                found.append(tiktoken.get_encoding(OPENAIS))

    thread = threading.Thread(target=find, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return found[0] if found else None
