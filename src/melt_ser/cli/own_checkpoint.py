"""Choose the name, learning rate, frozen part and tuned state for a checkpoint of the user's own.

`backbone=<name>` chooses a YAML with the name, revision, learning rate, frozen part and tuned state of one checkpoint.
These values are wrong for another checkpoint (`backbone.family=hubert backbone.checkpoint=/models/mine`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from melt_ser.cli.combination import name_combination
from melt_ser.config import BackboneConfig, Init
from melt_ser.core.console import say
from melt_ser.core.package import STUDENTS, expanded
from melt_ser.core.vocabulary import WITHOUT_WEIGHTS


def settle_checkpoint(composed: DictConfig, choice: str, overrides: Iterable[str]) -> None:
    """Replace the values of `backbone` that belong to the YAML's checkpoint if the user gives another checkpoint.

    Values that the user sets stay. The name becomes the last part of the checkpoint. The learning rate, the frozen part
    and the tuned state are those of the chosen backbone if it is of the same family and a published checkpoint, neither
    random nor a student of the package; otherwise those of `backbone=<family>`. With `backbone.init=random` nothing is
    frozen.

    Args:
        composed: the configuration of `train`; changed in place.
        choice: the name of the chosen backbone's YAML.
        overrides: the settings of the command, such as "backbone.name=mine".
    """
    backbone = composed.backbone
    if backbone.checkpoint is None or backbone.family in WITHOUT_WEIGHTS:
        return
    given = {override.partition("=")[0].lstrip("+") for override in overrides}
    if backbone.init == Init.random and backbone.freeze != "nothing" and "backbone.freeze" not in given:
        OmegaConf.update(composed, "backbone.freeze", "nothing")
        say("note: backbone.init=random brings backbone.freeze=nothing, since random layers have to learn.")
    chosen = _settings_of(choice, composed)
    if backbone.checkpoint == chosen.checkpoint:
        return
    like = choice
    families = GlobalHydra.instance().config_loader().get_group_options("backbone")
    is_small = chosen.checkpoint is None or chosen.checkpoint.startswith(STUDENTS)
    if (is_small or chosen.family != backbone.family) and backbone.family in families:
        like = backbone.family
    rates = chosen if like == choice else _settings_of(like, composed)
    own = {
        "name": name_of(backbone.checkpoint),
        "revision": None,
        "pretraining": BackboneConfig.pretraining,
        "licence": BackboneConfig.licence,
        "allow_pickle": False,  # the YAML allows it for one commit of its own checkpoint
        "learning_rate": rates.learning_rate,
        "freeze": rates.freeze if backbone.init == Init.pretrained else "nothing",
        "state": rates.state,
    }
    for key, value in own.items():
        if backbone[key] == chosen[key] and f"backbone.{key}" not in given:
            OmegaConf.update(composed, f"backbone.{key}", value)
    say(
        f"note: {backbone.checkpoint} runs under the name '{backbone.name}' with "
        f"backbone.learning_rate={backbone.learning_rate}, backbone.freeze={backbone.freeze} and "
        f"backbone.state={backbone.state}; the defaults are those of backbone={like}."
    )


def name_text_encoder(composed: DictConfig, choice: str, overrides: Iterable[str]) -> None:
    """Add the name of `backbone.text` to that of the backbone (wavlm_and_roberta-base) if no name was chosen.

    The arguments are those of `settle_checkpoint`, which comes first.
    """
    backbone = composed.backbone
    if backbone.text is None or any(override.startswith("backbone.name=") for override in overrides):
        return
    unchosen = [_settings_of(choice, composed).name]
    if backbone.checkpoint is not None:
        unchosen.append(name_of(backbone.checkpoint))
    if backbone.name in unchosen:
        OmegaConf.update(composed, "backbone.name", f"{backbone.name}_and_{name_of(backbone.text)}")


def settle_backbone(composed: DictConfig, choice: str, overrides: Iterable[str]) -> None:
    """Do `settle_checkpoint` and then `name_text_encoder`, with the same arguments."""
    settle_checkpoint(composed, choice, overrides)
    name_text_encoder(composed, choice, overrides)


def settle_job(composed: DictConfig) -> None:
    """Do as `compose` does, within a job of Hydra, with the choices and overrides that Hydra records."""
    if "backbone" in composed:
        job = HydraConfig.get()
        settle_backbone(composed, job.runtime.choices["backbone"], job.overrides.task)
        name_combination(composed, job.overrides.task)


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
