"""A probe equals scikit-learn's classifier, fitted by hand on the same features; dev chooses C and the layer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from melt_ser.config import Balance, HeadConfig, Method, TrainerConfig
from melt_ser.data.datasets import Batch, ClipDataset
from melt_ser.data.stage import Stage
from melt_ser.evaluation.calibration import fit_temperature
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.training.device import make_accelerator
from melt_ser.training.probe import Choice, fit_probe
from small_models import CLASSES, small_backbone

STATES, WIDTH = 3, 32  # of a small backbone; statistics are twice as wide
STRENGTHS = [1e-3, 1e-1, 1.0]


class Features(ClipDataset):
    """Pooled features, (utterances, states, features), as a feature cache gives them."""

    def __init__(self, features: np.ndarray, classes: np.ndarray, corpora: np.ndarray | None = None) -> None:
        self.features = torch.from_numpy(features).float()
        self.classes = classes
        self.corpora = np.zeros_like(classes) if corpora is None else corpora
        self.seconds = np.ones(len(classes))

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int, int]:
        return self.features[row], int(self.classes[row]), row

    def path(self, row: int) -> Path:
        return Path(str(row))

    @staticmethod
    def collate(items: Sequence[tuple[torch.Tensor, int, int]]) -> Batch:
        features, classes, rows = zip(*items, strict=True)
        ones = torch.ones(len(rows), dtype=torch.int64)
        return Batch(torch.stack(features)[:, None], ones, torch.tensor(classes), torch.tensor(rows), Stage.pooled)

    def side_by_side(self) -> np.ndarray:
        return self.features.flatten(1).double().numpy()


def utterances(
    number: int, seed: int, width: int = WIDTH, states: Sequence[int] = range(STATES), classes: Sequence[int] = range(4)
) -> Features:
    """Draw utterances; the given states alone tell the classes apart, and the first class is twice as frequent."""
    generator = np.random.default_rng(seed)
    drawn = generator.choice([classes[0], *classes], number)
    drawn[: len(classes)] = classes
    features = generator.normal(size=(number, STATES, width)) * 3 + 5
    means = np.random.default_rng(99).normal(size=(4, width))
    for state in states:
        features[:, state] += means[drawn]
    return Features(features, drawn)


def classifier(classes: list[str] = CLASSES, **head: object) -> SpeechClassifier:
    settings = {"layers": "all", "standardise": True} | head
    backbone = small_backbone("hubert-base")
    backbone.freeze("everything")
    return SpeechClassifier(backbone, HeadConfig(**settings), classes).eval()


def fitted(
    folder: Path, model: SpeechClassifier, train: Features, dev: Features | None, **settings: object
) -> tuple[Choice, SpeechClassifier]:
    """Fit a probe; return what dev chose, and the model."""
    choice = settings.pop("choice", None)
    config = TrainerConfig(
        **{"method": Method.logistic_regression, "inverse_regularisation": STRENGTHS, "batch_size": 16} | settings
    )
    return fit_probe(config, model, train, dev, folder, make_accelerator("cpu"), choice), model


@torch.no_grad()
def answers(model: SpeechClassifier, of: Features) -> np.ndarray:
    """Return the probabilities that a model gives."""
    batch = of.collate([of[row] for row in range(len(of))])
    return model(batch.inputs, batch.lengths, Stage.pooled).softmax(dim=-1).numpy()


def softmax(logits: np.ndarray) -> np.ndarray:
    return torch.from_numpy(logits).softmax(dim=-1).numpy()


@pytest.mark.parametrize("number", [60, 300], ids=["more-features-than-clips", "more-clips-than-features"])
@pytest.mark.parametrize("standardise", [True, False])
def test_a_probe_is_the_logistic_regression_of_scikit_learn(tmp_path: Path, number: int, standardise: bool) -> None:
    train, dev, test = (utterances(size, seed) for seed, size in enumerate((number, 40, 40)))
    choice, model = fitted(tmp_path, classifier(standardise=standardise), train, dev, balance=Balance.nothing)
    scaler = StandardScaler(with_mean=standardise, with_std=standardise).fit(train.side_by_side())
    by_hand = LogisticRegression(C=choice.inverse_regularisation, max_iter=10_000, tol=1e-8)
    by_hand.fit(scaler.transform(train.side_by_side()), train.classes)
    expected = by_hand.predict_proba(scaler.transform(test.side_by_side()))
    assert answers(model, test) == pytest.approx(expected, abs=5e-3)
    model.fold_standardisation()
    assert not model.head.standardises
    assert answers(model, test) == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize("number", [60, 300], ids=["more-features-than-clips", "more-clips-than-features"])
def test_a_probe_is_the_linear_support_vector_machine_of_scikit_learn(tmp_path: Path, number: int) -> None:
    """Its decision values are divided by a temperature, which is fitted on dev."""
    train, dev, test = (utterances(size, seed) for seed, size in enumerate((number, 40, 40)))
    choice, model = fitted(
        tmp_path, classifier(), train, dev, method=Method.linear_svm, inverse_regularisation=[1e-3, 1e-2]
    )
    weights = balanced(train)
    scaler = StandardScaler().fit(train.side_by_side())
    by_hand = LinearSVC(C=choice.inverse_regularisation, dual=False, tol=1e-8)
    by_hand.fit(scaler.transform(train.side_by_side()), train.classes, sample_weight=weights)
    on_dev, on_test = (by_hand.decision_function(scaler.transform(part.side_by_side())) for part in (dev, test))
    assert choice.temperature == pytest.approx(fit_temperature(softmax(on_dev), dev.classes), rel=1e-2)
    assert answers(model, test) == pytest.approx(softmax(on_test / choice.temperature), abs=5e-3)


def balanced(part: Features) -> np.ndarray:
    """Return weights with which every class of every corpus weighs the same."""
    cells = pd.DataFrame({"class": part.classes, "corpus": part.corpora})
    sizes = cells.groupby(["class", "corpus"])["class"].transform("size").to_numpy()
    return len(cells) / (len(cells.drop_duplicates()) * sizes)


@pytest.mark.parametrize("balance", list(Balance))
@pytest.mark.parametrize("corpora", [1, 2])
def test_utterances_weigh_as_balance_says(tmp_path: Path, balance: Balance, corpora: int) -> None:
    """balance=sampling means the same weights as balance=loss, since a probe draws no batches."""
    train, dev, test = (utterances(120, seed) for seed in range(3))
    train.corpora = (np.arange(120) % 5 == 0).astype(int) if corpora == 2 else train.corpora
    choice, model = fitted(tmp_path, classifier(), train, dev, balance=balance)
    scaler = StandardScaler().fit(train.side_by_side())
    by_hand = LogisticRegression(C=choice.inverse_regularisation, max_iter=10_000, tol=1e-8)
    weights = None if balance is Balance.nothing else balanced(train)
    by_hand.fit(scaler.transform(train.side_by_side()), train.classes, sample_weight=weights)
    expected = by_hand.predict_proba(scaler.transform(test.side_by_side()))
    assert answers(model, test) == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize("method", [Method.logistic_regression, Method.linear_svm])
@pytest.mark.parametrize("present", [(0, 1), (1, 3), (0, 2, 3)])
def test_a_class_without_training_utterances_has_probability_0(
    tmp_path: Path, method: Method, present: tuple[int, ...]
) -> None:
    train, dev, test = (utterances(60, seed, classes=present) for seed in range(3))
    dev.classes[:3] = 2  # dev may have it
    choice, model = fitted(tmp_path, classifier(), train, dev, method=method, balance=Balance.nothing)
    given = answers(model, test)
    assert given[:, [number for number in range(4) if number not in present]].max(initial=0.0) == 0.0
    scaler = StandardScaler().fit(train.side_by_side())
    if method is Method.logistic_regression:
        by_hand = LogisticRegression(C=choice.inverse_regularisation, max_iter=10_000, tol=1e-8)
        by_hand.fit(scaler.transform(train.side_by_side()), train.classes)
        expected = by_hand.predict_proba(scaler.transform(test.side_by_side()))
        assert given[:, present] == pytest.approx(expected, abs=5e-3)


def test_two_classes_have_the_probabilities_of_scikit_learn(tmp_path: Path) -> None:
    train, dev, test = (utterances(60, seed, classes=(0, 1)) for seed in range(3))
    choice, model = fitted(tmp_path, classifier(CLASSES[:2]), train, dev, balance=Balance.nothing)
    scaler = StandardScaler().fit(train.side_by_side())
    by_hand = LogisticRegression(C=choice.inverse_regularisation, max_iter=10_000, tol=1e-8)
    by_hand.fit(scaler.transform(train.side_by_side()), train.classes)
    expected = by_hand.predict_proba(scaler.transform(test.side_by_side()))
    assert answers(model, test) == pytest.approx(expected, abs=5e-3)


def test_a_temperature_keeps_a_missing_class_at_0(tmp_path: Path) -> None:
    """With noise for dev, the temperature of a support-vector machine is at its upper bound."""
    train, noise = utterances(60, 0, classes=(0, 1, 3)), utterances(40, 1, states=())
    noise.classes[:] = np.random.default_rng(0).choice([0, 1, 3], 40)
    choice, model = fitted(
        tmp_path, classifier(), train, noise, method=Method.linear_svm, inverse_regularisation=[10.0]
    )
    assert choice.temperature > 1
    assert answers(model, noise)[:, 2].max() == 0.0


def test_dev_chooses_the_value_of_c_with_the_highest_ua_and_among_equals_the_lowest_loss(tmp_path: Path) -> None:
    train, dev = utterances(60, 0), utterances(50, 1)
    strengths = [10.0, 1e-3, 1e-5, 1e-1]  # in any order
    choice, _ = fitted(tmp_path, classifier(), train, dev, inverse_regularisation=strengths)
    table = pd.read_csv(tmp_path / "probe.csv")
    assert table["C"].tolist() == sorted(strengths)
    scaler, losses = StandardScaler().fit(train.side_by_side()), []
    for strength, ua in zip(table["C"], table["dev_ua"], strict=True):
        by_hand = LogisticRegression(C=strength, max_iter=10_000, tol=1e-8)
        by_hand.fit(scaler.transform(train.side_by_side()), train.classes, sample_weight=balanced(train))
        probabilities = by_hand.predict_proba(scaler.transform(dev.side_by_side()))
        assert ua == pytest.approx(balanced_accuracy_score(dev.classes, probabilities.argmax(axis=1)))
        losses.append(-np.log(probabilities[np.arange(len(dev)), dev.classes]).mean())
    assert table["dev_loss"].to_numpy() == pytest.approx(np.array(losses), abs=5e-3)
    best = table.sort_values(["dev_ua", "dev_loss"], ascending=[False, True]).iloc[0]
    assert (choice.inverse_regularisation, choice.dev_ua) == pytest.approx((best["C"], best["dev_ua"]))


@pytest.mark.parametrize("informative", range(STATES))
@pytest.mark.parametrize("pooling", ["mean", "statistics"])
def test_dev_chooses_the_layer_that_tells_the_classes_apart(tmp_path: Path, informative: int, pooling: str) -> None:
    width = WIDTH * (2 if pooling == "statistics" else 1)
    train, dev, test = (utterances(120, seed, width, states=[informative]) for seed in range(3))
    choice, model = fitted(tmp_path, classifier(layers="chosen", pooling=pooling), train, dev)
    assert choice.layers == informative
    assert model.head.layers == model.head_config.layers == informative
    assert model.head.output.weight.shape == (4, width)
    candidates = pd.read_csv(tmp_path / "probe.csv")
    assert len(candidates) == STATES * len(STRENGTHS)
    assert candidates.loc[candidates["dev_ua"].idxmax(), "layers"] == informative
    own = train.features[:, informative].double().numpy()
    scaler = StandardScaler().fit(own)
    by_hand = LogisticRegression(C=choice.inverse_regularisation, max_iter=10_000, tol=1e-8)
    by_hand.fit(scaler.transform(own), train.classes, sample_weight=balanced(train))
    expected = by_hand.predict_proba(scaler.transform(test.features[:, informative].double().numpy()))
    assert answers(model, test) == pytest.approx(expected, abs=5e-3)
    model.fold_standardisation()
    assert answers(model, test) == pytest.approx(expected, abs=5e-3)


def test_a_probe_of_one_state_reads_that_state_alone(tmp_path: Path) -> None:
    train, dev = (utterances(120, seed, states=[1]) for seed in range(2))
    uas = {layers: fitted(tmp_path, classifier(layers=layers), train, dev)[0].dev_ua for layers in (0, 1, 2)}
    assert uas[1] > 0.6 > 0.4 > max(uas[0], uas[2])


def test_given_settings_are_fitted_without_a_dev_part(tmp_path: Path) -> None:
    train, test = utterances(90, 0), utterances(40, 1)
    given = Choice(layers=2, inverse_regularisation=0.5, temperature=1.0, dev_ua=0.7)
    choice, model = fitted(tmp_path, classifier(layers="chosen"), train, None, choice=given)
    assert choice == given
    assert not (tmp_path / "probe.csv").exists()
    own = train.features[:, 2].double().numpy()
    scaler = StandardScaler().fit(own)
    by_hand = LogisticRegression(C=0.5, max_iter=10_000, tol=1e-8)
    by_hand.fit(scaler.transform(own), train.classes, sample_weight=balanced(train))
    expected = by_hand.predict_proba(scaler.transform(test.features[:, 2].double().numpy()))
    assert answers(model, test) == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.parametrize("layers", ["all", "chosen", 1])
def test_the_files_of_a_probe_are_enough_to_compute_its_answers(
    tmp_path: Path, layers: int | str, standardise: bool
) -> None:
    train, dev, test = (utterances(60, seed, states=[1]) for seed in range(3))
    choice, model = fitted(tmp_path, classifier(layers=layers, standardise=standardise), train, dev)
    settings = json.loads((tmp_path / "probe.json").read_text())
    assert settings == {"method": "logistic_regression", **choice._asdict(), "classes": CLASSES}
    stored = load_file(tmp_path / "probe.safetensors")
    assert set(stored) == {"weight", "bias"} | ({"mean", "deviation"} if standardise else set())
    read = slice(None) if layers == "all" else slice(1, 2)
    features = test.features[:, read].numpy()
    if standardise:
        assert stored["mean"] == pytest.approx(train.features[:, read].numpy().mean(axis=0), abs=1e-4)
        features = (features - stored["mean"]) / stored["deviation"]
    logits = features.reshape(len(test), -1) @ stored["weight"].T + stored["bias"]
    assert softmax(logits) == pytest.approx(answers(model, test), abs=1e-5)


def test_a_probe_that_does_not_converge_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("melt_ser.training.probe.MOST_STEPS", 1)
    fitted(tmp_path, classifier(), utterances(60, 0), utterances(60, 1), inverse_regularisation=[1.0])
    said = capsys.readouterr().err
    assert "note: with C=1 the probe was stopped after 1 steps, before its best fit." in said


def test_a_dev_part_of_one_utterance_is_enough(tmp_path: Path) -> None:
    choice, _ = fitted(tmp_path, classifier(layers="chosen"), utterances(60, 0), Features(*one_utterance()))
    assert choice.dev_ua in (0.0, 1.0)


def one_utterance() -> tuple[np.ndarray, np.ndarray]:
    part = utterances(8, 5)
    return part.features.numpy()[:1], part.classes[:1]
