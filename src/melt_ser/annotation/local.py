"""The engine `local`: a causal language model in this process that writes answers by their schema (`local_answer.py`).

The model samples nothing. The score of a label is the log probability of the label with its closing quote: the sum
over its tokens, since their mean would favour long labels. The probabilities are the softmax of the scores over the
set, at a temperature that can be fitted on labelled lines. The beginning of the question is the same for all lines and
is computed once. No bit of an answer depends on earlier questions.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from functools import cached_property
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import TemplateError

from melt_ser.annotation.answers import label_of
from melt_ser.annotation.engines import Message, Reply, Schema
from melt_ser.annotation.local_answer import AnswerWriter, softmax
from melt_ser.annotation.prompts import Prompt
from melt_ser.core.console import say
from melt_ser.core.errors import InputError, SetupError
from melt_ser.core.package import expanded
from melt_ser.corpora.lines import earlier_lines, later_lines, read_lines
from melt_ser.evaluation.calibration import fit_temperature, with_temperature

BLOCK = 32  # tokens per forward pass, so that rounding does not depend on how many are cached
LONGEST_TEXT = 60  # tokens of a text in an answer
LABEL_COLUMNS = ("label", "Emotion", "llm_label")  # of labelled lines, the first that a line has


class LocalEngine:
    """A causal language model, in float32 on a CPU and in bfloat16 on a GPU."""

    def __init__(self, model: str, gguf_file: str | None = None, temperature: float = 1.0) -> None:
        """Load a model of the Hugging Face hub or of a folder; `gguf_file` names a GGUF file in it.

        `temperature` divides the logarithms of the probabilities; it changes no answer. Raises SetupError if the model
        cannot be loaded.
        """
        self.model = f"{model}:{gguf_file}" if gguf_file else model
        self.temperature = temperature
        self._tokenizer, self._network = load_model(model, gguf_file)
        parameters = signature(self._network.forward).parameters
        self._cache = "cache" if "cache" in parameters else "past_key_values"  # renamed in transformers 5.24
        self._cached_tokens: list[int] = []  # the tokens with keys and values in the cache
        self._cached: Any = None

    async def ask(self, messages: Sequence[Message], schema: Schema, sample: int) -> Reply:
        """Return the answer, and the probability of each label of its first field with labels.

        Every sample is the same.
        """
        writer = AnswerWriter(self, self._question(messages), self.temperature)
        await asyncio.sleep(0)  # lets Ctrl-C stop the job: nothing else here yields to the event loop
        for _ in writer.write(schema):
            await asyncio.sleep(0)
        probabilities = None
        if writer.scores is not None:
            shares = with_temperature(softmax(writer.scores), self.temperature)[0]
            probabilities = dict(zip(writer.labels, shares.tolist(), strict=True))
        prompt_tokens, answer_tokens = (len(self._tokens(text)) for text in (writer.question, writer.text))
        return Reply(writer.text, prompt_tokens, answer_tokens, probabilities)

    def calibrate(self, questions: Sequence[tuple[Sequence[Message], Schema, str]]) -> float:
        """Fit the temperature by negative log-likelihood on questions with true labels; set it and return it."""
        scored = [(*self.label_scores(messages, schema), label) for messages, schema, label in questions]
        right = np.array([labels.index(label) for _, labels, label in scored])
        self.temperature = fit_temperature(np.concatenate([softmax(scores) for scores, _, _ in scored]), right)
        return self.temperature

    def label_scores(self, messages: Sequence[Message], schema: Schema) -> tuple[np.ndarray, list[str]]:
        """Return the log-likelihood of each label of the first field with labels, (labels,), and the labels."""
        writer = AnswerWriter(self, self._question(messages), self.temperature)
        next(None for _ in writer.write(schema) if writer.scores is not None)
        assert writer.scores is not None
        return writer.scores, writer.labels

    @torch.inference_mode()
    def likelihoods(self, text: str, continuations: Sequence[str]) -> np.ndarray:
        """Return the log-likelihood of each continuation of a text, (continuations,), up to a constant."""
        answers = [self._tokens(text + continuation) for continuation in continuations]
        shared = _shared_length(answers)
        last = self._log_probabilities_after(answers[0][:shared])  # (vocabulary,)
        tails = [answer[shared:] for answer in answers]
        scores = last[[tail[0] for tail in tails]]
        longest = max(len(tail) for tail in tails)
        if longest > 1:
            inputs = torch.tensor([tail[:-1] + [0] * (longest - len(tail)) for tail in tails], device=last.device)
            cache = _cut(self._cached, shared, copies=len(tails))
            logits = self._network(input_ids=inputs, use_cache=True, **{self._cache: cache}).logits
            following = logits.float().log_softmax(dim=-1)  # (continuations, longest - 1, vocabulary)
            for row, tail in enumerate(tails):
                scores[row] += following[row, range(len(tail) - 1), tail[1:]].sum()
        found: np.ndarray = scores.double().cpu().numpy()
        return found

    @torch.inference_mode()
    def continuation(self, text: str) -> str:
        """Return what the model writes next, up to a quote or `LONGEST_TEXT` tokens, without line ends and escapes."""
        from transformers import GenerationConfig

        tokens = self._tokens(text)
        self._log_probabilities_after(tokens)
        closing, unfit = self._closing_and_unfit
        settings = GenerationConfig(  # not the model's own, which may sample
            max_new_tokens=LONGEST_TEXT,
            min_new_tokens=1,
            do_sample=False,
            eos_token_id=closing,
            pad_token_id=closing[0],
            suppress_tokens=unfit,
        )
        inputs = torch.tensor([tokens], device=self._network.device)
        cache = _cut(self._cached, len(tokens) - 1)
        written = self._network.generate(
            inputs, generation_config=settings, attention_mask=torch.ones_like(inputs), **{self._cache: cache}
        )
        new: str = self._tokenizer.decode(written[0, len(tokens) :])
        return new.partition('"')[0].replace("\ufffd", "").strip()  # a letter may be cut in half at the end

    @cached_property
    def _closing_and_unfit(self) -> tuple[list[int], list[int]]:
        """The tokens that close a text in JSON, and those that may not be in one."""
        known = len(self._tokenizer)
        texts = self._tokenizer.batch_decode([[token] for token in range(known)])
        unfit = {*self._tokenizer.get_added_vocab().values(), *range(known, self._network.config.vocab_size)}
        unfit |= {n for n, text in enumerate(texts) if "\\" in text or any(sign < " " for sign in text)}
        closing = [token for token, text in enumerate(texts) if '"' in text and token not in unfit]
        return closing, sorted(unfit)

    def _log_probabilities_after(self, tokens: list[int]) -> torch.Tensor:
        """Return the log probabilities of the next token, (vocabulary,).

        Skip the whole blocks at the beginning that the cache has from the last question.
        """
        known = min(_shared_length([tokens, self._cached_tokens]), len(tokens) - 1) // BLOCK * BLOCK
        cache = _cut(self._cached, known)
        for start in range(known, len(tokens), BLOCK):
            inputs = torch.tensor([tokens[start : start + BLOCK]], device=self._network.device)
            logits = self._network(input_ids=inputs, use_cache=True, logits_to_keep=1, **{self._cache: cache}).logits
        self._cached, self._cached_tokens = cache, tokens
        following: torch.Tensor = logits[0, -1].float().log_softmax(dim=-1)
        return following

    def _question(self, messages: Sequence[Message]) -> str:
        """Return the chat as the model's template writes it, or as plain paragraphs, up to the answer."""
        if self._tokenizer.chat_template is None:
            start = self._tokenizer.bos_token or ""
            return start + "".join(f"{message['content']}\n\n" for message in messages)
        try:
            chat = self._chat(messages)
        except TemplateError:  # some templates have no system role
            first, second, *rest = messages
            merged = {"role": second["role"], "content": f"{first['content']}\n\n{second['content']}"}
            chat = self._chat([merged, *rest])
        return chat

    def _chat(self, messages: Sequence[Message]) -> str:
        chat: str = self._tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        return chat

    def _tokens(self, text: str) -> list[int]:
        tokens: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
        return tokens


