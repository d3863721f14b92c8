"""The notebooks are stored without outputs, use the public library alone, and run on small runs."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

import melt_ser
from checkout import CHECKOUT
from corpus_trees import meld_row, meld_tree, melt_row, melt_tables, tone
from melt_ser.cli.compose import compose
from small_runs import SMALL, outcome

NOTEBOOKS = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))
TINY = [override for override in SMALL if not override.startswith("backbone=")]
EMOTIONS = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two backbones with two seeds on the embedded corpora, and one run for each label source of a generated MELT."""
    folder = tmp_path_factory.mktemp("notebooks")
    out = folder / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MELT_SER_CACHE", str(folder / "cache"))
        for backbone, seed in itertools.product(("hubert_tiny_random", "wavlm_tiny_random"), (0, 1)):
            train(f"backbone={backbone}", f"seed={seed}", "eval.corpora=[demo,demo_de]", f"out={out / 'demo'}")
        melt(folder / "melt")
        roots = ",".join(f"{name}:{folder / 'melt'}" for name in ("melt", "melt_human"))
        for source in ("melt", "melt_human"):
            typed = [f"dataset={source}", "labels=seven", "eval.corpora=[melt,melt_human]", f"+eval.roots={{{roots}}}"]
            train("backbone=hubert_tiny_random", *typed, f"out={out / 'melt'}")
    return out


def train(*overrides: str) -> None:
    from melt_ser.runs.run import run

    run(compose([*TINY, "trainer=frozen", "trainer.epochs=2", *overrides]))


def melt(root: Path) -> None:
    """Write a MELT of tones. The pitch is MELD's label; every third utterance has another label by "GPT-4o"."""
    numbers = itertools.count()

    def write(path: Path) -> None:
        number = next(numbers)
        tone(path, 0.3, frequency=200 + 70 * (number % 7) + number)

    rows = {
        split: [
            meld_row(dialogue, utterance, ("Ross", "Joey", "Phoebe")[utterance % 3], EMOTIONS[utterance])
            for dialogue, utterance in itertools.product(range(dialogues), range(7))
        ]
        for split, dialogues in (("train", 8), ("test", 3))
    }
    meld_tree(root, rows, write)
    other = {emotion: EMOTIONS[number - 1] for number, emotion in enumerate(EMOTIONS)}
    melt_tables(
        root,
        {
            split: [melt_row(row, row[3] if number % 3 else other[row[3]]) for number, row in enumerate(part)]
            for split, part in rows.items()
        },
    )


def executed(notebook: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, int]:
    """Run a notebook; return the text that it prints and shows, and the number of its pictures."""
    monkeypatch.setenv("MELT_SER_RUNS", str(runs))
    book = nbformat.read(notebook, as_version=4)
    resources = {"metadata": {"path": notebook.parent}}
    # The limits in seconds are for a busy machine: to start the kernel, and for the last output of a cell.
    NotebookClient(
        book, timeout=None, startup_timeout=600, iopub_timeout=600, kernel_name="python3", resources=resources
    ).execute()
    outputs: list[Any] = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [output.get("data", {}) for output in outputs]
    text = "".join(output.get("text", "") for output in outputs) + "".join(
        str(one.get("text/html", "")) for one in shown
    )
    return text, sum("image/png" in one for one in shown)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(notebook: Path) -> None:
    book = nbformat.read(notebook, as_version=4)
    nbformat.validate(book)
    for cell in book.cells:
        assert cell.get("outputs", []) == [] and cell.get("execution_count") is None and cell.metadata == {}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_uses_the_public_library_alone(notebook: Path) -> None:
    code = "\n".join(cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code")
    assert "import melt_ser\n" in code and "from melt_ser" not in code and "import melt_ser." not in code
    assert set(re.findall(r"melt_ser\.(\w+)", code)) <= set(melt_ser.__all__)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "part"), [("start_here", "demo"), ("compare_two_backbones", "demo"), ("melt_against_meld_labels", "melt")]
)
def test_a_notebook_runs_and_changes_no_run(
    runs: Path, name: str, part: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = outcome(runs)
    text, pictures = executed(next(path for path in NOTEBOOKS if path.stem == name), runs / part, monkeypatch)
    assert outcome(runs) == before
    assert pictures >= 2 and "nan" not in text
    if name == "start_here":
        [(again, stored)] = re.findall(r"mean recall ([\d.]+), UA in the result ([\d.]+)", text)
        assert again == stored
        assert text.count("demo_de") >= 8, "a row for each run and protocol"
    elif name == "compare_two_backbones":
        assert len(re.findall(r"^demo(_de)?: \w+ \(demo\) is ahead.* p = ", text, flags=re.MULTILINE)) == 2
    else:
        assert "21 test utterances: the sources agree on 66.7%" in text
        assert "MELT less MELD" in text


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_without_runs_names_the_command(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CellExecutionError, match=r"There (is|are) no .* below "):
        executed(notebook, tmp_path, monkeypatch)
