"""Text encoders as backbones: their states do not depend on the batch, and a saved model is the same model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from melt_ser.config import BackboneConfig, HeadConfig
from melt_ser.core.errors import SetupError
from melt_ser.data.stage import Stage
from melt_ser.data.words import TextDataset
from melt_ser.models.checkpoint_files import weights_digest
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.models.export import load_model, save_model
from melt_ser.models.families import load_backbone
from melt_ser.models.families.text import TextBackbone
from small_checkpoints import write_checkpoint
from small_texts import write_text_encoder

TEXTS = ["oh my", "damn go away well then", "great", "he is gone well then oh my he is gone"]


def backbone_of(folder: Path, **settings: object) -> TextBackbone:
    backbone = load_backbone(BackboneConfig(family="text", checkpoint=str(folder), **settings), seed=0)
    assert isinstance(backbone, TextBackbone)
    return backbone.eval()


def batch_of(backbone: TextBackbone, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    ids, _ = backbone.tokenise(texts)
    items = [(torch.tensor(one), 0, row) for row, one in enumerate(ids)]
    batch = TextDataset.collate(items)
    return batch.inputs, batch.lengths


@pytest.fixture(params=["bert", "roberta"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write_text_encoder(tmp_path / "encoder", request.param)


@torch.no_grad()
def test_text_states_are_those_of_transformers_and_do_not_depend_on_the_batch(folder: Path) -> None:
    backbone, tokenizer = backbone_of(folder), AutoTokenizer.from_pretrained(folder)
    theirs = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
    together = backbone(*batch_of(backbone, TEXTS), output_hidden_states=True)
    for row, text in enumerate(TEXTS):
        alone = theirs(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
        tokens = alone.last_hidden_state.shape[1]
        assert together.frame_mask[row].sum() == tokens
        assert together.hidden_states is not None
        assert len(together.hidden_states) == len(alone.hidden_states)
        for ours, state in zip(together.hidden_states, alone.hidden_states, strict=True):
            torch.testing.assert_close(ours[row, :tokens], state[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(together.last_hidden_state[row, :tokens], alone.last_hidden_state[0])


@torch.no_grad()
@pytest.mark.parametrize("head", [HeadConfig(layers="weighted"), HeadConfig(pooling="attention", hidden_sizes=[4])])
def test_text_a_saved_model_is_the_same_to_the_bit_and_needs_no_checkpoint(
    folder: Path, tmp_path: Path, head: HeadConfig
) -> None:
    model = SpeechClassifier(backbone_of(folder), head, ["angry", "sad"]).eval()
    save_model(model, tmp_path / "model")
    folder.rename(folder.with_name("gone"))
    loaded = load_model(tmp_path / "model")
    assert isinstance(loaded.backbone, TextBackbone)
    assert loaded.backbone.tokenise(TEXTS) == model.backbone.tokenise(TEXTS)
    torch.testing.assert_close(
        loaded(*batch_of(loaded.backbone, TEXTS)), model(*batch_of(loaded.backbone, TEXTS)), atol=0, rtol=0
    )


@torch.no_grad()
@pytest.mark.parametrize(
    ("freeze", "stage"),
    [("everything", Stage.pooled), (1, Stage.layers), ("convolution", Stage.nothing), ("nothing", Stage.nothing)],
)
def test_text_every_frozen_stage_gives_the_answers_of_the_whole(folder: Path, freeze: str | int, stage: Stage) -> None:
    model = SpeechClassifier(backbone_of(folder), HeadConfig(), ["angry", "sad"]).eval()
    model.backbone.freeze(freeze)
    assert model.frozen_stage(crops=False) is stage
    inputs, lengths = batch_of(backbone_of(folder), TEXTS)
    features, counts = model.compute_stage(stage, inputs, lengths)
    torch.testing.assert_close(model(features, counts, stage), model(inputs, lengths), atol=1e-5, rtol=0)


def test_text_a_long_text_is_cut_to_the_positions_and_counted(folder: Path) -> None:
    backbone = backbone_of(folder)
    positions = 24 if backbone.model.config.model_type == "bert" else 22  # RoBERTa's begin behind its padding
    ids, cut = backbone.tokenise(["oh my " * 30, "oh"])
    assert (len(ids[0]), len(ids[1]), cut) == (positions, 3, 1)
    backbone(torch.tensor(ids[:1]), torch.tensor([positions]))  # the last position exists


def test_text_layers_can_be_left_out_and_another_tokenizer_is_another_checkpoint(folder: Path) -> None:
    assert backbone_of(folder, layers=1).number_of_layers == 1
    before = weights_digest(BackboneConfig(family="text", checkpoint=str(folder)))
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace('"oh"', '"ah"'))
    assert weights_digest(BackboneConfig(family="text", checkpoint=str(folder))) != before


def test_text_other_checkpoints_are_refused_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "speech", "hubert")
    with pytest.raises(SetupError, match="has no tokenizer"):
        backbone_of(tmp_path / "speech")
    (tmp_path / "speech" / "tokenizer.json").write_text((folder / "tokenizer.json").read_text())
    (tmp_path / "speech" / "tokenizer_config.json").write_text((folder / "tokenizer_config.json").read_text())
    with pytest.raises(SetupError, match="set backbone.family=hubert"):
        backbone_of(tmp_path / "speech")
    with pytest.raises(SetupError, match="needs backbone.checkpoint, which has the tokenizer"):
        load_backbone(BackboneConfig(family="text"), seed=0)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(SetupError, match="cannot be read"):
        backbone_of(folder)
