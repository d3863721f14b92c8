"""A licence of a YAML lets a derived model be passed on, or does not plainly; unknown ones do not."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from melt_ser.core.licences import objection
from melt_ser.core.package import conf_folder

MAY_BE_SHARED = {
    *("cafe", "crema_d", "demo", "demo_de", "emns", "emodb", "emodb2", "emovo", "emozionalmente", "jl_corpus"),
    *("emo_superb_crema_d", "nemo", "ravdess", "subesco"),
}


def shipped(group: str) -> dict[str, dict[str, str]]:
    return {path.stem: yaml.safe_load(path.read_text()) for path in (Path(conf_folder()) / group).glob("*.yaml")}


def test_only_corpora_with_a_plain_open_licence_may_be_shared_without_a_reason() -> None:
    licences = {name: settings.get("licence", "") for name, settings in shipped("dataset").items()}
    assert {name for name, licence in licences.items() if objection(licence) is None} == MAY_BE_SHARED


def test_every_checkpoint_states_its_licence_and_only_the_students_is_not_settled() -> None:
    licences = {name: one["licence"] for name, one in shipped("backbone").items() if one["checkpoint"] is not None}
    objected = {name for name, licence in licences.items() if objection(licence)}
    assert objected == {"wavlm_tiny", "hubert_tiny", "wav2vec2_tiny", "data2vec_tiny"}


@pytest.mark.parametrize(
    ("licence", "reason"),
    [
        ("", "is not known"),
        ("   ", "is not known"),
        ("our own terms", "is not one that melt_ser knows"),
        ("CC BY-ND 4.0", "restricts who may have it or what may be made of it"),
        ("MIT by a list, research only by the release", "restricts who may have it or what may be made of it"),
        ("licence not stated", "does not say what is allowed"),
        ("cc-by-sa-4.0", None),
        ("the Apache licence", None),
        ("permitted", "is not one that melt_ser knows"),  # it has the letters mit
    ],
)
def test_the_strictest_of_several_licences_counts(licence: str, reason: str | None) -> None:
    assert objection(licence) == reason
