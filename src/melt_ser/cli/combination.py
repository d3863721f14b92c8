"""Name a combination of augmentations, `augment=[room,noise]`: Hydra merges their YAMLs, and the last name wins."""

from __future__ import annotations

from collections.abc import Iterable

from omegaconf import DictConfig, OmegaConf

CHOICE = "augment=["


def name_combination(composed: DictConfig, overrides: Iterable[str]) -> None:
    """Set `augment.name` to the joined names if the overrides choose several augmentations and give no name."""
    given = list(overrides)
    if any(override.startswith("augment.name=") for override in given):
        return
    for choice in [override for override in given if override.startswith(CHOICE)][-1:]:
        names = [name.strip(" '\"") for name in choice.removeprefix(CHOICE).rstrip("] ").split(",")]
        if all(names):
            OmegaConf.update(composed, "augment.name", "+".join(names))