def open_engine(
    model: str, prompt: Prompt, temperature: float, calibration: Path | None, columns: Mapping[str, str]
) -> LocalEngine:
    """Load a model and, if a table of labelled lines is given, calibrate it on them.

    `model` is a hub id, a folder, a GGUF file or <hub id>:<GGUF file>; `columns` are those of the table that the
    command names. Raises SetupError if it cannot be loaded,
    InputError if no line has a label of the prompt.
    """
    repository, _, file = model.rpartition(":")
    is_file_in_repository = repository and file.endswith(".gguf") and not Path(model).is_file()
    say(f"loading {model}")
    name, gguf_file = (repository, file) if is_file_in_repository else (model, None)
    engine = LocalEngine(name, gguf_file, temperature)
    if calibration is None:
        return engine
    lines = read_lines(calibration, columns)
    around = [earlier_lines(lines, prompt.history), later_lines(lines, prompt.following)]
    labels = [next((line.columns[name] for name in LABEL_COLUMNS if name in line.columns), "") for line in lines]
    known = [label_of(label, prompt.labels, {}) for label in labels]
    labelled = [(line, label) for line, label in zip(lines, known, strict=True) if label is not None]
    if not labelled:
        raise InputError(f"{calibration} has no line with a label of the prompt in {', '.join(LABEL_COLUMNS)}.")
    fitted = engine.calibrate(
        [
            (prompt.messages(line, *(near[line.utterance] for near in around)), prompt.schema, label)
            for line, label in labelled
        ]
    )
    say(f"calibrated by {len(labelled):,} of {len(lines):,} lines: temperature {fitted:.3f}")
    return engine


