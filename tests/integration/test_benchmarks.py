"""The speed benchmarks rest on lengths like MELT's, a fair sample of an epoch, and counted operations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModel, PreTrainedModel

from checkpoints import model_config, save_checkpoint
from clips import draw_seconds, make_corpus
from common import FAMILIES, alternate, watched
from finetune import SCORED, Job, measure
from flops import position_flops, step_flops
from melt_ser.config import BackboneConfig, Kernels
from melt_ser.models.families import load_backbone
from sampling import EpochSample
from small_models import small_config

MELT = {0.05: 1.25, 0.1: 1.47, 0.25: 2.00, 0.5: 2.96, 0.75: 4.55, 0.9: 6.96, 0.95: 8.47, 0.99: 12.09}  # seconds


def test_benchmark_lengths_have_the_distribution_of_melt() -> None:
    seconds = draw_seconds(100_000, seed=0)
    assert seconds.mean() == pytest.approx(3.67, rel=0.01)
    for level, measured in MELT.items():
        assert np.quantile(seconds, level) == pytest.approx(measured, rel=0.07), level
    for batch, padded in ((8, 2.13), (32, 3.00)):
        batches = seconds.reshape(-1, batch)
        assert batches.max(axis=1).sum() * batch / seconds.sum() == pytest.approx(padded, rel=0.03)


def test_benchmark_lengths_come_from_a_given_file(tmp_path: Path) -> None:
    (tmp_path / "lengths.txt").write_text("1.5\n2.5\n")
    assert sorted(draw_seconds(2, seed=0, lengths=tmp_path / "lengths.txt")) == [1.5, 2.5]
    assert set(draw_seconds(50, seed=0, lengths=tmp_path / "lengths.txt")) == {1.5, 2.5}


@pytest.mark.parametrize("batch_size", [8, 32])
def test_a_benchmark_sample_of_batches_has_the_cost_of_an_epoch(batch_size: int) -> None:
    """A step takes a constant time, and a time that grows with the square of the length, as in attention."""
    seconds = draw_seconds(1600, seed=0)
    batches = [list(range(first, first + batch_size)) for first in range(0, 1600, batch_size)]

    def cost(rows: list[int]) -> float:
        longest = seconds[rows].max()
        return 0.5 + len(rows) * (0.1 * longest + 0.002 * longest**2)

    estimates = []
    for seed in range(40):
        sample = EpochSample(seconds, 6, seed)
        chosen = sample(batches)
        assert len(chosen) == 6 and all(rows in batches for rows in chosen)
        assert chosen == sample(batches), "the same batches each time that the epoch is asked for"
        estimates.append(sample.epoch_seconds(sum(map(cost, chosen))))
    truth = sum(map(cost, batches))
    assert np.mean(estimates) == pytest.approx(truth, rel=0.01)
    assert np.abs(np.array(estimates) / truth - 1).max() < 0.06


def test_benchmark_systems_alternate_and_every_second_round_runs_in_reverse() -> None:
    calls: list[str] = []
    systems = {name: lambda number, name=name: {"at": calls.append(f"{name}{number}")} for name in ("a", "b")}
    found = alternate(systems, 2)
    assert calls == ["a0", "b0", "b1", "a1"]
    assert [len(rounds) for rounds in found.values()] == [2, 2]


def test_a_benchmarks_own_work_is_not_counted_as_that_of_others() -> None:
    """A busy loop uses a whole core; only the other work of the machine may be counted."""
    figures = watched(lambda: {"sum": sum(range(3_000_000))})
    assert 0.0 <= figures["others_cpu"] <= 1.0


def plain_model(family: str, **architecture: object) -> PreTrainedModel:
    """Build transformers' own model of the family, in training mode, with its encoder frozen."""
    config = load_backbone(small_config(family, attention_dropout=0.1, **architecture), seed=0).model.config
    model = AutoModel.from_config(config, attn_implementation="eager").train()
    model.feature_extractor._freeze_parameters()
    return model


