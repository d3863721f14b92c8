"""Write the model card of a finished run, `model/README.md`, with its figures and its files for programs.

    model/README.md                     the card: front matter with `model-index`, and the text
    model/figures/                      copies of the run's figures that a page can show
    model/.eval_results/<corpus>.yaml   for corpora of the Hugging Face hub

The card follows from the result alone, without times and paths, so that a resumed run ends with the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from melt_ser.core import files
from melt_ser.evaluation.results import Result
from melt_ser.models.checkpoint_files import HEAD_WEIGHTS
from melt_ser.runs.card_facts import card_facts
from melt_ser.runs.card_metadata import benchmark_files, card_data
from melt_ser.runs.folder import model_folders
from melt_ser.runs.run_figures import title_of

CARD, FIGURES, BENCHMARKS = "README.md", "figures", ".eval_results"
CARD_FOLDER = "model"  # in the run folder; with several folds it has the card alone
LONGEST_COMMAND = 88  # characters that a card shows in a line
WORD = re.compile(r"""(?:[^\s'"]|'[^']*'|"[^"]*")+""")
LARGEST_FIGURE = 1_000_000  # bytes
SHOWN = (".png", ".svg")  # the formats that a page shows


@dataclass(frozen=True)
class Figure:
    """A figure of the card: its title, and its path beside the card."""

    title: str
    path: str


def write_card(folder: Path, result: Result) -> None:
    """Write the card of a finished run, and what stands beside it; files that need no change stay untouched.

    A published classifier, which was trained elsewhere, gets none.
    """
    if result.is_published:
        return
    place = folder / CARD_FOLDER
    wanted = {CARD: card_text(folder, result).encode("utf-8", errors="surrogateescape")}
    wanted |= {figure.path: (folder / figure.path).read_bytes() for figure in figures_of(folder, result)}
    wanted |= {f"{BENCHMARKS}/{name}": text.encode() for name, text in benchmark_files(result).items()}
    for kept in (FIGURES, BENCHMARKS):
        for path in (place / kept).glob("*"):
            if path.relative_to(place).as_posix() not in wanted:
                path.unlink()
    for name, content in wanted.items():
        path = place / name
        if not (path.is_file() and path.read_bytes() == content):
            with files.replacing_file(path) as temporary:
                temporary.write_bytes(content)


def card_text(
    folder: Path,
    result: Result,
    repository: str | None = None,
    licence: str | None = None,
    permission: str | None = None,
    fold: int | None = None,
    reveals: bool = False,
) -> str:
    """Return the card of a finished run.

    Args:
        folder, result: the run.
        repository: the hub's owner/name, if it is known.
        licence: the hub's identifier of the licence that the owner of the model chose.
        permission: why the model may be passed on although a licence does not plainly say so.
        fold: the number of the model that the card is about; None: all of them.
        reveals: whether files that name recordings of a corpus stand beside the card.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    models = [path for number, path in model_folders(folder, result) if fold is None or number == fold]
    is_plain = len(models) == 1 and (models[0] / "config.json").is_file() and not (models[0] / HEAD_WEIGHTS).is_file()
    name = (repository or f"{result.config['backbone']['name']}-{result.train.corpus}").rpartition("/")[2]
    known = card_facts(result, permission)
    facts: Mapping[str, object] = known | {
        "title": name,
        "figures": figures_of(folder, result),
        "loads_in_transformers": is_plain,
        "models": len(models),
        "is_here": repository is None,
        "repository": repository or "<run>/model",  # the place of a single model, which transformers loads
        "place": f"hub:{repository}" if repository else "<run>",
        "command": _in_lines(str(known["command"])) if known["command"] else "",
        "exception": " but in `predictions` and `splits.csv`" if reveals else "",
    }
    environment = Environment(
        loader=PackageLoader("melt_ser.runs"), undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True
    )
    body = environment.get_template("model_card.md").render(facts)
    return f"---\n{card_data(result, name, is_plain, licence).to_yaml()}\n---\n\n{body}"


def _in_lines(command: str) -> str:
    """Return a command of the shell with a line for each setting if it is too long for a line of a page."""
    words = WORD.findall(command)
    if len(command) <= LONGEST_COMMAND or " ".join(words) != command:
        return command
    python, *settings = " ".join(words[:3]), *words[3:]
    return " \\\n  ".join([python, *settings])


def figures_of(folder: Path, result: Result) -> list[Figure]:
    """Return the figures of a run that its card shows: the confusion on each corpus, and the training curve."""
    titles = {f"confusion_{Path(row.predictions).stem}": f"Confusion: {title_of(row)}" for row in result.closed_evals()}
    titles |= {f"ratings_{Path(row.predictions).stem}": f"Ratings: {row.corpus}" for row in result.whole_ratings()}
    titles["training_curve"] = "Training curve"
    found = []
    for stem, title in titles.items():
        paths = (folder / FIGURES / f"{stem}{suffix}" for suffix in SHOWN)
        path = next((path for path in paths if path.is_file() and path.stat().st_size <= LARGEST_FIGURE), None)
        if path is not None:
            found.append(Figure(title, path.relative_to(folder).as_posix()))
    return found
