"""`tune --range`: test the learning rates of head and backbone on the train part, and suggest values."""

from __future__ import annotations

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from melt_ser.config import Config, Method
from melt_ser.core import files
from melt_ser.core.console import finish, say
from melt_ser.core.errors import InputError, SetupError
from melt_ser.core.memory import NO_ROOM_FOR_MODEL, memory_advice
from melt_ser.core.package import expanded
from melt_ser.models.families import check_family
from melt_ser.runs.fold import build_model
from melt_ser.runs.fold_inputs import FoldInputs
from melt_ser.runs.goals import goals_of
from melt_ser.runs.identity import identity
from melt_ser.runs.plan import RunPlan
from melt_ser.training.device import make_accelerator
from melt_ser.training.pooled import set_scale
from melt_ser.training.rate_range import Part, losses_of_rates, smoothed, suggested
from melt_ser.tuning.range_figure import range_figure
from melt_ser.tuning.trial import checked, search_plan

ENDS: dict[Part, tuple[float, float]] = {"head": (1e-6, 1.0), "backbone": (1e-7, 0.1)}
LEAST_STEPS = 100  # unless --steps says otherwise: a small corpus has few in an epoch


def rate_range(composed: DictConfig, steps: int | None) -> None:
    """Test the learning rates that a configuration trains with, and write range.csv and a figure.

    Args:
        composed: the configuration of the command. Of several folds, the first is trained on.
        steps: of each test; None: an epoch, but at least 100.
    """
    config = checked(composed)
    if config.trainer.method is not Method.gradient:
        raise SetupError("trainer=probe takes no steps, so it has no learning rate; choose another trainer=.")
    check_family(config.backbone.family)
    plan = search_plan(config)
    parts: list[Part] = ["head"] if config.trainer.freeze == "everything" else ["head", "backbone"]
    curves = {part: _test(plan, part, steps) for part in parts}
    name = f"{config.backbone.name}-{config.dataset.name}-{config.trainer.name}-{identity(config).rpartition('-')[2]}"
    folder = expanded(config.out) / "tune" / "range" / name
    table = pd.concat(curves.values(), ignore_index=True)
    files.write_csv(folder / "range.csv", table)
    suggestions = {
        part: suggested(curve["rate"].to_numpy(), curve["smoothed_loss"].to_numpy()) for part, curve in curves.items()
    }
    figure = folder / f"range.{config.eval.figures.value}"
    range_figure(curves, suggestions, {part: _configured(config, part) for part in parts}, figure)
    for part, rate in suggestions.items():
        key = f"trainer.{part}_learning_rate"
        if rate is None:
            say(f"note: the loss did not fall while {key} rose, so there is no suggestion; look at the plot.")
        else:
            say(f"{key}={rate:g} is a tenth of the rate with the lowest loss (set: {_configured(config, part):g})")
    say(f"plots: {figure}")
    finish(folder / "range.csv")


def _configured(config: Config, part: Part) -> float:
    rates: dict[Part, float] = {
        "head": config.trainer.head_learning_rate,
        "backbone": config.trainer.backbone_learning_rate,
    }
    return rates[part]


def _test(plan: RunPlan, part: Part, steps: int | None) -> pd.DataFrame:
    """Return a row for each step of the test of a part, with a new model: its rate, loss and smoothed loss."""
    config, split = plan.config, plan.splits[0]
    accelerator = make_accelerator(config.device, config.trainer.precision)
    model = build_model(config, plan.outputs)
    with memory_advice(NO_ROOM_FOR_MODEL):
        model.to(accelerator.device)
    inputs = FoldInputs(plan, split, model, accelerator)
    train = inputs.train()
    if model.head.standardises:
        set_scale(model, train, config.trainer.batch_size, accelerator)
    epoch = -(-len(train) // (config.trainer.batch_size * config.trainer.gradient_accumulation))
    rates = np.geomspace(*ENDS[part], steps or max(LEAST_STEPS, epoch))
    goals = goals_of(plan, split)
    losses = losses_of_rates(config.trainer, model, inputs.stage, train, config.seed, accelerator, part, rates, goals)
    finite = losses[np.isfinite(losses)]
    if len(finite) < 3:
        raise InputError(f"The loss of the {part} test is not finite; check the clips, or lower the other rate.")
    rates = rates[: len(finite)]
    return pd.DataFrame({"part": part, "rate": rates, "loss": finite, "smoothed_loss": smoothed(finite, len(rates))})
