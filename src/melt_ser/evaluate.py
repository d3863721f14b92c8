"""`python -m melt_ser.evaluate run=<folder> dataset=<name>`: score a finished run on another corpus."""

from __future__ import annotations

import sys

from omegaconf import DictConfig

from melt_ser.launch import launch


def evaluate(composed: DictConfig) -> None:
    from pathlib import Path

    from melt_ser.checks import check_eval
    from melt_ser.config import EvaluateConfig
    from melt_ser.console import show, verification_bar
    from melt_ser.corpora.corpus import load_corpus
    from melt_ser.evaluation.rescore import rescore
    from melt_ser.launch import typed
    from melt_ser.reporting.tables import evaluation_table
    from melt_ser.runs import read_result

    config = typed(composed, EvaluateConfig)
    check_eval(config.eval)
    folder = Path(config.run)
    result = read_result(folder)
    name = config.dataset.name
    config.dataset.root = config.eval.roots.get(name, config.dataset.root)
    corpus = load_corpus(config.dataset, progress=verification_bar)
    result = rescore(folder, result, corpus, config.eval, config.device)
    rows = [{**row, "dropped": sum(row["dropped"].values())} for row in result["evals"] if row["corpus"] == name]
    show(evaluation_table(rows))
    print(f"result: {folder / 'result.json'}", flush=True)


def main() -> int:
    return launch("evaluate", evaluate)


if __name__ == "__main__":
    sys.exit(main())
