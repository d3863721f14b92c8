"""A probe: a linear classifier of scikit-learn on the pooled features of a frozen backbone, fitted in seconds.

dev chooses the regularisation and, with head.layers=chosen, the hidden state. Scaler and coefficients become the
weights of the head, so that a probe is saved, loaded and scored like any other model.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from safetensors.numpy import save_file
from threadpoolctl import threadpool_limits

from melt_ser.config import Method, TrainerConfig
from melt_ser.core import files
from melt_ser.core.console import say
from melt_ser.data.datasets import ClipDataset
from melt_ser.evaluation.calibration import fit_temperature, normalised
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.training.dev_scores import dev_scores
from melt_ser.training.optimisation import Weighting
from melt_ser.training.pooled import pooled_features
from melt_ser.training.targets import Goals, Targets

MOST_STEPS = 1000  # of the solver
TOLERANCE = 1e-6  # of the gradient; scikit-learn's 1e-4 leaves an error as large as the logits of a low C
MANY_NUMBERS = 10_000_000  # features of all utterances: for fewer, two threads take five times as long as one
ABSENT = -1e4  # the logit of a class without training utterances: its probability is 0, at any temperature


class Choice(NamedTuple):
    """The settings that dev chose, and its UA with them.

    layers: as head.layers, but a number in place of "chosen".
    inverse_regularisation: C of scikit-learn.
    temperature: the decision values of a support-vector machine are divided by it; 1 for the others.
    dev_value: the score that chose; None in the record of an older run, which UA chose. dev_ua: None without classes.
    """

    layers: int | str
    inverse_regularisation: float
    temperature: float
    dev_ua: float | None
    dev_value: float | None = None


class Linear(NamedTuple):
    """A fitted probe: the logits of features, (features,), are weight @ features + bias.

    weight: (outputs, features). bias: (outputs,). is_best: whether the solver reached its best fit within MOST_STEPS.
    """

    weight: np.ndarray
    bias: np.ndarray
    is_best: bool = True

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Return the logits, (utterances, outputs), for features, (utterances, features)."""
        logits: np.ndarray = features @ self.weight.T + self.bias
        return logits

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Return the probabilities, (utterances, classes), for features, (utterances, features)."""
        logits = self.logits(features)
        return normalised(np.exp(logits - logits.max(axis=1, keepdims=True)))


class Features(NamedTuple):
    """The standardised features of utterances.

    pooled: of their frames, (utterances, states, features). text: of their words, (utterances, features); None: the
    model reads the audio alone.
    """

    pooled: np.ndarray
    text: np.ndarray | None

    def view(self, layers: int | str) -> np.ndarray:
        """Return the features that a probe reads, (utterances, features): of one state, or of all side by side."""
        pooled = self.pooled
        if isinstance(layers, int) and pooled.shape[1] > 1:
            pooled = pooled[:, layers]
        view: np.ndarray = pooled.reshape(len(pooled), -1).astype(np.float64)
        return view if self.text is None else np.concatenate([view, self.text.astype(np.float64)], axis=1)


class Examples(NamedTuple):
    """Utterances to learn from.

    read: the features of their frames and words. targets: their right answers. weights: with mean 1, (utterances,).
    """

    read: Features
    targets: Targets
    weights: np.ndarray


def fit_probe(
    config: TrainerConfig,
    model: SpeechClassifier,
    train: ClipDataset,
    dev: ClipDataset | None,
    folder: Path,
    accelerator: Accelerator,
    choice: Choice | None = None,
    goals: Goals | None = None,
) -> Choice:
    """Fit the head of `model` in place, on the features of its frozen backbone; return the settings that dev chose.

    Args:
        config: the `trainer` settings: method, candidates of C, balance.
        model: the model, on the accelerator's device.
        train: the utterances to learn from.
        dev: the utterances that choose; None with `choice`.
        folder: receives probe.csv (the candidates and their dev scores), probe.json and probe.safetensors.
        accelerator: the processes and the device that compute features.
        choice: the settings to fit with; None: dev chooses.
        goals: the right answers; None: the classes of the utterances.
    """
    goals = goals or Goals.of_classes(train, dev)
    features = pooled_features(model, train, config.batch_size, accelerator)
    dev_features = None if dev is None else pooled_features(model, dev, config.batch_size, accelerator)
    with threadpool_limits(1 if features.size < MANY_NUMBERS else None):
        if model.head.standardises:
            mean, deviation = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
            model.head.set_scale(torch.from_numpy(mean), torch.from_numpy(deviation))
            if train.text is not None:
                model.head.set_text_scale(train.text)
        weighting = Weighting.of_targets(config.balance, goals.train, train.corpora, len(model.classes))
        weights = weighting.in_loss if weighting.sampling is None else weighting.sampling
        examples = Examples(_scaled(model, features, train), goals.train, weights)
        if choice is None:
            assert goals.dev is not None and dev is not None and dev_features is not None
            choice, candidates = _choose(config, model, examples, _scaled(model, dev_features, dev), goals.dev)
            if accelerator.is_main_process:
                files.write_csv(folder / "probe.csv", candidates)
        view = examples.read.view(choice.layers)
        [probe] = _fits(config.method, view, examples, [choice.inverse_regularisation], len(model.outputs))
    if not probe.is_best:
        c = choice.inverse_regularisation
        say(f"note: with C={c:g} the probe was stopped after {MOST_STEPS} steps, before its best fit.")
    probe = Linear(probe.weight / choice.temperature, probe.bias / choice.temperature)
    _put_into_head(model, probe, choice.layers)
    if accelerator.is_main_process:
        _save(folder, config.method, model, choice)
    return choice


def _choose(
    config: TrainerConfig, model: SpeechClassifier, examples: Examples, dev_features: Features, dev: Targets
) -> tuple[Choice, pd.DataFrame]:
    """Return the candidate with the highest dev score, and the scores of all; among equals, the lowest dev loss wins.

    dev_features: those of the dev utterances. dev: their right answers.
    """
    states = range(examples.read.pooled.shape[1])
    layers_of_candidates = list(states) if model.head.layers == "chosen" else [model.head.layers]
    strengths = sorted(config.inverse_regularisation)
    rows, best = [], (-np.inf, -np.inf)
    for layers in layers_of_candidates:
        view, dev_view = examples.read.view(layers), dev_features.view(layers)
        probes = _fits(config.method, view, examples, strengths, len(model.outputs))
        for strength, probe in zip(strengths, probes, strict=True):
            temperature = 1.0
            if config.method is Method.linear_svm:  # trained to decide, not to give probabilities
                temperature = fit_temperature(probe.probabilities(dev_view), dev.classes)
            logits = torch.from_numpy(probe.logits(dev_view) / temperature)
            scores = dev_scores(model.outputs.answers(logits).numpy(), dev, model.outputs)
            rows.append({"layers": layers, "C": strength, **scores.columns, "dev_loss": scores.loss})
            if scores.rank > best:
                best, choice = scores.rank, Choice(layers, strength, temperature, scores.ua, scores.value)
    return choice, pd.DataFrame(rows)


def _scaled(model: SpeechClassifier, pooled: np.ndarray, utterances: ClipDataset) -> Features:
    """Return pooled features, (utterances, states, features), and those of words as the head standardises them."""
    head, text = model.head, utterances.text
    if head.standardises:
        pooled = (pooled - head.shift.cpu().numpy()) / head.scale.cpu().numpy()
    return Features(pooled, None if text is None else head.scaled_text(text.to(model.backbone.device)).cpu().numpy())


def _fits(
    method: Method, view: np.ndarray, examples: Examples, strengths: list[float], outputs: int
) -> Iterator[Linear]:
    """Yield the probe that is fitted with each value of C, from the lowest up.

    Attributes are learnt by a ridge regression with the penalty 1 / C.

    Both classifiers depend on the inner products of the utterances alone. So if there are more features than
    utterances, the utterances are first rotated into as many dimensions as there are utterances; the result is the
    same, and several times as fast.

    Args:
        method: the classifier.
        view: the features, (utterances, features).
        examples: gives right answers and weights.
        strengths: values of C, rising.
        outputs: the number of classes, of which some may have no examples, or of attributes.
    """
    if examples.targets.attributes.size:
        yield from _ridges(view, examples, strengths)
        return
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    rotation = None
    if view.shape[1] > view.shape[0]:
        rotation, triangle = np.linalg.qr(view.T)
        view = triangle.T
    for strength in strengths:
        if method is Method.linear_svm:
            classifier = LinearSVC(C=strength, max_iter=MOST_STEPS, dual=False)
        elif strength == strengths[0]:  # the next value of C starts from the coefficients of this one
            classifier = LogisticRegression(C=strength, tol=TOLERANCE, max_iter=MOST_STEPS, warm_start=True)
        else:
            classifier.set_params(C=strength)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            classifier.fit(view, examples.targets.classes, sample_weight=examples.weights)
        weight, bias = classifier.coef_, classifier.intercept_
        if len(bias) == 1:  # of two classes, only the second has coefficients
            weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        weight = weight if rotation is None else weight @ rotation.T
        is_best = not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
        whole = Linear(np.zeros((outputs, weight.shape[1])), np.full(outputs, ABSENT), is_best)
        whole.weight[classifier.classes_], whole.bias[classifier.classes_] = weight, bias
        yield whole


def _ridges(view: np.ndarray, examples: Examples, strengths: list[float]) -> Iterator[Linear]:
    """Yield the ridge regression of the attributes with each value of C; an unknown attribute is left out of its own.

    The arguments are those of `_fits`.
    """
    from sklearn.linear_model import Ridge

    goal = examples.targets.attributes
    for strength in strengths:
        whole = Linear(np.zeros((goal.shape[1], view.shape[1])), np.zeros(goal.shape[1]))
        for number, column in enumerate(goal.T):
            known = ~np.isnan(column)
            ridge = Ridge(alpha=1 / strength).fit(view[known], column[known], sample_weight=examples.weights[known])
            whole.weight[number], whole.bias[number] = ridge.coef_, ridge.intercept_
        yield whole


@torch.no_grad()
def _put_into_head(model: SpeechClassifier, probe: Linear, layers: int | str) -> None:
    """Replace the head by one with these coefficients; it keeps the standardisation of the states that it reads."""
    old = model.head
    model.set_head(replace(model.head_config, layers=layers))
    if old.standardises:
        rows = slice(layers, layers + 1) if old.layers == "chosen" and isinstance(layers, int) else slice(None)
        model.head.shift.copy_(old.shift[rows])
        model.head.scale.copy_(old.scale[rows])
        if old.text_features:
            model.head.text_shift.copy_(old.text_shift)
            model.head.text_scale.copy_(old.text_scale)
    model.head.output.weight.copy_(torch.from_numpy(probe.weight))
    model.head.output.bias.copy_(torch.from_numpy(probe.bias))


def _save(folder: Path, method: Method, model: SpeechClassifier, choice: Choice) -> None:
    """Write probe.json, the settings, and probe.safetensors: mean, deviation, weight and bias."""
    settings = {"method": method.value, **choice._asdict(), "classes": model.classes}
    if model.outputs.scales:
        settings["scales"] = model.outputs.scales
    files.write_json(folder / "probe.json", settings)
    names = {
        **{"shift": "mean", "scale": "deviation", "text_shift": "text_mean", "text_scale": "text_deviation"},
        **{"output.weight": "weight", "output.bias": "bias"},
    }
    weights = {names[name]: weight.cpu().numpy() for name, weight in model.head.state_dict().items()}
    with files.replacing_file(folder / "probe.safetensors") as temporary:
        save_file(weights, temporary)
