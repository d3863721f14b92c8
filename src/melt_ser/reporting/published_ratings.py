"""Show published scores of attributes and votes next to ours, with the differences of protocols (`published.yaml`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from melt_ser.evaluation.rating_metrics import ATTRIBUTE_METRICS, DISTRIBUTION_METRICS
from melt_ser.evaluation.rating_scores import DISTRIBUTION
from melt_ser.reporting.published import differences, facts
from melt_ser.reporting.rated import RatedSystem

COLUMNS = ("system", "tested on", "of", "metric", "value", "model", "source", "protocol differs in")
MEANING = "Our value (theirs, difference). If the protocols differ, the figures cannot be compared."
METRICS = {**ATTRIBUTE_METRICS, **DISTRIBUTION_METRICS}


@dataclass(frozen=True)
class PublishedRating:
    """A published score next to ours: the cells of COLUMNS, and the known differences of the protocols."""

    cells: tuple[str, ...]
    differs: tuple[str, ...]
    origin: str  # where the figure is from, and its protocol


def published_ratings(systems: Sequence[RatedSystem]) -> list[PublishedRating]:
    """Return the published scores of the training and test corpus, and the family of the backbone, of one of these."""
    found = []
    for table, model, corpus, of, metric, theirs in _figures():
        known = facts()["models"][model]
        for system in systems:
            row, result = system.first, system.runs[0].result
            ours = system.mean.values.get(metric)
            if ours is None or row.of != of or known["family"] != result.config["backbone"]["family"]:
                continue
            if {system.train, row.corpus} != {corpus}:
                continue
            same = {**table["same"], "backbone.checkpoint": known["checkpoint"]}
            of_row = {"fold": row.fold, "attributes": len(result.train.scales)}
            differs = (*differences(same, result.config, of_row), *table["differs"])
            show = METRICS[metric].show
            value = f"{show(ours)} ({show(theirs)}, {'-' if ours < theirs else '+'}{show(abs(ours - theirs))})"
            texts = (system.system, system.tested_on, of, METRICS[metric].label, value, model, table["source"])
            origin = f"{table['source']}: {table['certainty']}, {table['where']}. Protocol: {table['protocol']}."
            found.append(PublishedRating((*texts, "; ".join(differs) or "nothing known"), differs, origin))
    return found


def _figures() -> Iterator[tuple[Any, str, str, str, str, float]]:
    """Yield each published score: its table, the model, the corpus, the attribute or distribution, metric and value."""
    for table in facts()["attributes"]:
        for of, value in table["ccc"].items():
            yield table, table["model"], table["corpus"], of, "ccc", value
    for table in facts()["votes"]:
        for corpus, values in table["multi_label_f1"].items():
            for model, value in zip(table["models"], values, strict=True):
                yield table, model, corpus, DISTRIBUTION, "multi_label_f1", value
