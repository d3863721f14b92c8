"""What `push` uploads of a run: a list of files that is made before anything leaves the machine.

By default that is the model with its card and figures. Not by default: `predictions` and `splits.csv`, since they name
the recordings and speakers of a corpus, with their labels. Never: `result.json` (it has the sentences and speakers of a
corpus and paths of the machine), `config.yaml` (paths), logs and checkpoints.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from melt_ser.core.errors import SetupError
from melt_ser.core.package import students_folder
from melt_ser.evaluation.results import Result
from melt_ser.models.checkpoint_files import CONFIG, DESCRIPTION, EXTRACTOR, TEXT_ENCODER, TOKENIZER
from melt_ser.runs.card_metadata import benchmark_files
from melt_ser.runs.folder import model_folders
from melt_ser.runs.model_card import BENCHMARKS, CARD, card_text, figures_of
from melt_ser.runs.origins import is_student, origins

REVEALING = {"predictions": "predictions/*.csv", "splits": "splits.csv"}  # only if the user asks for them
STUDENT_CARD = ("README.md", "speech.md")
LICENCE_SETTINGS = {"checkpoint": "backbone.licence", "corpus": "dataset.licence"}


@dataclass(frozen=True)
class Upload:
    """A file of the repository: its path there, and the file here or its content."""

    path: str
    source: Path | bytes

    @property
    def size(self) -> int:
        """Return the size in bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size


@dataclass(frozen=True)
class Wishes:
    """What the user decided: see the options of `push`."""

    repository: str
    fold: int | None = None
    include: Sequence[str] = ()
    licence: str | None = None
    permission: str | None = None


def check_licences(result: Result, permission: str | None) -> None:
    """Raise SetupError if a licence does not plainly let the model be passed on, and no permission is stated."""
    objected = [origin for origin in origins(result) if origin.objection]
    if objected and not (permission or "").strip():
        reasons = "; ".join(
            f"the {origin.kind} {origin.name} has a licence that {origin.objection}"
            + (f": '{origin.licence}'" if origin.licence else "")
            for origin in objected
        )
        settings = " or ".join(
            dict.fromkeys(LICENCE_SETTINGS[one.kind] for one in objected if one.kind in LICENCE_SETTINGS)
        )
        fix = f" If the licence is another, state it with {settings} of train." if settings else ""
        raise SetupError(
            f"This model is not pushed: {reasons}. If you may share a model that learned from it, say why with "
            f"--permission '<sentence>', which the card will show.{fix}"
        )


def uploads(folder: Path, result: Result, wishes: Wishes) -> list[Upload]:
    """Return the files to upload, in order of their paths.

    Raises SetupError if there is no such fold, or a file is missing.
    """
    models = model_folders(folder, result)
    chosen = [(number, path) for number, path in models if wishes.fold is None or number == wishes.fold]
    if not chosen:
        numbers = ", ".join(str(number) for number, _ in models if number is not None)
        raise SetupError(
            f"{folder} has no fold {wishes.fold}; {f'choose from: {numbers}' if numbers else 'it has none'}."
        )
    found: list[Upload] = []
    for _, path in chosen:
        place = f"{path.relative_to(folder).as_posix()}/" if len(chosen) > 1 else ""
        found += [Upload(f"{place}{file.relative_to(path).as_posix()}", file) for file in _model_files(path)]
    found += [Upload(figure.path, folder / figure.path) for figure in figures_of(folder, result)]
    found += [Upload(f"{BENCHMARKS}/{name}", text.encode()) for name, text in benchmark_files(result).items()]
    if is_student(result):
        found += [Upload(f"students/{name}", students_folder() / name) for name in STUDENT_CARD]
    for name in wishes.include:
        found += [Upload(path.relative_to(folder).as_posix(), path) for path in sorted(folder.glob(REVEALING[name]))]
    card = card_text(
        folder,
        result,
        wishes.repository,
        wishes.licence,
        wishes.permission,
        wishes.fold,
        reveals=bool(wishes.include),
    )
    return sorted([Upload(CARD, card.encode()), *found], key=lambda upload: upload.path)


def _model_files(folder: Path) -> list[Path]:
    """Return the files of a saved model; nothing else that lies in its folder."""
    if not (folder / DESCRIPTION).is_file():
        raise SetupError(f"{folder} has no {DESCRIPTION}; the run lacks its model, so train it again with force=true.")
    files = (path for place in (folder, folder / TEXT_ENCODER) for path in place.glob("*") if path.is_file())
    return sorted(path for path in files if _is_of_a_model(path.name))


def is_model_file(path: str) -> bool:
    """Return whether a path in a repository is that of a saved model's file, as `uploads` names them."""
    found = re.fullmatch(rf"(?:folds/\d+/model/)?(?:{TEXT_ENCODER}/)?([^/]+)", path)
    return found is not None and _is_of_a_model(found[1])


def _is_of_a_model(name: str) -> bool:
    named = name in {CONFIG, DESCRIPTION, *EXTRACTOR, *TOKENIZER}
    return named or name.endswith((".safetensors", ".safetensors.index.json"))
