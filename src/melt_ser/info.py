"""`python -m melt_ser.info`: versions, devices, which backbones are cached and which corpora are ready."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from melt_ser.console import show


def main(arguments: list[str] | None = None) -> int:
    """Print what is installed, cached and ready, and the command that gets what is missing."""
    parser = argparse.ArgumentParser(prog="melt-ser info", description=__doc__)
    parser.parse_args(arguments)
    from rich.table import Table

    from melt_ser.evaluation.provenance import versions

    print("versions: " + ", ".join(f"{name} {version}" for name, version in versions().items()))
    print(f"devices: {_devices()}")
    for title, rows in (("backbones", _backbones()), ("corpora", _corpora())):
        table = Table(title, "state", "how to get it", box=None, padding=(0, 2, 0, 0))
        for row in rows:
            table.add_row(*row)
        show(table)
    return 0


def _devices() -> str:
    import torch

    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return ", ".join([*names, f"CPU ({torch.get_num_threads()} threads)"])


def _names(group: str) -> list[str]:
    from melt_ser.launch import conf_folder

    return sorted(path.stem for path in Path(conf_folder() / group).glob("*.yaml"))


def _backbones() -> list[tuple[str, str, str]]:
    from melt_ser.launch import load_config
    from melt_ser.models.checkpoint import download_command, is_cached

    rows = []
    for name in _names("backbone"):
        backbone = load_config(f"backbone={name}").backbone
        if backbone.checkpoint is None:
            rows.append((name, "ready (random weights)", ""))
        elif is_cached(backbone):
            rows.append((name, "cached", ""))
        else:
            rows.append((name, "not cached", download_command(backbone)))
    return rows


def _corpora() -> list[tuple[str, str, str]]:
    from melt_ser.corpora.corpus import corpus_root
    from melt_ser.errors import SetupError
    from melt_ser.launch import load_dataset

    rows = []
    for name in _names("dataset"):
        dataset = load_dataset(name)
        if name == "csv":
            rows.append((name, "your own table", "dataset=csv dataset.root=<folder> dataset.table=<file.csv>"))
            continue
        try:
            rows.append((name, f"found at {corpus_root(dataset)}", ""))
        except SetupError:
            rows.append((name, "not found", f"{dataset.access}; then dataset.root=<folder>"))
    return rows


if __name__ == "__main__":
    sys.exit(main())
