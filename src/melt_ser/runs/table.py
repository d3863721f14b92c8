"""The evaluations of a run as a table for the terminal."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

Evaluation = dict[str, Any]


def evaluation_table(evals: list[Evaluation]) -> Table:
    """One row an entry of `result.json`'s `evals`, in their order; metrics as percentages with 95 % intervals.

    Where the two protocols of one corpus, split and fold decide among the same classes they are the same evaluation:
    one row "closed = open".
    """
    table = Table(title="Evaluation (%, 95 % intervals)", box=SIMPLE_HEAD, padding=0)
    # The least widths keep every number readable in a terminal of 80 columns, where intervals take a second line.
    table.add_column("corpus", overflow="fold", min_width=7)
    table.add_column("split", min_width=5)
    table.add_column("fold", min_width=4)
    table.add_column("protocol", min_width=8)
    table.add_column("n", justify="right", min_width=5)
    table.add_column("dropped", justify="right", min_width=7)
    table.add_column("UA", justify="right", min_width=11)
    table.add_column("WA", justify="right", min_width=11)
    table.add_column("macro-F1", justify="right", min_width=8)
    for entry, protocol in merged(evals):
        table.add_row(
            str(entry["corpus"]),
            str(entry["split"]),
            "" if entry["fold"] is None else str(entry["fold"]),
            protocol,
            str(entry["n"]),
            str(sum(entry["dropped"].values())),
            _with_interval(entry, "ua"),
            _with_interval(entry, "wa"),
            f"{100 * entry['macro_f1']:.1f}",
        )
    return table


def _with_interval(entry: Evaluation, metric: str) -> str:
    low, high = entry[f"{metric}_ci95"]
    return f"{100 * entry[metric]:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def merged(rows: list[Evaluation]) -> list[tuple[Evaluation, str]]:
    """Rows with the protocol to show for each, where two protocols decide among the same classes only the first."""
    protocols: dict[tuple[Any, ...], list[str]] = {}
    first: dict[tuple[Any, ...], Evaluation] = {}
    for row in rows:
        key = (row["corpus"], row["split"], row["fold"], tuple(row["classes"]))
        first.setdefault(key, row)
        protocols.setdefault(key, []).append(row["protocol"])
    return [(row, " = ".join(sorted(protocols[key]))) for key, row in first.items()]
