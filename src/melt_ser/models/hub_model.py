"""A model that `push` has put on the Hugging Face hub: its files, from the cache or else from the hub.

A repository has the files of one saved model, or of several in `folds/<number>/model`, as in a run folder.
"""

from __future__ import annotations

from pathlib import Path

from melt_ser.cli.published_classifier import HUB
from melt_ser.core.errors import SetupError, one_line
from melt_ser.models.checkpoint_files import DESCRIPTION, why_not_downloaded
from melt_ser.models.quiet import quiet_hub

FOLDS = "folds/*/model"
WEIGHTS = ["*.json", "*.safetensors", "*.txt", "*.model"]  # neither the card nor its figures


def is_on_hub(run: Path) -> bool:
    """Return whether the place of a run is the hub."""
    return str(run).startswith(HUB)


def fetch_models(run: Path) -> dict[int | None, Path]:
    """Return the model folders of hub:<owner>/<name>, or hub:<owner>/<name>@<revision>, by the number of their fold.

    Files that the cache lacks are downloaded. The number is None if the repository has one model. Without a network,
    the newest state that the cache has is used.

    Raises SetupError if there is no such repository, or none that `push` has filled.
    """
    name, _, revision = str(run).removeprefix(HUB).partition("@")
    root = _download(name, revision or None, [DESCRIPTION, f"*/{DESCRIPTION}"])  # they are small: is it ours?
    found: dict[int | None, Path] = {None: root} if (root / DESCRIPTION).is_file() else {}
    if not found:
        places = [path for path in root.glob(FOLDS) if path.parent.name.isdecimal() and (path / DESCRIPTION).is_file()]
        found = {int(path.parent.name): path for path in sorted(places, key=lambda path: int(path.parent.name))}
    if not found:
        raise SetupError(
            f"{one_line(str(run))} has no {DESCRIPTION}, so melt_ser did not push it; score a published classifier "
            f"with `evaluate run={HUB}{one_line(name)}`, or label files with the pipeline of transformers."
        )
    _download(name, root.name, WEIGHTS)
    return found


def _download(name: str, revision: str | None, patterns: list[str]) -> Path:
    """Return the snapshot of a repository in the cache, with the files that match the patterns."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    quiet_hub()
    where = f"The model {HUB}{one_line(name)}{f'@{one_line(revision)}' if revision else ''}"
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except HFValidationError as error:
        raise SetupError(f"{where} is no name of the hub; give {HUB}<owner>/<name>.") from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise SetupError(
            f"{where} is not on the Hugging Face hub, or it is private; correct the name, or log in (hf auth login)."
        ) from error
    except Exception as error:  # the errors of the hub's client and of its HTTP library
        raise SetupError(
            f"{where} is not in the Hugging Face cache and {why_not_downloaded(error)}; connect once, or copy the "
            "cache of a machine that has it."
        ) from error
