"""Show published CCC of attributes next to ours, with the differences of protocols; `published.yaml` has the facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from melt_ser.reporting.published import differences, facts
from melt_ser.reporting.rated import RatedSystem

COLUMNS = ("system", "tested on", "of", "CCC", "model", "source", "protocol differs in")
MEANING = "Our CCC (theirs, difference). If the protocols differ, the figures cannot be compared."


@dataclass(frozen=True)
class PublishedRating:
    """A published CCC next to ours: the cells of COLUMNS, and the known differences of the protocols."""

    cells: tuple[str, ...]
    differs: tuple[str, ...]
    origin: str  # where the figure is from, and its protocol


def published_ratings(systems: Sequence[RatedSystem]) -> list[PublishedRating]:
    """Return the published CCC of the training and test corpus, and the family of the backbone, of one of these."""
    found = []
    for table in facts()["attributes"]:
        known = facts()["models"][table["model"]]
        for system in systems:
            row, result = system.first, system.runs[0].result
            ours, theirs = system.mean.values.get("ccc"), table["ccc"].get(row.of)
            if ours is None or theirs is None or known["family"] != result.config["backbone"]["family"]:
                continue
            if {system.train, row.corpus} != {table["corpus"]}:
                continue
            same = {**table["same"], "backbone.checkpoint": known["checkpoint"]}
            of_row = {"fold": row.fold, "attributes": len(result.train.scales)}
            differs = (*differences(same, result.config, of_row), *table["differs"])
            shown = f"{ours:.3f} ({theirs:.3f}, {ours - theirs:+.3f})"
            texts = (system.system, system.tested_on, row.of, shown, table["model"], table["source"])
            origin = f"{table['source']}: {table['certainty']}, {table['where']}. Protocol: {table['protocol']}."
            found.append(PublishedRating((*texts, "; ".join(differs) or "nothing known"), differs, origin))
    return found
