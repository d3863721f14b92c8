"""Runs and backbones as encoders of mteb, and corpora as its tasks, evaluated by mteb itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import melt_ser
from melt_ser.core.errors import SetupError
from small_runs import SMALL, corpus

ARCHITECTURE = {
    key: int(value)
    for key, _, value in (entry.removeprefix("+backbone.architecture.").partition("=") for entry in SMALL)
    if value.isdigit() and not key.startswith("trainer")
}


@pytest.fixture(scope="module")
def mteb() -> Any:
    return pytest.importorskip("mteb", reason="mteb is not installed: pip install 'melt-ser[mteb]'")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus(tmp_path_factory.mktemp("corpus") / "c", each=15)


@pytest.fixture(scope="module")
def run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> melt_ser.Run:
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MELT_SER_CACHE", str(folder / "cache"))
        return melt_ser.train(
            {"backbone": "hubert_tiny_random", "backbone.architecture": ARCHITECTURE, "head.hidden_sizes": [8]},
            dataset={"table": str(root / "table.csv"), "folds": 2, "fold": "all"},
            trainer={"epochs": 1, "batch_size": 8, "refit": False},
            augment="nothing",
            device="cpu",
            out=folder,
        )


def clips(root: Path, number: int) -> list[dict[str, Any]]:
    """Return clips as mteb gives them to an encoder."""
    return waves(*(soundfile.read(path, dtype="float32")[0] for path in sorted((root / "wav").iterdir())[:number]))


def waves(*arrays: np.ndarray) -> list[dict[str, Any]]:
    return [{"array": array, "sampling_rate": 16000} for array in arrays]


def test_the_embedding_of_a_run_is_the_input_of_its_last_layer(mteb: Any, run: melt_ser.Run, root: Path) -> None:
    from melt_ser.bridges.mteb import encoder_of_run

    encoder = encoder_of_run(run.folder, fold=1, device="cpu")
    batch = clips(root, 5)
    embeddings = encoder.encode([{"audio": batch[:3]}, {"audio": batch[3:]}])
    assert embeddings.shape == (5, 8) and embeddings.dtype == np.float32
    layer = encoder.model.head.output
    logits = embeddings @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    model = melt_ser.load_model(run, fold=1, device="cpu")
    for clip, answer in zip(batch, probabilities, strict=True):
        table = model.predict(clip["array"], clip["sampling_rate"])
        np.testing.assert_allclose(table[model.classes].to_numpy()[0], answer, atol=1e-5)


def test_an_embedding_depends_neither_on_the_batch_nor_on_channels_and_rate(mteb: Any, root: Path) -> None:
    from melt_ser.bridges.mteb import encoder_of_backbone

    first, encoder = (
        encoder_of_backbone("hubert_tiny_random", device="cpu", architecture=ARCHITECTURE) for _ in range(2)
    )  # an encoder keeps what it has computed
    batch = clips(root, 4)
    together = first.encode([{"audio": [*batch, batch[0]]}])
    alone = encoder.encode([{"audio": [clip]} for clip in batch], batch_size=1)
    np.testing.assert_allclose(together, [*alone, alone[0]], atol=1e-5)
    stereo = {"array": np.stack([batch[0]["array"]] * 2), "sampling_rate": 16000}  # (channels, samples)
    np.testing.assert_allclose(encoder.encode([{"audio": [stereo]}])[0], together[0], atol=1e-5)


def test_a_long_clip_is_the_mean_of_its_parts_weighted_by_their_lengths(
    mteb: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from melt_ser.bridges import mteb as bridge

    encoder = bridge.encoder_of_backbone("hubert_tiny_random", device="cpu", architecture=ARCHITECTURE)
    whole = np.tile(clips(root, 1)[0]["array"], 3)[:10000]
    monkeypatch.setattr(bridge, "PART", 6000)
    first, second, together = encoder.encode([{"audio": waves(whole[:6000], whole[6000:], whole)}])
    np.testing.assert_allclose(together, 0.6 * first + 0.4 * second, atol=1e-5)


def test_mteb_evaluates_a_run_by_the_protocol_of_its_emotion_task(mteb: Any, run: melt_ser.Run, root: Path) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold

    from melt_ser.bridges.mteb import encoder_of_run
    from melt_ser.bridges.mteb_tasks import RandomFolds

    labelled = melt_ser.load_corpus("csv", table=str(root / "table.csv"))
    task, theirs = RandomFolds(labelled), mteb.get_task("CREMA_D")
    for name in ("is_cross_validation", "n_splits", "samples_per_label", "train_split", "seed"):
        assert getattr(task, name) == getattr(theirs, name)
    assert task.evaluator_model.get_params() == theirs.evaluator_model.get_params()
    assert task.metadata.main_score == theirs.metadata.main_score == "accuracy"
    assert task.metadata.name == "csv_random_folds" and "share speakers" in task.metadata.description

    encoder = encoder_of_run(run.folder, fold=1, device="cpu")
    results = [mteb.evaluate(encoder, tasks=task, cache=None, show_progress_bar=False) for _ in range(2)]
    first, again = (result.task_results[0].get_score() for result in results)
    assert first == again

    table = labelled.table
    audio = [soundfile.read(root / name, dtype="float32")[0] for name in table["audio"]]
    features = encoder.encode([{"audio": waves(*audio)}])
    classes = table["class"].map({name: number for number, name in enumerate(labelled.classes)}).to_numpy()
    accuracies, order = [], None
    for train, test in KFold(5, shuffle=True, random_state=42).split(classes):
        order = list(range(len(train))) if order is None else order  # shuffled again and again, as mteb does
        np.random.RandomState(42).shuffle(order)
        chosen = [row for label in set(classes) for row in [row for row in order if classes[train][row] == label][:8]]
        chosen.sort(key=order.index)
        fitted = LogisticRegression(max_iter=100, random_state=42).fit(features[train][chosen], classes[train][chosen])
        accuracies.append(np.mean(fitted.predict(features[test]) == classes[test]))
    assert first == pytest.approx(np.mean(accuracies), abs=1e-6)


def test_unseen_speakers_has_the_folds_of_the_corpus(mteb: Any, run: melt_ser.Run, root: Path) -> None:
    from melt_ser.bridges.mteb import encoder_of_run
    from melt_ser.bridges.mteb_tasks import UnseenSpeakers

    labelled = melt_ser.load_corpus("csv", table=str(root / "table.csv"), folds=2)
    task = UnseenSpeakers(labelled)
    encoder = encoder_of_run(run.folder, fold=2, device="cpu")
    result = mteb.evaluate(encoder, tasks=task, cache=None, show_progress_bar=False).task_results[0]
    assert [score["hf_subset"] for score in result.scores["test"]] == ["fold1", "fold2"]
    assert all(len(score["scores_per_experiment"]) == 10 for score in result.scores["test"])


def test_mteb_keeps_results_by_the_weights(mteb: Any, run: melt_ser.Run) -> None:
    from melt_ser.bridges.mteb import encoder_of_backbone, encoder_of_run

    first, second = (encoder_of_run(run.folder, fold=fold, device="cpu").mteb_model_meta for fold in (1, 2))
    name = "-".join(run.folder.parts[-3:])
    assert first.name == f"melt_ser/{name}-fold1" and first.embed_dim == 8 and first.modalities == ["audio"]
    assert first.revision != second.revision
    same = [encoder_of_backbone("hubert_tiny_random", device="cpu", architecture=ARCHITECTURE) for _ in range(2)]
    assert len({encoder.mteb_model_meta.revision for encoder in same}) == 1
    wide = encoder_of_backbone("hubert_tiny_random", layers="all", device="cpu", architecture=ARCHITECTURE)
    assert wide.mteb_model_meta.name == "melt_ser/hubert_tiny_random-all" and wide.mteb_model_meta.embed_dim == 64


def test_mistakes_are_one_sentence(mteb: Any, run: melt_ser.Run) -> None:
    from melt_ser.bridges.mteb import encoder_of_backbone, encoder_of_run

    with pytest.raises(SetupError, match=r"has 2 models; choose one with fold=<number>\.$"):
        encoder_of_run(run.folder, device="cpu")
    with pytest.raises(SetupError, match=r"did you mean 'wavlm'\?"):
        encoder_of_backbone("wavml")
    with pytest.raises(SetupError, match="embeds audio alone"):
        encoder_of_run(run.folder, fold=1, device="cpu").encode([{"text": ["a"]}])


@pytest.mark.parametrize("module", ["mteb", "mteb_tasks"])
def test_without_mteb_the_sentence_names_the_extra(module: str) -> None:
    code = f"import sys; sys.modules['mteb'] = None; import melt_ser.bridges.{module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "SetupError: melt_ser.bridges needs mteb 2: pip install 'melt-ser[mteb]'." in done.stderr
