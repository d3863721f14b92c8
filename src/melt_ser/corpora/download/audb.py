"""Load a database of audb by its name and version, into audb's own cache, which other programs of audb share.

audb finds the name in the repositories of `~/.config/audb.yaml`, or in audeering's public ones.
Source: audeering.github.io/audb.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from melt_ser.core.console import say
from melt_ser.core.errors import SetupError, first_line


@cache  # audb reads all tables of a database to find that it is complete
def audb_folder(name: str, version: str | None) -> Path:
    """Return the folder of a database in audb's cache; load the files that it lacks.

    A database that is complete in the cache needs no network. Raises SetupError if audb is not installed, the version
    is not given (the newest may change between two runs), or the database cannot be loaded.
    """
    try:
        import audb
    except ImportError:
        raise SetupError(
            "dataset.repository of an audformat database needs audb: pip install 'melt-ser[audb]'."
        ) from None
    try:
        if version is None:
            newest = audb.latest_version(name)
            raise SetupError(f"The audb database '{name}' needs its version: dataset.revision={newest} is the newest.")
        say(f"audb: {name} {version}; its header states the licence")
        return Path(audb.load(name, version=version, full_path=False, verbose=False).root)
    except (RuntimeError, OSError, ValueError) as error:  # no such name or version; no network, or no space
        raise SetupError(
            f"audb cannot load the database '{name}' ({first_line(error)}); check dataset.repository, dataset.revision "
            f"and the repositories in ~/.config/audb.yaml, or set dataset.root to its folder."
        ) from None
