"""A CUDA GPU gives the results of a CPU, and the same results again; skipped on a machine without one."""

from __future__ import annotations

import copy
import io
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from melt_ser.config import Kernels, ScorePrecision, TrainerConfig
from melt_ser.core.errors import SetupError
from melt_ser.data.ladder import Ladder, Shape
from melt_ser.data.stage import Stage
from melt_ser.evaluation.inference import exact_products, predict_probabilities
from melt_ser.models.kernels.positions import convolve_by_blocks
from melt_ser.predict import main as predict
from melt_ser.training.device import make_accelerator
from melt_ser.training.fit import StepInput
from melt_ser.training.largest_step import SECONDS, TrialStep, largest_that_fits
from melt_ser.training.recorded import RecordedGradients
from small_models import (
    FAMILIES,
    KINDS,
    RANDOM,
    assert_same_gradients,
    batch_of,
    gradients,
    model_with_gradients,
    small_backbone,
    small_classifier,
    step_input,
)
from small_runs import CLASSES, FROZEN_RUNS, corpus, outcome, predictions, tones, train
from stopped_runs import stopped_after_checkpoint

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")]
every_kind = pytest.mark.parametrize("kind", KINDS)
LENGTHS = (16000, 400, 4321, 12000, 719)
ON_GPU = ("device=cuda", "trainer.epochs=2")
LARGE = ("++backbone.architecture.hidden_size=2048", "++backbone.architecture.intermediate_size=4096")
# Each setting that has code of its own, at least once.
SETTINGS = [
    ("trainer.precision=fp32",),
    ("trainer.precision=fp16", "augment=light", "trainer.gradient_accumulation=2"),
    ("trainer.freeze=nothing", "augment=masking", "trainer.batch_seconds=1", "trainer.label_smoothing=0.1"),
    ("trainer.freeze=1", "head=attentive_statistics", "trainer.schedule=cosine"),
    ("trainer.gradient_checkpointing=true", "head=weighted", "trainer.optimiser=adam"),
    ("backbone.layer_drop=0.5", "head=mlp", "trainer.balance=sampling", "trainer.workers=2"),
    ("trainer.cuda_graphs=true",),
    ("trainer.cuda_graphs=true", "trainer.step_seconds=1"),
    ("trainer=frozen", "head=attention"),
    ("trainer=paper", "head=paper"),
]


def moved_to_gpu(batch: StepInput) -> StepInput:
    return StepInput(*(None if part is None else part.cuda() for part in batch))


@every_kind
def test_frames_and_gradients_on_a_gpu_are_those_of_a_cpu(kind: str) -> None:
    make_accelerator("cuda")  # allows only deterministic kernels
    backbone = small_backbone(kind)
    batch = batch_of(*LENGTHS)
    expected = backbone(*batch)
    wanted = gradients(backbone.model, expected.last_hidden_state[expected.frame_mask].square().sum())
    on_gpu = copy.deepcopy(backbone).cuda()
    with exact_products():
        output = on_gpu(*(tensor.cuda() for tensor in batch))
        actual = gradients(on_gpu.model, output.last_hidden_state[output.frame_mask].square().sum())
    difference = output.last_hidden_state.cpu() - expected.last_hidden_state
    assert difference[expected.frame_mask].abs().max() < 1e-4
    assert_same_gradients({name: gradient.cpu() for name, gradient in actual.items()}, wanted, 1e-3)


@pytest.mark.parametrize("frames", [1, 185, 400])
def test_positions_by_blocks_are_those_of_a_cpus_convolution(frames: int) -> None:
    features, weight = torch.randn(2, 12, frames, requires_grad=True), torch.randn(12, 4, 128, requires_grad=True)
    expected = torch.nn.functional.conv1d(features, weight, padding=64, groups=3)
    with exact_products():
        actual = convolve_by_blocks(features.cuda(), weight.cuda(), 64, groups=3)
        direction = torch.randn(actual.shape)
        ours = torch.autograd.grad(actual, (features, weight), direction.cuda())
    assert (actual.cpu() - expected).abs().max() < 1e-4  # of values around 20
    for own, theirs in zip(ours, torch.autograd.grad(expected, (features, weight), direction), strict=True):
        assert (own - theirs).abs().max() < 1e-3


