"""The engine `local`: a causal language model in this process, which scores every label of the set by its likelihood.

Nothing is sampled: after the question stands the answer up to the emotion, and the score of a label is the log
probability of the label with its closing quote (of all its tokens, not their mean, which would favour long labels).
The probabilities are the softmax of the scores over the set, at a temperature that labelled lines can be given for.
What goes before the line is the same for all lines, so it is computed once; the answer is the same bit for bit,
whatever was asked before.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Sequence
from contextlib import redirect_stderr
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import TemplateError

from melt_ser.annotation.engines import Message, Reply, Schema
from melt_ser.annotation.prompts import labels_of
from melt_ser.core.errors import SetupError
from melt_ser.evaluation.calibration import fit_temperature, normalised, with_temperature

BLOCK = 32  # tokens that are read at a time, so that no rounding depends on how many were read before
BEGUN = '{"elements": {"emotion": '  # the answer, as far as it is given


class LocalEngine:
    """A model of the Hugging Face hub, a folder, or (with `gguf_file`, its name there) a GGUF file in one.

    float32 on a CPU, bfloat16 on a GPU. Raises SetupError where the model cannot be loaded.
    """

    def __init__(self, model: str, gguf_file: str | None = None, temperature: float = 1.0) -> None:
        self.model = f"{model}:{gguf_file}" if gguf_file else model
        self.temperature = temperature  # of the probabilities; it changes no answer
        self._tokenizer, self._network = load_model(model, gguf_file)
        parameters = signature(self._network.forward).parameters
        self._cache = "cache" if "cache" in parameters else "past_key_values"  # renamed in transformers 5.24
        self._read: list[int] = []  # the tokens whose keys and values are kept
        self._kept: Any = None

    async def ask(self, messages: Sequence[Message], schema: Schema, sample: int) -> Reply:
        """The most likely label as an answer with the probability of each; every sample is the same."""
        await asyncio.sleep(0)  # where Ctrl-C stops the job: nothing else here gives the loop its turn
        labels = labels_of(schema)
        scores, tokens = self.scores(messages, labels)
        probabilities = with_temperature(_softmax(scores), self.temperature)[0]
        text = BEGUN + json.dumps(labels[int(scores.argmax())]) + "}}"
        return Reply(text, tokens, 1, dict(zip(labels, probabilities.tolist(), strict=True)))

    def calibrate(self, questions: Sequence[tuple[Sequence[Message], Schema, str]]) -> float:
        """Set the temperature to that of the least negative log-likelihood of the right labels, and return it."""
        rows = [(self.scores(messages, labels_of(schema))[0], labels_of(schema)) for messages, schema, _ in questions]
        right = np.array([labels.index(label) for (_, labels), (_, _, label) in zip(rows, questions, strict=True)])
        self.temperature = fit_temperature(np.concatenate([_softmax(scores) for scores, _ in rows]), right)
        return self.temperature

    @torch.inference_mode()
    def scores(self, messages: Sequence[Message], labels: Sequence[str]) -> tuple[np.ndarray, int]:
        """The log-likelihood of each label after the question, (labels,), and the number of tokens of the question."""
        question = self._question(messages)
        answers = [self._tokens(question + json.dumps(label, ensure_ascii=False)) for label in labels]
        shared = _shared_length(answers)
        last = self._read_on(answers[0][:shared])  # (vocabulary,): what may follow what all answers share
        tails = [answer[shared:] for answer in answers]
        scores = last[[tail[0] for tail in tails]]
        longest = max(len(tail) for tail in tails)
        if longest > 1:
            inputs = torch.tensor([tail[:-1] + [0] * (longest - len(tail)) for tail in tails], device=last.device)
            cache = _cut(self._kept, shared, copies=len(tails))
            logits = self._network(input_ids=inputs, use_cache=True, **{self._cache: cache}).logits
            following = logits.float().log_softmax(dim=-1)  # (labels, longest - 1, vocabulary)
            for row, tail in enumerate(tails):
                scores[row] += following[row, range(len(tail) - 1), tail[1:]].sum()
        return scores.double().cpu().numpy(), shared

    def _read_on(self, tokens: list[int]) -> torch.Tensor:
        """The log probabilities after some tokens; those at their beginning that were read last time are not again."""
        known = min(_shared_length([tokens, self._read]), len(tokens) - 1) // BLOCK * BLOCK
        cache = _cut(self._kept, known)
        for start in range(known, len(tokens), BLOCK):
            inputs = torch.tensor([tokens[start : start + BLOCK]], device=self._network.device)
            logits = self._network(input_ids=inputs, use_cache=True, logits_to_keep=1, **{self._cache: cache}).logits
        self._kept, self._read = cache, tokens
        following: torch.Tensor = logits[0, -1].float().log_softmax(dim=-1)
        return following

    def _question(self, messages: Sequence[Message]) -> str:
        """The chat as the model's own template writes it, or as plain paragraphs, with the answer begun."""
        if self._tokenizer.chat_template is None:
            start = self._tokenizer.bos_token or ""
            return start + "\n\n".join([*(message["content"] for message in messages), BEGUN])
        try:
            chat = self._chat(messages)
        except TemplateError:  # some templates know no system role
            first, second, *rest = messages
            merged = {"role": second["role"], "content": f"{first['content']}\n\n{second['content']}"}
            chat = self._chat([merged, *rest])
        return chat + BEGUN

    def _chat(self, messages: Sequence[Message]) -> str:
        chat: str = self._tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        return chat

    def _tokens(self, text: str) -> list[int]:
        tokens: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
        return tokens


