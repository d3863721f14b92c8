"""A data set of the Hugging Face hub, downloaded once into the cache folder."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock

from melt_ser.core import files
from melt_ser.core.console import say
from melt_ser.core.errors import SetupError


def hub_folder(repository: str, revision: str | None, cache: Path) -> Path:
    """The folder of a data set, downloaded where it is not there whole; a stopped download goes on.

    What is there is never asked for again: without a revision, it is the newest one of the first time.
    """
    name = repository.replace("/", "--")
    folder = cache / "hub" / f"{name}-{files.sha256(f'{repository}@{revision}')[:12]}"
    if folder.is_dir():
        return folder
    unfinished = folder.with_name(folder.name + ".unfinished")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(folder.name + ".lock")):  # a second process waits for the first
            if not folder.is_dir():
                say(f"downloading the data set {repository} of the Hugging Face hub; its page states the licence")
                _download(repository, revision, unfinished)
                unfinished.rename(folder)
    except OSError as error:
        where = error.filename or unfinished
        raise SetupError(f"{where}: {error.strerror or error}; free space there or set MELT_SER_CACHE.") from None
    return folder


def _download(repository: str, revision: str | None, folder: Path) -> None:
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(repository, repo_type="dataset", revision=revision, local_dir=folder)
    except Exception as error:  # of many kinds, those of its HTTP library among them
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        raise SetupError(
            f"The data set {repository} cannot be downloaded ({reason}); get it where there is a network with "
            f"'hf download --repo-type dataset {repository} --local-dir <folder>' and set dataset.root=<folder>."
        ) from None
