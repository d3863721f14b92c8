"""The family egemaps: one frame of measured features for each clip, a head without pooling, a model of its head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from melt_ser.audio import egemaps
from melt_ser.cli.checks import check
from melt_ser.cli.compose import load_config
from melt_ser.config import BackboneConfig, HeadConfig, Pooling
from melt_ser.core.errors import SetupError
from melt_ser.data.stage import Stage
from melt_ser.models.checkpoint_files import weights_digest
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.models.export import load_model, save_head, save_model, share_backbones
from melt_ser.models.families import load_backbone
from melt_ser.training.features import digest_of
from small_models import CLASSES, batch_of

pytest.importorskip("opensmile", reason="opensmile, of the extra acoustics, is not installed")
SETTINGS = BackboneConfig(name="egemaps", family="egemaps")
PROBE = HeadConfig(pooling=Pooling.statistics, layers="all", last_state="after_norm", standardise=True)


def classifier(seed: int = 0, head: HeadConfig = PROBE) -> SpeechClassifier:
    backbone = load_backbone(SETTINGS, seed)
    backbone.freeze("everything")
    torch.manual_seed(seed)
    return SpeechClassifier(backbone, head, CLASSES).eval()


def test_a_clip_has_one_frame_of_its_features() -> None:
    audio, lengths = batch_of(16_000, 5_000)
    output = load_backbone(SETTINGS, 0)(audio, lengths)
    assert output.last_hidden_state.shape == (2, 1, 88) and output.frame_mask.tolist() == [[True], [True]]
    own = egemaps.functionals([audio[1, :5_000].numpy()], threads=1)
    assert np.array_equal(output.last_hidden_state[1].numpy(), own)  # not those of the padded clip


def test_a_head_has_nothing_to_pool_or_to_choose() -> None:
    model = classifier()
    assert (model.head_config.pooling, model.head_config.layers) == (Pooling.mean, "last")
    assert model.head.pooled_shape == (1, 88)
    audio, lengths = batch_of(9_000, 16_000)
    assert model.frozen_stage(crops=False) is Stage.pooled
    features, counts = model.compute_stage(Stage.pooled, audio, lengths)
    assert features.shape == (2, 1, 1, 88)
    assert torch.equal(model(features, counts, Stage.pooled), model(audio, lengths))
    with pytest.raises(SetupError, match=r"head\.layers=3, but the backbone has the states 0 to 0"):
        classifier(head=HeadConfig(layers=3))


def test_a_saved_model_is_its_head_and_its_description(tmp_path: Path) -> None:
    first, second = classifier(0), classifier(1)
    save_model(first, tmp_path / "first")
    save_head(second, tmp_path / "second", tmp_path / "first")
    for model, folder in ((first, tmp_path / "first"), (second, tmp_path / "second")):
        assert {path.name for path in folder.iterdir()} == {"head.safetensors", "melt_ser.json"}
        assert torch.equal(load_model(folder)(*batch_of(8_000)), model(*batch_of(8_000)))
    shared = share_backbones([load_model(tmp_path / "first"), load_model(tmp_path / "second")])
    assert shared[0].backbone is shared[1].backbone


def test_another_opensmile_is_noted_and_gets_other_cached_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(classifier(), tmp_path / "model")
    load_model(tmp_path / "model")
    assert "opensmile" not in capsys.readouterr().err
    key, weights = digest_of(classifier(), Stage.pooled), weights_digest(SETTINGS)
    monkeypatch.setattr(egemaps, "version", lambda: "99.0")
    for _ in range(2):  # a run of many folds has many models
        load_model(tmp_path / "model")
    assert capsys.readouterr().err.count("opensmile 99.0 is installed; its features may differ") == 1
    assert digest_of(classifier(), Stage.pooled) != key
    assert weights_digest(SETTINGS) == "opensmile:99.0" != weights


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ([], "backbone.family=egemaps has no weights to train and no frames; set trainer=probe"),
        (["trainer=frozen"], "set trainer=probe"),
        (["trainer=probe", "backbone.checkpoint=someone/model"], "backbone.checkpoint has no meaning with"),
        (["trainer=probe", "backbone.architecture.hidden_size=9"], "backbone.architecture has no meaning with"),
        (["trainer=probe", "backbone.layer_drop=0.1"], "backbone.layer_drop has no meaning with"),
    ],
)
def test_what_needs_weights_is_refused(overrides: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SetupError, match=sentence):
        check(load_config("backbone=egemaps", *overrides))
    assert "runs under the name" not in capsys.readouterr().err  # the note about a checkpoint of one's own
