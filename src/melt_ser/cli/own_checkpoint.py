"""Choose the name, learning rate, frozen part and tuned state for a checkpoint of the user's own.

`backbone=<name>` chooses a YAML with the name, revision, learning rate, frozen part and tuned state of one checkpoint.
These values are wrong for another checkpoint (`backbone.family=hubert backbone.checkpoint=/models/mine`), and for
random weights (`backbone.checkpoint=null`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from melt_ser.cli.combination import settle_augment
from melt_ser.config import BackboneConfig, Init
from melt_ser.core.console import say
from melt_ser.core.package import STUDENTS, expanded
from melt_ser.core.vocabulary import WITHOUT_WEIGHTS

DEFAULT_OF = {
    "backbone.learning_rate": "trainer.backbone_learning_rate",
    "backbone.freeze": "trainer.freeze",
    "backbone.state": "head.layers",
}
"""Settings of a backbone that only matter where the YAML of a trainer or a head refers to them."""


def settle_checkpoint(composed: DictConfig, choice: str, overrides: Iterable[str]) -> None:
    """Replace the values of `backbone` that belong to the YAML's checkpoint if the user gives another checkpoint.

    Values that the user sets stay. The name becomes the last part of the checkpoint. The learning rate, the frozen part
    and the tuned state are those of the chosen backbone if it is of the same family and a published checkpoint, neither
    random nor a student of the package; otherwise those of `backbone=<family>`. With `backbone.init=random` nothing is
    frozen. Without a checkpoint, all of them are those of the family's YAML with random weights.

    Args:
        composed: the configuration of `train`; changed in place.
        choice: the name of the chosen backbone's YAML.
        overrides: the settings of the command, such as "backbone.name=mine".
    """
    backbone = composed.backbone
    if backbone.checkpoint == "" or backbone.family in WITHOUT_WEIGHTS:  # an empty one is refused
        return
    given = _keys_of(overrides)
    redrawn = backbone.checkpoint is not None and backbone.init == Init.random
    if redrawn and backbone.freeze != "nothing" and "backbone.freeze" not in given:
        OmegaConf.update(composed, "backbone.freeze", "nothing")
        say("note: backbone.init=random brings backbone.freeze=nothing, since random layers have to learn.")
    chosen = _settings_of(choice, composed)
    if backbone.checkpoint == chosen.checkpoint:
        return
    like = _like(choice, chosen, backbone)
    rates = chosen if like == choice else _settings_of(like, composed)
    unpretrained = like if like != choice else f"{choice}_random"
    own = {
        "name": name_of(backbone.checkpoint) if backbone.checkpoint else unpretrained,
        "revision": None,
        "pretraining": BackboneConfig.pretraining if backbone.checkpoint else "none",
        "licence": BackboneConfig.licence,
        "allow_pickle": False,  # the YAML allows it for one commit of its own checkpoint
        "learning_rate": rates.learning_rate,
        "freeze": "nothing" if redrawn or backbone.checkpoint is None else rates.freeze,
        "state": rates.state,
    }
    for key, value in own.items():
        if backbone[key] == chosen[key] and f"backbone.{key}" not in given:
            OmegaConf.update(composed, f"backbone.{key}", value)
    say(
        f"note: {backbone.checkpoint or 'a model with random weights'} runs under the name '{backbone.name}' with "
        f"backbone.learning_rate={backbone.learning_rate}, backbone.freeze={backbone.freeze} and "
        f"backbone.state={backbone.state}; the defaults are those of backbone={like}."
    )


def _like(choice: str, chosen: Any, backbone: Any) -> str:
    """Return the name of the YAML whose rates fit the checkpoint of `backbone`; `chosen` is the YAML `choice`."""
    known = GlobalHydra.instance().config_loader().get_group_options("backbone")
    family = backbone.family
    if backbone.checkpoint is None:
        return next((name for name in (f"{family}_tiny_random", f"{family}_random") if name in known), choice)
    is_small = chosen.checkpoint is None or chosen.checkpoint.startswith(STUDENTS)
    return family if (is_small or chosen.family != family) and family in known else choice


def tell_unread(composed: DictConfig, overrides: Iterable[str]) -> None:
    """Say if the command sets a default of `backbone` that no setting takes, or the learning rate of a frozen one."""
    given = _keys_of(overrides)
    for key, reader in DEFAULT_OF.items():
        if key not in given:
            continue
        if not is_read(composed, key):
            value = OmegaConf.select(composed, reader)
            say(f"note: {key} is a default of {reader}, which is {value} here; set {reader} in its place.")
    if "trainer.backbone_learning_rate" in given and composed.trainer.freeze == "everything":
        say(
            "note: trainer.backbone_learning_rate has no effect with trainer.freeze=everything, which trains no layer; "
            "leave it out."
        )


def is_read(composed: DictConfig, key: str) -> bool:
    """Return whether a setting has this default of `backbone`, a key of `DEFAULT_OF`, as its value."""
    group, _, name = DEFAULT_OF[key].partition(".")
    unresolved = OmegaConf.to_container(composed[group], resolve=False)
    assert isinstance(unresolved, dict)
    return key in str(unresolved[name])


def _keys_of(overrides: Iterable[str]) -> set[str]:
    return {override.partition("=")[0].lstrip("+") for override in overrides}


def name_text_encoder(composed: DictConfig, choice: str, overrides: Iterable[str]) -> None:
    """Add the name of `backbone.text` to that of the backbone (wavlm_and_roberta-base) if no name was chosen.

    The arguments are those of `settle_checkpoint`, which comes first.
    """
    backbone = composed.backbone
    if backbone.text is None or "backbone.name" in _keys_of(overrides):
        return
    unchosen = [_settings_of(choice, composed).name]
    if backbone.checkpoint is not None:
        unchosen.append(name_of(backbone.checkpoint))
    if backbone.name in unchosen:
        OmegaConf.update(composed, "backbone.name", f"{backbone.name}_and_{name_of(backbone.text)}")


def settle_backbone(composed: DictConfig, choice: str, overrides: Iterable[str]) -> None:
    """Do `settle_checkpoint`, `name_text_encoder` and `tell_unread`, with the same arguments."""
    settle_checkpoint(composed, choice, overrides)
    name_text_encoder(composed, choice, overrides)
    tell_unread(composed, overrides)


def settle_job(composed: DictConfig) -> None:
    """Do as `compose` does, within a job of Hydra, with the choices and overrides that Hydra records."""
    if "backbone" in composed:
        job = HydraConfig.get()
        settle_backbone(composed, job.runtime.choices["backbone"], job.overrides.task)
        settle_augment(composed, job.overrides.task)


def _settings_of(choice: str, composed: DictConfig) -> Any:
    """Return the settings of `backbone=<choice>`; Hydra has to be initialised, as it is during composition.

    They refer to the values of the other groups in `composed` (`${trainer.head_learning_rate}`).
    """
    settings = OmegaConf.structured(BackboneConfig)
    OmegaConf.set_struct(settings, False)  # unknown keys are refused with those of the whole configuration
    whole = composed.copy()
    whole.backbone = OmegaConf.merge(settings, _yaml_of(choice))
    return whole.backbone


def _yaml_of(choice: str) -> Any:
    """Return what the YAML of a backbone sets, with the YAMLs that it builds on.

    Only a YAML with `defaults`, or for another package, is composed: a composition reads Hydra's own settings too, and
    takes twenty times as long.
    """
    name = f"backbone/{choice}"
    sources = GlobalHydra.instance().config_loader().get_sources()
    found = next(source for source in sources if source.is_config(name)).load_config(name)
    if "defaults" in found.config or found.header["package"] is not None:
        return hydra.compose(overrides=[f"+backbone={choice}"]).backbone
    return found.config


def name_of(checkpoint: str) -> str:
    """Return a name for a checkpoint that can name a folder: the last part of its path or of its name on the hub.

    >>> name_of("/models/my hubert/"), name_of("facebook/hubert-base-ls960")
    ('my_hubert', 'hubert-base-ls960')
    """
    last = expanded(checkpoint).resolve().name
    return re.sub(r"[^\w.-]+", "_", last).strip("._") or "checkpoint"
