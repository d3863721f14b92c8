"""Compare ways to choose the best epoch on a corpus with few groups: what do they cost in test UA?

    python benchmarks/dev_part.py <EmoDB's folder>

EmoDB's ten speakers become five sessions of two speakers, the shape of IEMOCAP, and each session is the test part once.
The input are eGeMAPS functionals (extra `acoustics`), the model has one hidden layer: it trains in seconds, so that
each recipe is repeated with many seeds of split and training. The table gives the mean test UA over the seeds, its
standard error, the chosen epoch, and the mean difference from the first recipe on the same seeds, with standard error.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import opensmile
import pandas as pd
import torch
from torch.nn.functional import cross_entropy

import melt_ser
from melt_ser.config import DevGroup, Group
from melt_ser.corpora.fold_split import FoldSplit
from melt_ser.corpora.splits import make_fold_splits

SESSIONS = ("03 08", "10 09", "11 13", "12 14", "15 16")  # a man and a woman each
EPOCHS, HIDDEN, RATE, BATCH = 60, 64, 2e-3, 64
RECIPES = {"a session": DevGroup.session, "recordings": DevGroup.source}


def features_of(table: pd.DataFrame, root: str) -> pd.DataFrame:
    """Return the eGeMAPS functionals of each utterance, by its name."""
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    rows = [smile.process_file(f"{root}/{audio}").to_numpy()[0] for audio in table["audio"]]
    return pd.DataFrame(np.stack(rows), table["utterance"])


class Trained:
    """A network after each epoch: UA on one part, and its answers on the test part."""

    def __init__(
        self,
        features: pd.DataFrame,
        train: pd.DataFrame,
        chosen_on: pd.DataFrame,
        test: pd.DataFrame,
        epochs: int = EPOCHS,
    ) -> None:
        classes = sorted(train["class"].unique())
        inputs = [torch.tensor(features.loc[part["utterance"]].to_numpy()).float() for part in (train, chosen_on, test)]
        mean, scale = inputs[0].mean(0), inputs[0].std(0) + 1e-6
        own, dev, tested = ((part - mean) / scale for part in inputs)
        targets = torch.tensor([classes.index(name) for name in train["class"]])
        weights = len(targets) / (len(classes) * torch.bincount(targets).float())
        model = torch.nn.Sequential(
            torch.nn.Linear(own.shape[1], HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, len(classes))
        )
        optimiser = torch.optim.Adam(model.parameters(), RATE)
        self.dev_uas: list[float] = []
        self.answers: list[np.ndarray] = []
        for _ in range(epochs):
            for rows in torch.randperm(len(own)).split(BATCH):
                optimiser.zero_grad()
                cross_entropy(model(own[rows]), targets[rows], weights).backward()
                optimiser.step()
            with torch.no_grad():
                on_dev, on_test = (np.array(classes)[model(part).argmax(1)] for part in (dev, tested))
            self.dev_uas.append(ua(chosen_on["class"], on_dev))
            self.answers.append(on_test)


def ua(references: pd.Series, answers: np.ndarray) -> float:
    return float((references == answers).groupby(references).mean().mean())


def answers_by_recipe(features: pd.DataFrame, split: FoldSplit, seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the answers on a fold's test part, without and with a refit, and the chosen epoch (from 0)."""
    torch.manual_seed(seed)
    first = Trained(features, split.train, split.dev, split.test)
    best = int(np.argmax(first.dev_uas))
    torch.manual_seed(seed)
    refit = Trained(features, pd.concat([split.train, split.dev]), split.dev, split.test, best + 1)
    return first.answers[best], refit.answers[best], best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root")
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    corpus = melt_ser.load_corpus("emodb", options.root)
    session_of = {speaker: pair for pair in SESSIONS for speaker in pair.split()}
    table = corpus.table.assign(session=corpus.table["speaker"].map(session_of))
    features = features_of(table, options.root)
    config = replace(corpus.release.config, group=Group.session, folds="leave_one_out", fold="all")
    error = 1 / np.sqrt(options.seeds)
    reference = None
    for name, dev_group in RECIPES.items():
        uas: list[list[float]] = []
        epochs = []
        for seed in range(options.seeds):
            splits = make_fold_splits(table, replace(config, dev_group=dev_group, split_seed=seed))
            outcomes = [answers_by_recipe(features, split, seed) for split in splits]
            references = pd.concat([split.test["class"] for split in splits])
            uas.append(
                [100 * ua(references, np.concatenate(answers)) for answers in list(zip(*outcomes, strict=True))[:2]]
            )
            epochs += [best + 1 for *_, best in outcomes]
        for recipe, own in zip((f"dev: {name}", f"dev: {name}; refit"), np.array(uas).T, strict=True):
            reference = own if reference is None else reference
            gain = own - reference
            print(
                f"{recipe:24} UA {own.mean():.1f} ± {own.std(ddof=1) * error:.2f}, epoch {np.mean(epochs):.0f}, "
                f"against the first {gain.mean():+.1f} ± {gain.std(ddof=1) * error:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
