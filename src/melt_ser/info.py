"""`python -m melt_ser.info`: versions, devices, cached backbones and the corpora that are ready."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from melt_ser.cli.verb import run
from melt_ser.config import UNION, BackboneConfig, DatasetConfig

Settings = TypeVar("Settings", BackboneConfig, DatasetConfig)


def main(arguments: list[str] | None = None) -> int:
    """Print versions, devices, backbones and corpora, and for each missing one the command that gets it."""
    return run(lambda: info(arguments))


def info(arguments: list[str] | None) -> int:
    """Print the tables, and return the exit code."""
    argparse.ArgumentParser(prog="melt-ser info", description=__doc__).parse_args(arguments)

    from melt_ser.runs.make_result import versions

    print("versions: " + ", ".join(f"{name} {version}" for name, version in versions().items()))
    print(f"devices: {_devices()}")
    for columns, rows in ((("backbones", "pretraining"), _backbones()), (("corpora",), _corpora())):
        print()
        for line in _aligned([(*columns, "state", "how to get it"), *rows]):
            print(line)
    return 0


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield a line for each row, with its cells below each other. No line is cut, so that a command can be copied."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _devices() -> str:
    import torch

    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return ", ".join([*names, f"CPU ({torch.get_num_threads()} threads)"])


def names(group: str) -> list[str]:
    """Return the choices of a Hydra group (`backbone`, `dataset`, …) that ship with the package, sorted."""
    from melt_ser.core.package import conf_folder

    return sorted(path.stem for path in Path(conf_folder() / group).glob("*.yaml"))


def _settings(group: str, name: str, schema: type[Settings]) -> Settings:
    """Return a YAML of the package over the defaults of its schema; composing all groups for each would take long."""
    from omegaconf import OmegaConf

    from melt_ser.core.package import conf_folder

    node = OmegaConf.to_container(OmegaConf.load(conf_folder() / group / f"{name}.yaml"))
    assert isinstance(node, dict)
    node.pop("defaults", None)
    settings = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), node))
    assert isinstance(settings, schema)
    return settings


def _backbones() -> list[tuple[str, str, str, str]]:
    from melt_ser.core.package import STUDENTS
    from melt_ser.core.vocabulary import WITHOUT_WEIGHTS
    from melt_ser.models.checkpoint_files import download_command, is_cached

    rows = []
    for name in names("backbone"):
        backbone = _settings("backbone", name, BackboneConfig)
        if backbone.family in WITHOUT_WEIGHTS:
            installed = importlib.util.find_spec("opensmile") is not None
            state, how = ("ready", "") if installed else ("needs opensmile", "pip install 'melt-ser[acoustics]'")
        elif backbone.checkpoint is None:
            state, how = "ready (random weights)", ""
        elif backbone.checkpoint.startswith(STUDENTS):
            state, how = "ready (in the package)", ""
        elif is_cached(backbone):
            state, how = "cached", ""
        else:
            state, how = "not cached", download_command(backbone)
        rows.append((name, backbone.pretraining, state, how))
    return rows


def _corpora() -> list[tuple[str, str, str]]:
    corpora = [name for name in names("dataset") if name != UNION]
    return [(name, *_corpus(_settings("dataset", name, DatasetConfig))) for name in corpora]


def _corpus(dataset: DatasetConfig) -> tuple[str, str]:
    """Return the state of a corpus, and the command that makes it ready if it is not."""
    from melt_ser.core.counting import counted
    from melt_ser.core.errors import SetupError
    from melt_ser.core.vocabulary import GENERAL_READERS
    from melt_ser.corpora.download.download import unfinished_folder
    from melt_ser.corpora.load import corpus_root, own_root
    from melt_ser.reporting.preparation import read_reports

    if dataset.reader in GENERAL_READERS and not dataset.bundled:
        return "your own", dataset.access
    try:
        root: Path | None = corpus_root(dataset).resolve()
    except SetupError:
        root = None
    prepare = f"python -m melt_ser.prepare dataset={dataset.name}"
    for report in read_reports(dataset.name):
        place = Path(report["root"])
        if place == root or (root is None and place.is_dir()):
            utterances, speakers = counted(report["used"], "utterance"), counted(report["speakers"]["found"], "speaker")
            counts = f"{utterances}, {speakers}, {report['hours']:.2f} h"
            return f"ready: {counts}", "" if root else f"dataset.root={place}"
    if root:
        return "there, not verified", prepare
    if dataset.download:
        stopped = unfinished_folder(own_root(dataset).resolve()).is_dir()
        return "download not finished" if stopped else "not there", f"{prepare} download=true"
    return "not there", f"{dataset.access}; then {prepare} dataset.root=<folder>"


if __name__ == "__main__":
    sys.exit(main())
