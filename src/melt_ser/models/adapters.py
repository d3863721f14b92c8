"""LoRA: low-rank adapters that learn in place of a backbone's own weights (Hu et al., LoRA, ICLR 2022), by peft.

A linear layer with weight W computes W x + alpha / rank * B A x. Only A and B learn; B begins as zeros, so that the
model begins as it was. Merged, the layer is a plain one again, with weight W + alpha / rank * B A.
"""

from __future__ import annotations

from torch import Tensor, nn

from melt_ser.config import Kernels, TrainerConfig
from melt_ser.core.counting import counted
from melt_ser.core.errors import SetupError, did_you_mean
from melt_ser.models.backbone import Backbone
from melt_ser.models.kernels.attention import has_position_bias
from melt_ser.models.weights import seeded


def add_adapters(backbone: Backbone, config: TrainerConfig, seed: int) -> None:
    """Add adapters to a backbone in place; of its weights, only they learn afterwards.

    They go into the transformer layers that learn: `backbone.freeze` has been called with a number.

    Args:
        backbone: of any family.
        config: rank, alpha, dropout and targets of the adapters.
        seed: seeds the weights A; the global random state stays as it was.

    Raises SetupError if no layer learns, for a target that no layer has, or for a dropout that the kernels cannot
    compute.
    """
    from peft import LoraConfig, inject_adapter_in_model

    if config.lora_dropout > 0.0 and backbone.kernels is Kernels.transformers and has_position_bias(backbone.encoder):
        raise SetupError(
            "transformers computes WavLM's attention without trainer.lora_dropout; set it to 0, or set "
            "backbone.kernels=fast."
        )
    assert isinstance(backbone.freezing, int)
    layers = backbone.encoder.layers[backbone.freezing :]
    if not len(layers):
        raise SetupError(
            f"trainer.freeze={backbone.freezing} leaves no layer for adapters, since the run has "
            f"{counted(backbone.number_of_layers, 'layer')}: those below the state that the head reads (head.layers), "
            f"of those that the backbone keeps (backbone.layers); lower it."
        )
    backbone.requires_grad_(False)
    settings = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=_targets(layers, backbone.hidden_size, config.lora_targets),
    )
    settings._register_custom_module({nn.Linear: _adapted_linear()})
    with seeded(seed):
        inject_adapter_in_model(settings, layers)


def merge_adapters(backbone: Backbone) -> None:
    """Add the product of each adapter to its layer's weight, in place; the frames stay the same up to rounding."""
    from peft.tuners.lora import LoraLayer

    for module in list(backbone.modules()):
        for name, child in module.named_children():
            if isinstance(child, LoraLayer):
                child.merge()
                setattr(module, name, child.get_base_layer())


def _targets(layers: nn.ModuleList, width: int, names: list[str]) -> list[str]:
    """Return the paths within `layers` of the linear layers that get an adapter.

    Args:
        layers: transformer layers.
        width: the number of features of a frame.
        names: the last parts of the paths. If empty: all linear layers that read or write whole frames. These are the
            projections of attention and the feed-forward part, in every family; WavLM's gate, which reads the frames
            of one attention head, is none.
    """
    linear = {path: module for path, module in layers.named_modules() if isinstance(module, nn.Linear)}
    if not names:
        return [path for path, module in linear.items() if width in (module.in_features, module.out_features)]
    known = {path.rpartition(".")[2] for path in linear}
    for name in names:
        if name not in known:
            raise SetupError(f"trainer.lora_targets: no layer has a linear '{name}'; {did_you_mean(name, known)}")
    return [path for path in linear if path.rpartition(".")[2] in names]


def _adapted_linear() -> type[nn.Module]:
    from peft.tuners.lora import Linear

    class AdaptedLinear(Linear):  # type: ignore[misc]
        """peft's layer, but `weight` is the merged one: transformers' WavLM reads it instead of calling the layer."""

        @property
        def weight(self) -> Tensor:
            own: Tensor = self.get_base_layer().weight
            return own if self.merged else own + sum(map(self.get_delta_weight, self.active_adapters))

    return AdaptedLinear
