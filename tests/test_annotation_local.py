"""The engine `local`: label likelihoods of a tiny random model by hand, and a real small one where it is installed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, PreTrainedTokenizerFast

from melt_ser.annotation.lines import Line
from melt_ser.annotation.local import BEGUN, BLOCK, LocalEngine
from melt_ser.annotation.prompts import load_prompt
from melt_ser.errors import SetupError

PROMPT = load_prompt("melt")
LABELS = list(PROMPT.labels)
TEMPLATE = (
    "{% for message in messages %}{% if message.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "<{{ message.role }}>{{ message.content }}{% endfor %}<assistant>"
)


def messages(text: str) -> list[dict[str, str]]:
    return PROMPT.messages(Line("a", text, "Ross", "1", "2", "0", 0, 2.0, "", {}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two layers, one of which sees 16 tokens alone, with random weights; its tokens are bytes."""
    folder = tmp_path_factory.mktemp("tiny")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({sign: number for number, sign in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=TEMPLATE).save_pretrained(folder)
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=256,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        sliding_window=16,
        layer_types=["sliding_attention", "full_attention"],
        initializer_range=0.5,
    )
    Gemma3ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def engine(folder: Path) -> LocalEngine:
    return LocalEngine(str(folder))


def by_hand(engine: LocalEngine, question: str) -> np.ndarray:
    """The log-likelihood of each label with its quotes, each in a pass of its own and without any cache."""
    scores = []
    for label in LABELS:
        signs = engine._tokenizer(f'{question}"{label}"').input_ids
        answer = torch.tensor([signs])
        with torch.no_grad():
            following = engine._network(input_ids=answer, use_cache=False).logits[0].log_softmax(-1)
        spoken = range(len(signs) - len(label) - 2, len(signs))
        scores.append(sum(following[place - 1, signs[place]].item() for place in spoken))
    return np.array(scores)


@pytest.mark.parametrize("text", ["Hi!", "What?!", "You’re – 中", "Hi!"])
def test_the_scores_are_the_likelihoods_of_the_labels_whatever_was_asked_before(engine: LocalEngine, text: str) -> None:
    system, user = (message["content"] for message in messages(text))
    expected = by_hand(engine, f"<user>{system}\n\n{user}<assistant>{BEGUN}")
    scores, tokens = engine.scores(messages(text), LABELS)
    assert np.ptp(expected) > 1
    assert scores - scores.max() == pytest.approx(expected - expected.max(), abs=1e-3)
    assert tokens > len(system) + len(user)


def test_only_what_differs_from_the_question_before_is_read(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.scores(messages("Hi!"), LABELS)
    read: list[int] = []
    forward = engine._network.forward

    def counting(*args: Any, **settings: Any) -> Any:
        read.append(settings["input_ids"].shape[-1])
        return forward(*args, **settings)

    monkeypatch.setattr(engine._network, "forward", counting)
    engine.scores(messages("No!"), LABELS)
    assert sum(read[:-1]) < BLOCK + len(f"No!<assistant>{BEGUN}") + 2  # a token of this model is a byte
    read.clear()
    engine.scores(messages("No!"), LABELS)
    assert len(read) == 2
    assert read[0] <= BLOCK


def test_the_answer_is_the_same_bit_for_bit_whatever_was_asked_before(folder: Path) -> None:
    texts = ["Hi!", "Hi there, how are you doing today?", "No!", "Hi there, how are you?"]
    orders = [LocalEngine(str(folder)) for _ in range(2)]
    there = {text: orders[0].scores(messages(text), LABELS)[0].tolist() for text in texts}
    back = {text: orders[1].scores(messages(text), LABELS)[0].tolist() for text in reversed(texts)}
    assert there == back


def test_a_reply_is_an_answer_with_the_probability_of_each_label(engine: LocalEngine) -> None:
    reply = asyncio.run(engine.ask(messages("Hi!"), PROMPT.schema, 0))
    assert reply.probabilities is not None
    assert list(reply.probabilities) == LABELS
    assert sum(reply.probabilities.values()) == pytest.approx(1)
    assert json.loads(reply.text) == {"elements": {"emotion": max(LABELS, key=reply.probabilities.__getitem__)}}
    assert asyncio.run(engine.ask(messages("Hi!"), PROMPT.schema, 1)) == reply


def test_calibration_makes_an_unsure_model_unsure_and_changes_no_answer(folder: Path) -> None:
    engine = LocalEngine(str(folder))
    questions = [(messages(f"line {number}"), PROMPT.schema, LABELS[number % 7]) for number in range(21)]
    before = asyncio.run(engine.ask(*questions[0][:2], 0))
    assert engine.calibrate(questions) > 1
    after = asyncio.run(engine.ask(*questions[0][:2], 0))
    assert after.text == before.text
    assert before.probabilities is not None
    assert after.probabilities is not None
    assert max(after.probabilities.values()) < max(before.probabilities.values())


def test_a_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="--model .* cannot be loaded as a causal language model"):
        LocalEngine(str(tmp_path))
