"""Say of which corpora a report has several tables: scores on one are not compared with scores on another."""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePath

from melt_ser.reporting.collect import Run
from melt_ser.reporting.overview import SystemScore


def several_tables(scores: list[SystemScore]) -> list[str]:
    """Return a sentence for each corpus that is tested on with several tables."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for score in scores:
        digest = score.rows[0].digest
        file = next((file for run in score.runs if run.result.train.digest == digest and (file := _file(run))), "")
        found[score.corpus][digest] = file or found[score.corpus].get(digest, "")
    sentences = []
    for corpus, files in found.items():
        if len(files) > 1:
            told = ", ".join(digest[:6] + (f" ({file})" if file else "") for digest, file in sorted(files.items()))
            sentences.append(
                f"{len(files)} tables have the name {corpus}: {told}. Systems are compared on the same table only. "
                "Other rows, labels or words (the column text) make another table, and so do ratings as a target. "
                "To compare systems, give them one."
            )
    return sentences


def _file(run: Run) -> str:
    """Return the name of the table that a run was trained on; "" if its corpus is no table of the user."""
    return PurePath(str(run.result.config["dataset"].get("table") or "")).name
