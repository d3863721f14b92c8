"""Print the table of docs/corpora.md from the corpora's YAMLs: python scripts/corpora_table.py"""

from __future__ import annotations

from melt_ser.cli.compose import load_dataset
from melt_ser.config import DatasetConfig
from melt_ser.info import names

GENERAL = ("csv", "hub", "audformat", "shards", "union", "demo", "demo_de")


def row(dataset: DatasetConfig) -> list[str]:
    """Return the cells of one corpus; its default protocol comes first."""
    protocols = sorted(dataset.protocols, key=lambda name: name != dataset.protocol)
    emotions = {emotion for emotion in dataset.label_map.values() if emotion}
    return [
        f"`{dataset.name}`",
        dataset.language or "several",
        str(len(emotions)),
        "–" if dataset.speakers is None else str(dataset.speakers),
        f"{sum(dataset.expected.values()):,}",
        ", ".join(protocols),
        dataset.licence,
        "`download=true`" if dataset.download else dataset.access.split(",")[0].split(" at ")[0],
    ]


def main() -> None:
    header = ["corpus", "language", "emotions", "speakers", "clips", "protocols", "licence", "access"]
    rows = [row(load_dataset(name)) for name in names("dataset") if name not in GENERAL]
    for cells in (header, ["---"] * len(header), *rows):
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
