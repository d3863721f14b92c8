"""A model as an ONNX graph answers as torch does: every family and head, clips of any length, alone and in a batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml

from checkout import CHECKOUT
from melt_ser.audio.waveform import pad_together, prepare_waveform
from melt_ser.config import HeadConfig
from melt_ser.core.errors import SetupError
from melt_ser.evaluation.labelling import Model
from melt_ser.models import onnx_types
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.models.families import load_backbone
from melt_ser.models.onnx_graph import output_names, write_onnx
from melt_ser.models.onnx_types import convert, has_data_beside, is_of_encoder
from melt_ser.models.outputs import Outputs
from melt_ser.runs.run_onnx import OnnxModel
from small_models import (
    CLASSES,
    KINDS,
    small_backbone,
    small_classifier,
    small_config,
    small_whisper_classifier,
    speechlike,
)

METADATA = {"classes": '["a", "b"]', "sampling_rate": "16000", "longest_seconds": "60"}
LENGTHS = (16000, 100, 450, 23000)  # two are shorter than the first frame of some families
HEADS = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in (CHECKOUT / "conf" / "head").glob("*.yaml")
}


def written(classifiers: list[SpeechClassifier], folder: Path, number_type: str = "float32") -> OnnxModel:
    write_onnx(classifiers, folder / "graph.onnx")
    convert(folder / "graph.onnx", folder / "model.onnx", number_type, METADATA)
    return OnnxModel(str(folder / "model.onnx"))


@torch.no_grad()
def by_torch(classifiers: list[SpeechClassifier], lengths: tuple[int, ...]) -> np.ndarray:
    """Return what `predict` answers to each clip alone."""
    rows = []
    for length in lengths:
        audio = pad_together([prepare_waveform(speechlike(length), classifiers[0].backbone.do_normalize)])
        rows.append(torch.stack([classifier(*audio).softmax(dim=-1)[0] for classifier in classifiers]).mean(dim=0))
    answers: np.ndarray = torch.stack(rows).numpy()
    return answers


def assert_same(
    model: OnnxModel, classifiers: list[SpeechClassifier], lengths: tuple[int, ...] = LENGTHS, tolerance: float = 1e-5
) -> None:
    expected = by_torch(classifiers, lengths)
    assert np.ptp(expected, axis=0).max() > tolerance  # the answers depend on the clip
    clips = [speechlike(length).numpy() for length in lengths]
    alone = np.concatenate([model.probabilities([clip]) for clip in clips])
    np.testing.assert_allclose(alone, expected, atol=tolerance)
    np.testing.assert_allclose(model.probabilities(clips), expected, atol=tolerance)


@pytest.mark.parametrize("kind", [*KINDS, "w2v_bert"])
def test_the_graph_of_a_family_answers_as_torch(kind: str, tmp_path: Path) -> None:
    classifier = small_classifier(kind, pooling="statistics", layers="all")
    assert_same(written([classifier], tmp_path), [classifier])


@pytest.mark.slow
@pytest.mark.parametrize("pads", [False, True])
def test_the_graph_of_whisper_has_its_windows(pads: bool, tmp_path: Path) -> None:
    classifier = small_whisper_classifier(pooling="statistics", layers="all")
    classifier.backbone.pad_to_window = pads
    window = 30 * 16000
    beyond = (window, window + 100, window + 9000) if not pads else (window + 9000,)
    assert_same(written([classifier], tmp_path), [classifier], (16000, *beyond))


@pytest.mark.parametrize("name", sorted(HEADS))
def test_the_graph_has_every_head(name: str, tmp_path: Path) -> None:
    settings = {key: value for key, value in HEADS[name].items() if key != "name"}
    if name == "one_layer":
        settings["layers"] = 1  # the YAML has the number of the backbone
    classifier = small_classifier("wavlm-large", **settings)
    torch.nn.init.normal_(classifier.head.output.weight, std=0.1)  # a standardising head begins with zeros
    assert_same(written([classifier], tmp_path), [classifier])


@pytest.mark.parametrize("family", ["wav2vec2", "w2v_bert"])
def test_the_graph_has_the_adapter_behind_the_layers(family: str, tmp_path: Path) -> None:
    backbone = load_backbone(small_config(family, add_adapter=True, output_hidden_size=32, num_adapter_layers=1), 0)
    classifier = SpeechClassifier(backbone.eval(), HeadConfig(), CLASSES).eval()
    assert_same(written([classifier], tmp_path), [classifier], (16000, 12000, 23000))


@pytest.mark.parametrize("shared", [True, False])
def test_the_answer_of_several_folds_is_their_mean(shared: bool, tmp_path: Path) -> None:
    first, second = small_classifier("hubert-base"), small_classifier("hubert-base", seed=1)
    if shared:
        second.backbone = first.backbone
    model = written([first, second], tmp_path)
    assert_same(model, [first, second])
    size = (tmp_path / "model.onnx").stat().st_size
    written([first], tmp_path)
    assert (size > 1.5 * (tmp_path / "model.onnx").stat().st_size) is not shared


@pytest.mark.parametrize("classes", [(), CLASSES], ids=["attributes", "several"])
@pytest.mark.parametrize(("number_type", "tolerance"), [("float32", 1e-5), ("float16", 1e-2), ("int8", 5e-2)])
def test_attributes_are_outputs_of_their_own_on_their_scale(
    classes: tuple[str, ...], number_type: str, tolerance: float, tmp_path: Path
) -> None:
    outputs = Outputs(classes, {"arousal": (1.0, 7.0), "valence": (-1.0, 1.0)})
    models = [SpeechClassifier(small_backbone("hubert-base", seed), HeadConfig(), outputs).eval() for seed in (0, 1)]
    onnx_model = written(models, tmp_path, number_type)
    clips = [speechlike(length).numpy() for length in LENGTHS]
    found = onnx_model.answers(clips)
    assert list(found) == [*(["probabilities"] if classes else []), "arousal", "valence"]
    expected = np.array(Model(models).probabilities(clips))
    count = len(classes)
    for number, (name, (low, high)) in enumerate(outputs.scales.items(), start=count):
        assert found[name].shape == (4,) and found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], expected[:, number], atol=tolerance * (high - low))
    if classes:
        np.testing.assert_allclose(found["probabilities"], expected[:, :count], atol=tolerance)


def test_an_attribute_with_the_name_of_an_input_is_refused() -> None:
    with pytest.raises(SetupError, match="has an input or output 'lengths' already; give the attribute another name"):
        output_names(Outputs([], {"lengths": (0.0, 1.0)}))


@pytest.mark.parametrize("kind", ["wavlm-base", "conformer-relative", "w2v_bert"])
def test_float16_is_near_and_halves_the_encoder_alone(kind: str, tmp_path: Path) -> None:
    classifier = small_classifier(kind)
    drawn = torch.Generator().manual_seed(22)  # with most others all clips get nearly the same answer
    torch.nn.init.normal_(classifier.head.output.weight, std=0.5, generator=drawn)
    assert_same(written([classifier], tmp_path, "float16"), [classifier], (16000, 9000, 23000), tolerance=1e-2)
    graph = onnx.load(tmp_path / "model.onnx").graph
    types = {weight.name: weight.data_type for weight in graph.initializer}
    products = [node for node in graph.node if node.op_type in ("MatMul", "Gemm") and node.input[1] in types]
    halves = {node.name for node in products if types[node.input[1]] == onnx.TensorProto.FLOAT16}
    assert len(halves) > 12 and halves == {node.name for node in products if is_of_encoder(node.name)}


def test_int8_changes_the_linear_layers_of_the_encoder_alone(tmp_path: Path) -> None:
    classifier = small_classifier("hubert-base")
    assert_same(written([classifier], tmp_path, "int8"), [classifier], tolerance=2e-2)
    names = [node.name for node in onnx.load(tmp_path / "model.onnx").graph.node if node.op_type == "MatMulInteger"]
    assert len(names) == 1 + 2 * 6  # the projection; queries, keys, values, output and two feed-forward layers
    assert all(is_of_encoder(name) for name in names)


def test_weights_over_the_limit_of_the_format_lie_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_types, "MOST_BYTES", 10_000)
    classifier = small_classifier("hubert-base")
    assert_same(written([classifier], tmp_path), [classifier])
    assert has_data_beside(tmp_path / "model.onnx") and (tmp_path / "model.onnx.data").stat().st_size > 10_000


def test_the_model_is_as_before(tmp_path: Path) -> None:
    classifier = small_classifier("wavlm-large")
    before = {name: weight.clone() for name, weight in classifier.state_dict().items()}
    written([classifier], tmp_path)
    assert {name: weight.tolist() for name, weight in classifier.state_dict().items()} == {
        name: weight.tolist() for name, weight in before.items()
    }