@every_kind
@torch.no_grad()
def test_both_kernels_give_the_same_logits_on_a_gpu(kind: str) -> None:
    clips = [tensor.cuda() for tensor in batch_of(*LENGTHS)]
    with exact_products():
        fast, theirs = (small_classifier(kind, kernels=kernels).cuda()(*clips) for kernels in Kernels)
    assert (fast - theirs).abs().max() < 1e-4


@every_kind
@torch.no_grad()
def test_logits_on_a_gpu_do_not_depend_on_padding_and_neighbours(kind: str) -> None:
    classifier = small_classifier(kind, layers="weighted").cuda()
    with exact_products():
        together = classifier(*(tensor.cuda() for tensor in batch_of(*LENGTHS)))
        alone = torch.cat([classifier(*(tensor.cuda() for tensor in batch_of(length))) for length in LENGTHS])
    assert (together - alone).abs().max() < 1e-5


@every_kind
@torch.no_grad()
def test_features_of_a_frozen_stage_on_a_gpu_are_those_of_a_cpu(kind: str) -> None:
    classifier, batch = small_classifier(kind), batch_of(*LENGTHS)
    on_gpu = copy.deepcopy(classifier).cuda()
    for freeze in ("convolution", 1, "everything"):
        classifier.backbone.freeze(freeze)
        for stage in (Stage.convolution, Stage.layers, Stage.states, Stage.pooled):
            if (stage is Stage.layers) > (freeze == 1):
                continue
            expected, counts = classifier.compute_stage(stage, *batch)
            on_gpu.backbone.freeze(freeze)
            with exact_products():
                actual, same_counts = on_gpu.compute_stage(stage, *(tensor.cuda() for tensor in batch))
            assert same_counts.tolist() == counts.tolist()
            for own, theirs, count in zip(actual.cpu(), expected, counts, strict=True):
                assert (own - theirs)[:count].abs().max() < 1e-4


@pytest.mark.parametrize("precision", ["bf16", "fp16", "auto"])
def test_a_gpu_trains_in_mixed_precision(precision: str, tmp_path: Path) -> None:
    _, result = train(tmp_path / "runs", corpus(tmp_path / "c"), "device=cuda", f"trainer.precision={precision}")
    assert result["run"]["precision"] == ("bf16" if precision == "auto" else precision)


