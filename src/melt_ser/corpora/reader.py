"""Find the reader of a corpus: a module of the package, or a module of the user's own (`dataset.reader=my_reader`).

A reader is a module with a function `read(root, config) -> Release`: `root` is the corpus folder (a Path), `config` has
the settings of `dataset` (`config.DatasetConfig`). The package's readers are the modules of `melt_ser.corpora.readers`
that have this function; they take precedence over other modules of the same name. Your own reader may be any other
module that Python can import: a file in the current folder for `python -m melt_ser.<verb>`, or one on PYTHONPATH.

    # my_reader.py, for files such as anna/sad_01.wav: the folder is the speaker, the first word is the label.
    from melt_ser.corpora.table import Release, Skipped, make_table

    def read(root, config):
        rows, skipped = [], []
        for path in sorted(root.glob("*/*.wav")):
            audio, speaker = path.relative_to(root).as_posix(), path.parent.name
            label, _, number = path.stem.partition("_")
            if number:
                name = f"{speaker}_{path.stem}"
                source = f"{config.name}/{name}"  # the recording; its rows all go into train, dev or test
                rows.append(dict(utterance=name, source=source, audio=audio, speaker=speaker, label=label))
            else:
                skipped.append(Skipped("", audio, "the name has no label"))
        return Release(make_table(rows), skipped)

Labels are mapped as for `dataset=csv`: common English words are known, and `dataset.label_map` gives the others. If the
reader raises an InputError or SetupError (`melt_ser.core.errors`), the user sees its sentence. Any other exception is a
bug of the reader and keeps its traceback.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from melt_ser.config import DatasetConfig
from melt_ser.core.errors import SetupError
from melt_ser.core.own_modules import import_own
from melt_ser.core.vocabulary import GENERAL_READERS
from melt_ser.corpora import readers
from melt_ser.corpora.table import Release, make_table


def find_reader(name: str) -> ModuleType:
    """Return the module that `dataset.reader` names; raise SetupError if there is none or it is no reader."""
    if is_in_package(name):
        return importlib.import_module(f"{readers.__name__}.{name}")
    return import_own(
        "dataset.reader", name, "reader", package_readers(), "read(root, config)", "melt_ser/corpora/reader.py"
    )


def read_with(reader: ModuleType, root: Path, config: DatasetConfig) -> Release:
    """Return the release that a reader reads; raise SetupError if it returns something else.

    A user's own reader may build its table by hand; `make_table` gives the table every column and its type.
    """
    release = reader.read(root, config)
    if not isinstance(release, Release):
        raise SetupError(
            f"dataset.reader '{config.reader}' returns {type(release).__name__} and not a Release; "
            f"end its read with: return Release(make_table(rows))."
        )
    if reader.__name__.rpartition(".")[0] != readers.__name__:
        release.table = make_table(release.table)
    return release


def is_own_corpus(config: DatasetConfig) -> bool:
    """Return whether the corpus is one of the user's own: read by a general or their own reader."""
    return config.reader in GENERAL_READERS or not is_in_package(config.reader)


def package_readers() -> list[str]:
    """Return the names of the package's readers."""
    names = [module.name for module in pkgutil.iter_modules(readers.__path__)]
    return [name for name in names if hasattr(importlib.import_module(f"{readers.__name__}.{name}"), "read")]


def is_in_package(name: str) -> bool:
    """Return whether melt_ser has a reader of this name; any other name is a module of the user's, found by import."""
    if not (name.isidentifier() and any((Path(folder) / f"{name}.py").is_file() for folder in readers.__path__)):
        return False
    return hasattr(importlib.import_module(f"{readers.__name__}.{name}"), "read")  # others help the readers
