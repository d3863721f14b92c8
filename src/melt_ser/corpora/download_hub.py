"""A data set of the Hugging Face hub, downloaded once into the cache folder."""

from __future__ import annotations

from pathlib import Path

from melt_ser import files
from melt_ser.errors import SetupError


def hub_folder(repository: str, revision: str | None, cache: Path) -> Path:
    """The folder of a data set, downloaded where it is not there whole; a stopped download goes on.

    What is there is never asked for again: without a revision, it is the newest one of the first time.
    """
    name = repository.replace("/", "--")
    folder = cache / "hub" / f"{name}-{files.sha256(f'{repository}@{revision}')[:12]}"
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    unfinished = folder.with_name(folder.name + ".unfinished")
    try:
        snapshot_download(repository, repo_type="dataset", revision=revision, local_dir=unfinished)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        raise SetupError(
            f"The data set {repository} cannot be downloaded ({reason}); get it where there is a network with "
            f"'hf download --repo-type dataset {repository} --local-dir <folder>' and set dataset.root=<folder>."
        ) from None
    unfinished.rename(folder)
    return folder