@pytest.mark.filterwarnings("error:.*determinis")
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings[0].partition("=")[2])
def test_each_setting_trains_and_repeats_itself_to_the_bit(
    settings: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = corpus(tmp_path / "c")
    outcomes = []
    for number in range(2):
        monkeypatch.setenv("MELT_SER_CACHE", str(tmp_path / f"cache{number}"))
        folder, _ = train(tmp_path / f"runs{number}", root, *ON_GPU, *settings)
        outcomes.append(outcome(folder))
    assert outcomes[0] == outcomes[1]


@pytest.mark.filterwarnings("error:.*determinis")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_repeats_itself_and_goes_on_after_a_stop(family: str, precision: str, tmp_path: Path) -> None:
    root = corpus(tmp_path / "c")
    settings = (*ON_GPU, f"backbone={RANDOM[family]}", f"trainer.precision={precision}", "trainer.batch_size=4")
    whole, _ = train(tmp_path / "whole", root, *settings)
    with stopped_after_checkpoint(lambda *_: True):
        train(tmp_path / "stopped", root, *settings)
    assert list((tmp_path / "stopped").glob("*/*/*/checkpoints/epoch0001"))
    resumed, _ = train(tmp_path / "stopped", root, *settings)
    assert outcome(resumed) == outcome(whole)


@pytest.mark.parametrize(("kind", "settings"), FROZEN_RUNS)
def test_results_with_and_without_cached_features_agree(
    kind: str, settings: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = corpus(tmp_path / "c")
    monkeypatch.setenv("MELT_SER_CACHE", str(tmp_path / "cache"))
    settings = (*ON_GPU, "trainer.precision=fp32", *settings)
    kept, _ = train(tmp_path / "with", root, *settings)
    without, _ = train(tmp_path / "without", root, *settings, "cache.features=false")
    # Training computes its own features in TF32; the cached ones are in float32.
    assert np.abs(predictions(kept) - predictions(without)).to_numpy().max() < 5e-3


@every_kind
@pytest.mark.parametrize("freeze", ["convolution", 1])
def test_graphs_give_the_loss_and_the_gradients_of_each_batch(kind: str, freeze: str | int) -> None:
    make_accelerator("cuda")
    model, stage, learning, gradients = model_with_gradients(kind, freeze)
    model.cuda()
    recorded = RecordedGradients(gradients, Ladder((Shape(4, 30), Shape(4, 60))), learning)
    for lengths in ((16000, 400, 4321), (9000, 5000), (700, 800, 900, 8000), (19000,)):
        batch = moved_to_gpu(step_input(copy.deepcopy(model).cpu(), stage, *lengths))
        results = []
        with exact_products():
            for compute in (gradients, recorded):
                for weight in learning:
                    torch.nn.init.zeros_(weight.grad)
                loss = compute(batch).item()
                results.append((loss, [weight.grad.clone() for weight in learning]))
        (loss, expected), (same_loss, actual) = results
        assert recorded.works and same_loss == pytest.approx(loss, rel=1e-4)
        largest = max(gradient.abs().max().item() for gradient in expected)
        for own, theirs in zip(actual, expected, strict=True):
            assert (own - theirs).abs().max() < 1e-4 * max(1.0, largest)


def test_graphs_draw_a_new_dropout_each_time() -> None:
    """A graph that repeats the mask of its recording would train on a part of the units alone."""
    make_accelerator("cuda")
    model, stage, learning, gradients = model_with_gradients("hubert-base", "convolution")
    model.cuda().train()
    recorded = RecordedGradients(gradients, Ladder((Shape(3, 60),)), learning)
    batch = moved_to_gpu(step_input(copy.deepcopy(model).cpu(), stage, 16000, 400, 4321))
    losses = [recorded(batch).item() for _ in range(8)]
    assert recorded.works and len(set(losses)) == 8


def test_a_training_goes_on_with_the_same_draws_if_no_graph_can_be_recorded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_accelerator("cuda")
    model, stage, learning, gradients = model_with_gradients("hubert-base", "convolution")
    model.cuda().train()
    batch = moved_to_gpu(step_input(copy.deepcopy(model).cpu(), stage, 16000, 400, 4321))
    torch.manual_seed(0)
    expected = [gradients(batch).item() for _ in range(3)]

    def waiting(batch: StepInput) -> torch.Tensor:
        loss = gradients(batch)
        assert loss.item() > 0  # no graph can wait for a number
        return loss

    torch.manual_seed(0)
    recorded = RecordedGradients(waiting, Ladder((Shape(3, 60),)), learning)
    assert [recorded(batch).item() for _ in range(3)] == expected
    assert not recorded.works and "training goes on without trainer.cuda_graphs" in capsys.readouterr().err


def test_a_graph_is_recorded_while_another_thread_places_batches_in_page_locked_memory() -> None:
    make_accelerator("cuda")
    model, stage, learning, gradients = model_with_gradients("hubert-base", "convolution")
    model.cuda().train()
    recorded = RecordedGradients(gradients, Ladder(tuple(Shape(3, frames) for frames in range(49, 59))), learning)
    stopped, sizes = threading.Event(), itertools.count(2**12, 2**12)  # each larger, so that memory is allocated anew

    def load() -> int:
        return sum(torch.empty(next(sizes)).pin_memory().is_pinned() for _ in iter(stopped.is_set, True))

    with ThreadPoolExecutor(max_workers=1) as thread:
        placed = thread.submit(load)
        for seconds in np.linspace(1.0, 1.18, 10):
            lengths = (round(seconds * 16000), 400, 4321)
            recorded(moved_to_gpu(step_input(copy.deepcopy(model).cpu(), stage, *lengths)))
        stopped.set()
        assert placed.result() > 0  # raises what the thread met
    assert recorded.works and len(recorded.graphs) == 10


@pytest.mark.parametrize("family", ["wav2vec2", "wavlm"])
def test_a_training_with_graphs_goes_on_after_a_stop(family: str, tmp_path: Path) -> None:
    root = corpus(tmp_path / "c")
    settings = (*ON_GPU, f"backbone={RANDOM[family]}", "trainer.freeze=convolution", "trainer.cuda_graphs=true")
    whole, _ = train(tmp_path / "whole", root, *settings)
    with stopped_after_checkpoint(lambda *_: True):
        train(tmp_path / "stopped", root, *settings)
    resumed, _ = train(tmp_path / "stopped", root, *settings)
    assert outcome(resumed) == outcome(whole)


def test_a_saved_model_gives_the_same_answers_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = corpus(tmp_path / "c")
    folder, _ = train(tmp_path / "runs", root, *ON_GPU)
    tables = []
    for device in ("cuda", "cpu"):
        capsys.readouterr()
        assert predict([str(folder), str(root / "wav"), "--device", device, "--format", "csv"]) == 0
        tables.append(pd.read_csv(io.StringIO(capsys.readouterr().out))[list(CLASSES)])
    assert np.abs(tables[0] - tables[1]).to_numpy().max() < 1e-5


def test_a_model_too_large_for_the_gpu_is_an_error_with_the_setting_to_lower(tmp_path: Path) -> None:
    torch.cuda.empty_cache()
    root, reserved = corpus(tmp_path / "c"), torch.cuda.memory_reserved()
    torch.cuda.set_per_process_memory_fraction((reserved + 40 * 2**20) / torch.cuda.mem_get_info()[1])
    try:
        with pytest.raises(SetupError, match=r"Out of memory: set trainer\.batch_seconds"):
            train(tmp_path / "runs", root, *ON_GPU, "trainer.crop_seconds=20", "trainer.pad_to_crop=true")
        torch.cuda.empty_cache()
        with pytest.raises(SetupError, match="Out of memory: choose a smaller backbone"):
            train(tmp_path / "large", root, *ON_GPU, *LARGE)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_auto_finds_the_most_seconds_that_fit_and_leaves_no_memory_behind(tmp_path: Path) -> None:
    clips, model = tones(corpus(tmp_path / "c")), small_classifier("hubert-base").cuda()
    trial = TrialStep(TrainerConfig(), model, Stage.nothing, clips, make_accelerator("cuda"))
    assert trial.fits(SECONDS[0])  # libraries allocate at their first call
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    limit = torch.cuda.memory_reserved() + 300 * 2**20
    torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.mem_get_info()[1])
    try:
        found = largest_that_fits(trial.fits, SECONDS)
        assert found is not None and SECONDS[0] < found < SECONDS[-1]
        assert trial.fits(found) and not trial.fits(SECONDS[SECONDS.index(found) + 1])
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert torch.cuda.memory_allocated() == before


def test_a_run_keeps_the_seconds_that_auto_finds_on_a_gpu(tmp_path: Path) -> None:
    root = corpus(tmp_path / "c")
    folder, result = train(tmp_path / "runs", root, *ON_GPU, "trainer.step_seconds=auto")
    assert result["train"]["step_seconds"] == result["config"]["trainer"]["step_seconds"] == SECONDS[0]
    by_hand, _ = train(tmp_path / "runs", root, *ON_GPU, f"trainer.step_seconds={SECONDS[0]}")
    assert predictions(by_hand).equals(predictions(folder))  # the search has drawn nothing


@pytest.mark.parametrize("precision", [ScorePrecision.tf32, ScorePrecision.bf16])
@pytest.mark.parametrize("family", FAMILIES)
def test_answers_in_another_precision_are_almost_those_in_float32(
    family: str, precision: ScorePrecision, tmp_path: Path
) -> None:
    model, clips = small_classifier(family).cuda(), tones(corpus(tmp_path / "c", speakers=1))
    exact, other = (
        predict_probabilities(model, clips, 4, make_accelerator("cuda"), precision=each)
        for each in (ScorePrecision.fp32, precision)
    )
    assert np.abs(exact - other).max() < 0.05


def test_the_name_of_the_gpu_is_in_the_result(tmp_path: Path) -> None:
    _, result = train(tmp_path / "runs", corpus(tmp_path / "c"), "device=auto")
    assert result["run"]["device"].startswith("cuda")
    assert torch.cuda.get_device_name() in result["run"]["device"]