def load_model(model: str, gguf_file: str | None) -> tuple[Any, Any]:
    """The tokenizer and the network; SetupError, one sentence with the fix, where they cannot be loaded."""
    path = Path(model).expanduser()
    if not path.exists() and (model.startswith((".", "/", "~")) or path.suffix == ".gguf"):  # no hub id
        raise SetupError(f"There is no --model {model}; give a folder, a GGUF file or a hub id.")

    from transformers import AutoModelForCausalLM, AutoTokenizer

    from melt_ser.models.weights import quiet_transformers

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    if path.is_file():  # the GGUF file itself
        path, gguf_file = path.parent, path.name
    name = str(path) if path.is_dir() else model
    settings = {"gguf_file": gguf_file} if gguf_file else {}
    try:
        with quiet_transformers(), redirect_stderr(io.StringIO()):  # the bar over a GGUF file knows no setting
            tokenizer = AutoTokenizer.from_pretrained(name, **settings)
            network = AutoModelForCausalLM.from_pretrained(name, dtype=dtype, **settings).to(device).eval()
    except (OSError, ValueError, ImportError) as error:
        said = " ".join(str(error).split())
        raise SetupError(f"--model {model} cannot be loaded as a causal language model: {said}") from None
    return tokenizer, network


def _cut(cache: Any, length: int, copies: int = 1) -> Any:
    """A cache of the first `length` tokens of another (None: of none), as often as `copies`."""
    from transformers import DynamicCache

    cut = DynamicCache()  # without the model's configuration, so that layers with a window keep what lies before it
    for number, layer in enumerate(cache.layers if cache is not None and length else ()):
        keys, values = (kept[:, :, :length].expand(copies, -1, -1, -1) for kept in (layer.keys, layer.values))
        cut.update(keys, values, number)
    return cut


def _shared_length(sequences: Sequence[Sequence[int]]) -> int:
    """How many tokens all sequences begin with."""
    differs = (place for place, tokens in enumerate(zip(*sequences, strict=False)) if len(set(tokens)) > 1)
    return next(differs, min(map(len, sequences)))


def _softmax(scores: np.ndarray) -> np.ndarray:
    """(1, labels) probabilities of (labels,) scores."""
    shares: np.ndarray = np.exp(scores - scores.max())[None]
    return normalised(shares)
