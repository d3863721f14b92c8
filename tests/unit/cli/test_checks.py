"""A setting that does not fit the method of training, or a head, stops the run with one sentence and the fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from melt_ser.cli.checks import check
from melt_ser.cli.compose import load_config
from melt_ser.cli.help import groups_of
from melt_ser.config import Config, Method
from melt_ser.core.errors import SetupError
from melt_ser.runs.identity import identity

LR = "trainer.method=logistic_regression"
LAYERS = "head.layers is last, weighted, all, chosen or a number from 0 up, not"
REFUSED = {
    "trainer=probe trainer.freeze=convolution": (
        f"{LR} needs a frozen backbone; set trainer.freeze=everything, not convolution."
    ),
    "trainer=probe head=attention": (
        f"{LR} cannot learn head.pooling=attention; set mean or statistics, or head=probe."
    ),
    "trainer=probe head=weighted": (
        f"{LR} cannot learn head.layers=weighted; set last, all, chosen or a number, or head=probe."
    ),
    "trainer=probe experiment=superb_er": (
        f"{LR} cannot learn head.layers=weighted; set last, all, chosen or a number, or head=probe."
    ),
    "trainer=probe trainer.method=linear_svm head=mlp": (
        "trainer.method=linear_svm fits one linear layer; set head.hidden_sizes=[] and head.dropout=0, or head=probe."
    ),
    "trainer=probe head.dropout=0.2": (
        f"{LR} fits one linear layer; set head.hidden_sizes=[] and head.dropout=0, or head=probe."
    ),
    "trainer=probe trainer.crop_seconds=5": (
        f"{LR} reads whole clips; set trainer.crop_seconds=null, or trainer=probe."
    ),
    "trainer=probe augment=light": (
        f"{LR} reads each clip once, so it cannot learn from changed clips; set augment=nothing."
    ),
    "trainer=probe augment=masking": (
        f"{LR} reads each clip once, so it cannot learn from changed clips; set augment=nothing."
    ),
    "trainer=probe trainer.epochs=3": f"trainer.epochs has no effect with {LR}, which takes no steps; leave it out.",
    "trainer=frozen trainer.method=linear_svm": (
        "trainer.epochs has no effect with trainer.method=linear_svm, which takes no steps; leave it out, or set "
        "trainer=probe."
    ),
    "trainer=probe trainer.gradient_checkpointing=true": (
        f"trainer.gradient_checkpointing has no effect with {LR}, which takes no steps; leave it out."
    ),
    "trainer=probe trainer.cuda_graphs=true": (
        f"trainer.cuda_graphs has no effect with {LR}, which takes no steps; leave it out."
    ),
    "trainer=probe trainer.precision=bf16": (
        f"trainer.precision=bf16 has no effect with {LR}, which computes in fp32; leave it out."
    ),
    "device=gpu": "device is auto, cpu, cuda or cuda:<number>, not 'gpu'.",
    "device=cuda:": "device is auto, cpu, cuda or cuda:<number>, not 'cuda:'.",
    "device=cuda1": "device is auto, cpu, cuda or cuda:<number>, not 'cuda1'.",
    "trainer=frozen head=linear backbone.layer_drop=0.1": (
        "backbone.layer_drop has no effect with trainer.freeze=everything, which trains no layer; leave it out."
    ),
    "backbone=wavlm backbone.pad_to_window=true": (
        "backbone.pad_to_window is for backbone.family=whisper and has no effect with wavlm; leave it out."
    ),
    "backbone.checkpoint=": "backbone.checkpoint is empty; give a hub id or a folder, or null.",
    "backbone.text=": "backbone.text is empty; give a hub id or a folder, or null.",
    "trainer.workers=-1": "trainer.workers is a number from 0 up or null, not -1.",
    "eval.corpora=[]": ("eval.corpora is empty; name one or more corpora, or give null for the training corpus alone."),
    "objective.focal_gamma=3": (
        "objective.focal_gamma has no effect with objective.class_loss=cross_entropy; leave it out, or set "
        "objective=focal."
    ),
    "objective=focal objective.adjustment=2": (
        "objective.adjustment has no effect with objective.class_loss=focal; leave it out, or set "
        "objective=logit_adjusted or vector_scaling."
    ),
    "objective=focal objective.focal_gamma=-1": "objective.focal_gamma is a number from 0 up, not -1.0.",
    "objective.attribute_weight=-1": "objective.attribute_weight is a number from 0 up, not -1.0.",
    "objective=learned_weights objective.class_weight=2": (
        "objective.class_weight has no effect with objective.learned_weights=true, which learns it; leave it out."
    ),
    "trainer=probe trainer.inverse_regularisation=[]": (
        "trainer.inverse_regularisation is empty; give at least one value of C."
    ),
    "trainer=probe trainer.inverse_regularisation=[1,0]": (
        "trainer.inverse_regularisation has numbers above 0, not [1.0, 0.0]."
    ),
    "trainer=probe trainer.inverse_regularisation=[nan]": (
        "trainer.inverse_regularisation has numbers above 0, not [nan]."
    ),
    "dataset.maximum_seconds=inf": "dataset.maximum_seconds is a finite number, not inf.",
    "cache.max_gib=inf": "cache.max_gib is a number from 0 up, not inf.",
    "trainer=probe trainer.inverse_regularisation=[inf]": (
        "trainer.inverse_regularisation has numbers above 0, not [inf]."
    ),
    "trainer=frozen trainer.inverse_regularisation=[1]": (
        "trainer.inverse_regularisation is for trainer=probe; leave it out."
    ),
    "trainer.average=1": "trainer.average is at least 0 and below 1, not 1.0.",
    "trainer=probe trainer.average=0.9": (
        f"trainer.average has no effect with {LR}, which takes no steps; leave it out."
    ),
    "trainer.layer_decay=0": "trainer.layer_decay is above 0 and at most 1, not 0.0.",
    "trainer.layer_decay=1.1": "trainer.layer_decay is above 0 and at most 1, not 1.1.",
    "trainer=frozen trainer.layer_decay=0.9": (
        "trainer.layer_decay has no effect with trainer.freeze=everything, which trains no layer; leave it out."
    ),
    "trainer=probe trainer.layer_decay=0.9": (
        f"trainer.layer_decay has no effect with {LR}, which takes no steps; leave it out."
    ),
    "trainer=lora trainer.lora_rank=-1": "trainer.lora_rank is a number from 0 up, not -1.",
    "trainer=lora trainer.lora_alpha=0": "trainer.lora_alpha is a number above 0, not 0.0.",
    "trainer=lora trainer.lora_dropout=1": "trainer.lora_dropout is at least 0 and below 1, not 1.0.",
    "trainer.lora_targets=[q_proj]": (
        "trainer.lora_targets has no effect with trainer.lora_rank=0, which makes no adapters; leave it out, or set "
        "trainer=lora."
    ),
    "trainer.lora_rank=8": (
        "With trainer.lora_rank=8 only adapters learn in the backbone, so trainer.freeze is the number of the lowest "
        "layers without adapters, such as 0, not convolution."
    ),
    "trainer=probe trainer.lora_rank=8": (
        f"trainer.lora_rank has no effect with {LR}, which takes no steps; leave it out."
    ),
    "trainer.step_seconds=0": "trainer.step_seconds is a whole number from 1 up, auto or null, not '0'.",
    "trainer.step_seconds=most": "trainer.step_seconds is a whole number from 1 up, auto or null, not 'most'.",
    "trainer.step_seconds=60 trainer.gradient_accumulation=2": (
        "trainer.gradient_accumulation joins batches of a number of clips; with trainer.step_seconds, leave it out and "
        "raise the seconds."
    ),
    "trainer.step_seconds=auto trainer.batch_seconds=60": (
        "trainer.step_seconds=auto is the most that is computed at once; leave trainer.batch_seconds out, or give "
        "step_seconds as a number."
    ),
    "trainer=probe trainer.step_seconds=60": (
        f"trainer.step_seconds has no effect with {LR}, which takes no steps; leave it out."
    ),
    "dataset.root=": "dataset.root is empty; give a folder (the current one is '.'), or leave it out.",
    "eval.roots.emodb=": "eval.roots.emodb is empty; give a folder (the current one is '.'), or leave it out.",
    "out=": "out is empty; give a folder (the current one is '.'), or leave it out.",
    "trainer.refit=cut": "trainer.refit is false, true or cut_dev, not 'cut'.",
    "head.layers=chosen": "head.layers=chosen is for trainer=probe; give last, weighted, all or a number.",
    "head.layers=-1": f"{LAYERS} -1.",
    "head.layers=lst": f"{LAYERS} 'lst'.",
    "trainer=probe head.layers='3'": f"{LAYERS} '3'.",
    "head=attention head.standardise=true": (
        "head.standardise=true needs head.pooling=mean or statistics; the other poolings learn."
    ),
}


@pytest.mark.parametrize("typed", REFUSED)
def test_a_setting_that_does_not_fit_is_refused_with_the_fix(typed: str) -> None:
    with pytest.raises(SetupError) as caught:
        check(load_config(*typed.split()))
    assert str(caught.value) == REFUSED[typed]


@pytest.mark.parametrize(
    "typed",
    [
        "trainer=probe",
        "trainer=probe trainer.method=linear_svm trainer.refit=false",
        "trainer=probe head=linear head.layers=chosen",
        "trainer=probe head.layers=0 head.standardise=false",
        "trainer=probe experiment=superb_er head=probe",
        "trainer=probe trainer.balance=sampling trainer.precision=fp32 trainer.batch_size=1 trainer.workers=0",
        "trainer=frozen head=probe",
        "trainer.step_seconds=auto",
        "trainer.step_seconds=240 trainer.batch_seconds=60",
        "trainer=lora trainer.lora_targets=[q_proj,v_proj] trainer.freeze=-2 trainer.lora_alpha=4",
        "head.layers=2 head.pooling=statistics head.standardise=true",
        "backbone=whisper backbone.pad_to_window=true",
        "objective=vector_scaling objective.adjustment=2 objective.scaling=0",
    ],
)
def test_settings_that_fit_are_taken(typed: str) -> None:
    check(load_config(*typed.split()))


@pytest.mark.parametrize(
    ("typed", "head"),
    [
        ("trainer=probe", "probe"),
        ("trainer=probe head=linear", "linear"),
        ("head=linear trainer=probe", "linear"),
        ("trainer=probe experiment=emobox_intra", "mlp"),
        ("trainer=frozen head=linear", "linear"),
        ("trainer=frozen head=probe", "probe"),
    ],
)
def test_a_probe_brings_its_head_and_a_head_that_is_named_wins(typed: str, head: str) -> None:
    assert load_config(*typed.split()).head.name == head


def test_a_trainer_and_an_experiment_of_the_user_may_bring_the_head_of_a_probe(tmp_path: Path) -> None:
    for name, content in {
        "trainer/mine.yaml": "defaults: [probe]\nname: mine\nmethod: linear_svm\n",
        "trainer/plain.yaml": "name: plain\nmethod: linear_svm\nfreeze: everything\ncrop_seconds: null\n",
        "experiment/probes.yaml": "# @package _global_\ndefaults: [override /trainer: probe]\nhead: {layers: chosen}\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)

    def composed(*typed: str) -> Config:
        groups_of("config", list(typed), tmp_path)  # for --help
        return load_config(*typed, f"hydra.searchpath=['file://{tmp_path}']")

    mine, plain, probes = composed("trainer=mine"), composed("trainer=plain"), composed("experiment=probes")
    assert (mine.trainer.name, mine.trainer.method, mine.head.name) == ("mine", Method.linear_svm, "probe")
    assert (plain.trainer.method, plain.head.name) == (Method.linear_svm, "linear")
    assert (probes.trainer.name, probes.head.name, probes.head.layers) == ("probe", "probe", "chosen")
    for config in (mine, plain, probes):
        check(config)


def test_the_settings_of_a_probe_decide_its_run_id() -> None:
    typed = ("", "head.layers=1", "head.layers=chosen", "trainer.inverse_regularisation=[1.0]", "trainer.refit=false")
    typed += ("trainer.method=linear_svm", "head.standardise=false", "head.pooling=mean")
    assert len({identity(load_config("trainer=probe", *settings.split())) for settings in typed}) == len(typed)
