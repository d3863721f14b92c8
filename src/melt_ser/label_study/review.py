"""Let people review the lines that a model is least sure of, or that label sources dispute most.

The folder is like that of a listening test: `share/` with the page (and clips, if the audio is at hand) goes to the
raters, `key.json` stays with you. The page shows a line with the lines before it, and each source's label with its
confidence, so it is no blind test: people tend to agree with what they are shown.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import soundfile

from melt_ser.annotation.consensus import majority
from melt_ser.core import files
from melt_ser.core.console import Progress
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.label_file import read_labelled
from melt_ser.corpora.lines import LABEL_COLUMN, Line, earlier_lines
from melt_ser.label_study.label_pairs import distinct_names, first_spellings
from melt_ser.label_study.listening import KEY, SCHEMA_VERSION, SHARED, cut_clip, random_name
from melt_ser.label_study.rating_page import Question, rating_page

BEFORE = 5  # lines of the dialogue before the marked one
LONGEST = 60.0  # seconds of a clip
MOST_LABELS = 60  # buttons of a page
CONFIDENCE = "confidence_"  # prefix of the labels file's columns, one for each label of the prompt


class Said(msgspec.Struct, frozen=True):
    """The label of a source ("": none) and its confidence, in 0..1, if the file has one."""

    source: str  # "" if there is one source
    label: str
    confidence: float | None


class ReviewItem(msgspec.Struct, frozen=True):
    """A line to review."""

    id: str
    utterance: str
    text: str
    speaker: str
    said: list[Said]
    labels: list[str]


class ReviewKey(msgspec.Struct, frozen=True):
    """`key.json` of a review."""

    schema_version: int
    study: str
    sources: list[str]  # the labels files
    items: list[ReviewItem]
    kind: str = "review"


def build_review(
    paths: Sequence[Path],
    folder: Path,
    lines: int,
    root: Path | None,
    words: dict[str, Any],
    questions: Sequence[Question] = (),
    seed: int = 0,
) -> tuple[ReviewKey, list[str]]:
    """Write the folder; return the key, and a sentence for each clip that cannot be used.

    Args:
        paths: labels files. Of one, the lines with the lowest confidence are reviewed, lines without a label first; of
            several, the lines whose labels differ most (by entropy), of equally disputed ones the least certain.
        folder: the folder to write.
        lines: the number of lines.
        root: the folder of the audio, if the files have the column audio; None: without clips.
        words: of the page (`load_words`).
        questions: about the rater.
        seed: of the choice among equally certain lines.

    Raises SetupError if the folder exists or the audio has no column, InputError if a file is no labels file or there
    are too many labels.
    """
    if folder.exists():
        raise SetupError(f"{folder} exists already; give another --out, or move it away.")
    sources = [{line.utterance: line for line in read_labelled(path)} for path in paths]
    labels = _labels_of(sources)
    names = distinct_names(paths) if len(paths) > 1 else [""]
    given = {name: _said(name, sources, names) for source in sources for name in source}
    generator = np.random.default_rng(seed)
    chosen = _least_certain(given, labels, lines, generator)
    of_line = {name: line for source in reversed(sources) for name, line in source.items()}
    before = earlier_lines(list(of_line.values()), BEFORE)
    items: list[ReviewItem] = []
    shown: list[dict[str, Any]] = []
    problems: list[str] = []
    with files.replacing_folder(folder) as temporary, Progress("writing the review", len(chosen)) as progress:
        (temporary / SHARED / "clips").mkdir(parents=True)
        for name in chosen:
            line, said = of_line[name], given[name]
            code = random_name(generator, {one.id for one in items})
            item = ReviewItem(code, name, line.text, line.speaker, said, labels)
            clip = temporary / SHARED / "clips" / f"{code}.flac"
            problem = None if root is None else _write_clip(line, root, clip)
            problems += [problem] if problem else []
            earlier = [{"speaker": one.speaker, "text": one.text} for one in before[name]]
            entry = {key: value for key, value in msgspec.to_builtins(item).items() if key != "utterance"}
            shown.append(entry | {"before": earlier, "check": None, "clip": root is not None and problem is None})
            items.append(item)
            progress.advance()
        study = files.sha256(json.dumps(msgspec.to_builtins(items)))[:12]
        key = ReviewKey(SCHEMA_VERSION, study, distinct_names(paths), items)
        files.write_json(temporary / KEY, msgspec.to_builtins(key))
        files.write_text(temporary / SHARED / "index.html", rating_page("review", study, shown, words, questions))
    return key, problems


def _labels_of(sources: Sequence[dict[str, Line]]) -> list[str]:
    """Return the labels to choose from: those of the prompts, if files name them, and all that occur."""
    lines = [line for source in sources for line in source.values()]
    columns = dict.fromkeys(column for line in lines for column in line.columns)
    of_prompt = [column.removeprefix(CONFIDENCE) for column in columns if column.startswith(CONFIDENCE)]
    # As the files spell them; the names of columns are in lower case.
    spelled = first_spellings(sorted({line.columns[LABEL_COLUMN] for line in lines} - {""}))
    labels = {label.casefold(): spelled.get(label.casefold(), label) for label in of_prompt} | spelled
    if not 2 <= len(labels) <= MOST_LABELS:
        raise InputError(
            f"The labels files have {len(labels)} different labels, and a page shows 2 to {MOST_LABELS}; give labels "
            f"files of one label set."
        )
    return list(labels.values())


def _said(name: str, sources: Sequence[dict[str, Line]], names: Sequence[str]) -> list[Said]:
    return [
        Said(shown, source[name].columns[LABEL_COLUMN], _confidence(source[name]))
        for source, shown in zip(sources, names, strict=True)
        if name in source
    ]


def _confidence(line: Line) -> float | None:
    try:
        value = float(line.columns.get("confidence", ""))
    except ValueError:
        return None
    return value if 0.0 <= value <= 1.0 else None


def _least_certain(
    given: dict[str, list[Said]], labels: list[str], lines: int, generator: np.random.Generator
) -> list[str]:
    """Return the utterances to review, the most disputed and the least certain first."""
    order = dict(zip(given, generator.permutation(len(given)).tolist(), strict=True))

    def key(name: str) -> tuple[float, float, int]:
        said = given[name]
        disputed = majority([one.label.casefold() or None for one in said], labels).entropy
        sure = [one.confidence if one.label else 0.0 for one in said]
        known = [value for value in sure if value is not None]
        return -disputed, sum(known) / len(known) if known else 1.0, order[name]

    return sorted(given, key=key)[:lines]


def _write_clip(line: Line, root: Path, path: Path) -> str | None:
    """Write a line's clip; return the reason if there is none."""
    if not line.columns.get("audio"):
        raise SetupError(
            "--root needs labels of a table with the column audio, and these have none; leave it out, or annotate with "
            "--audio COLUMN."
        )
    whole = {} if line.columns.get("end") else {"start": ""}  # without an end, a start only orders the lines
    try:
        waveform, rate = cut_clip({**line.columns, **whole}, root, LONGEST)
    except InputError as error:
        return str(error)
    soundfile.write(path, waveform, rate, "PCM_16")
    return None