def counted(model: PreTrainedModel, samples: int, backward: bool) -> float:
    """Return the operations of one utterance and a head of three classes, by torch's counter."""
    audio, head = torch.randn(1, samples), torch.nn.Linear(model.config.hidden_size, 3)
    with FlopCounterMode(display=False) as counter:
        logits = head(model(audio).last_hidden_state.mean(dim=1))
        if backward:
            logits.sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("family", FAMILIES)
def test_benchmark_operations_are_those_that_torch_counts(family: str) -> None:
    """Use no groups, so that torch counts correctly, and training mode, so that attention is plain matrix products."""
    model = plain_model(family, num_conv_pos_embedding_groups=1)
    for backward in (False, True):
        expected = step_flops(model.config, 16_000, 3, backward)
        assert counted(model, 16_000, backward) == pytest.approx(expected, rel=1e-6)


def test_torch_counts_the_weight_gradient_of_a_grouped_convolution_once_for_each_group() -> None:
    """This is why flops.py counts by formula. If it fails, torch counts correctly: flops.py can use its counter."""
    model = plain_model("wav2vec2")
    frames = (16_000 - 80) // 320  # as the convolutions' strides and kernels give
    excess = (model.config.num_conv_pos_embedding_groups - 1) * position_flops(model.config, frames)
    expected = step_flops(model.config, 16_000, 3) + excess
    assert counted(model, 16_000, True) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_base_size_of_benchmarks_is_the_published_shape(family: str) -> None:
    config = model_config(family, "base")
    assert (config.hidden_size, config.num_hidden_layers, config.intermediate_size) == (768, 12, 3072)
    assert config.layerdrop == 0.0 and not config.apply_spec_augment and config.num_labels == 7


@pytest.mark.parametrize("family", [*FAMILIES, "whisper"])
def test_the_large_size_of_benchmarks_is_the_published_shape(family: str) -> None:
    config = model_config(family, "large")
    assert (config.hidden_size, config.num_hidden_layers, config.num_labels) == (1024, 24, 7)
    if family in ("wav2vec2", "hubert", "wavlm"):
        assert config.do_stable_layer_norm and config.feat_extract_norm == "layer"
        assert config.conv_bias == (family != "wavlm")


def test_benchmark_operations_of_whisper_are_those_that_torch_counts() -> None:
    """The counter knows no attention on a CPU, and it has the mel filters, which are computed beside the model."""
    shape = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}
    backbone = load_backbone(BackboneConfig("small", "whisper", architecture=shape, kernels=Kernels.transformers), 0)
    backbone.freeze("convolution")
    head, audio = torch.nn.Linear(32, 3), torch.zeros(1, 480_000)  # a whole window of 3,000 mel frames and 1,500 frames
    attention, mel_filters = 2 * 4.0 * 1500**2 * 32, 2.0 * 3000 * 201 * 80
    for backward in (False, True):
        with FlopCounterMode(display=False) as counter:
            logits = head(backbone(audio, torch.tensor([480_000])).last_hidden_state.mean(dim=1))
            if backward:
                logits.sum().backward()
        expected = step_flops(backbone.model.config, 480_000, 3, backward) - attention * (3 if backward else 1)
        assert counter.get_total_flops() == pytest.approx(expected + mel_filters, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("system", ["melt_ser", "trainer", "grouped"])
def test_each_benchmark_system_trains_on_the_chosen_batches(system: str, tmp_path: Path) -> None:
    """Train a small epoch with each, so that a change of `fit` or transformers fails here, not in a long benchmark."""
    checkpoint = save_checkpoint("wav2vec2", "tiny", tmp_path / "checkpoint", seed=0)
    make_corpus(tmp_path / "clips", np.linspace(0.3, 0.8, 12), SCORED, seed=0)
    job = Job(system, "wav2vec2", str(checkpoint), str(tmp_path / "clips"), 2, "cpu", "fp32", seed=0, batches=3)
    figures = measure(job)
    assert figures["clips_per_second"] > 0
    assert 0.4 < figures["sampled"] < 0.6, "three of six batches"
    assert figures["computed_per_second"] >= 1.0