def load_model(model: str, gguf_file: str | None) -> tuple[Any, Any]:
    """Return the tokenizer and the network. Raises SetupError if they cannot be loaded."""
    path = expanded(model)
    if not path.exists() and (model.startswith((".", "/", "~")) or path.suffix == ".gguf"):  # cannot be a hub id
        raise SetupError(f"There is no --model {model}; give a folder, a GGUF file or a hub id.")

    from transformers import AutoModelForCausalLM, AutoTokenizer

    from melt_ser.models.quiet import quiet_transformers

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    if path.is_file():  # a GGUF file
        path, gguf_file = path.parent, path.name
    name = str(path) if path.is_dir() else model
    settings = {"gguf_file": gguf_file} if gguf_file else {}
    try:
        with quiet_transformers(), redirect_stderr(io.StringIO()):  # no setting hides the bar over a GGUF file
            tokenizer = AutoTokenizer.from_pretrained(name, **settings)
            network = AutoModelForCausalLM.from_pretrained(name, dtype=dtype, **settings).to(device).eval()
    except (OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise SetupError(f"--model {model} cannot be loaded as a causal language model: {reason}") from None
    return tokenizer, network


def _cut(cache: Any, length: int, copies: int = 1) -> Any:
    """Return a cache of the first `length` tokens of another (None: an empty one), repeated `copies` times."""
    from transformers import DynamicCache

    cut = DynamicCache()  # without the model's configuration, so that layers with a window keep all tokens
    for number, layer in enumerate(cache.layers if cache is not None and length else ()):
        keys, values = (states[:, :, :length].expand(copies, -1, -1, -1) for states in (layer.keys, layer.values))
        cut.update(keys, values, number)
    return cut


def _shared_length(sequences: Sequence[Sequence[int]]) -> int:
    """Return the length of the longest common beginning."""
    differs = (place for place, tokens in enumerate(zip(*sequences, strict=False)) if len(set(tokens)) > 1)
    return next(differs, min(map(len, sequences)))
