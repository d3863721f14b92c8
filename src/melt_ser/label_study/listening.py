"""Build a blind listening test: which of two labels fits a clip better?

The folder has two parts. `share/` goes to the raters: a page, and the clips under random names. `key.json` stays with
you; only it tells the source of each label. The page shows the items in a different order for each rater, and the two
labels of an item in random order, drawn again for each rater.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile

from melt_ser.audio.decode import read_native
from melt_ser.audio.sound import Waveform
from melt_ser.core import files
from melt_ser.core.console import Progress
from melt_ser.core.counting import counted
from melt_ser.core.errors import InputError, SetupError
from melt_ser.core.vocabulary import SYNONYMS
from melt_ser.corpora.table import Skipped
from melt_ser.label_study.agreement import in_one_spelling
from melt_ser.label_study.label_pairs import LabelPairs, first_spellings
from melt_ser.label_study.rating_page import Question, load_words, rating_page

SCHEMA_VERSION = 1
SHARED, KEY = "share", "key.json"

Item = dict[str, Any]


def build(
    pairs: LabelPairs,
    root: Path,
    folder: Path,
    labels: Sequence[str] | None = None,
    *,
    clips: int,
    checks: int,
    longest: float,
    seed: int,
    words: dict[str, Any] | None = None,
    questions: Sequence[Question] = (),
) -> Item:
    """Write the folder and return the content of `key.json`.

    Args:
        pairs: two labels for each utterance; `audio` is a path below `root`, cut by `start` and `end` (seconds).
        root: the folder of the audio.
        folder: the folder to write.
        labels: the set; utterances with a label outside it are counted and not used. None: every label.
        clips: number of clips to judge, spread as evenly as possible over the second source's labels.
        checks: number of attention checks: items on further clips that tell the rater the label to choose.
        longest: seconds; longer clips and clips that cannot be decoded are skipped and listed in the key.
        seed: of the choice, the order and the sides.
        words: of the page (`load_words`); None: English.
        questions: about the rater.

    Raises SetupError if the folder exists or the labels have no column `audio`, InputError if clips are too few.
    """
    if folder.exists():
        raise SetupError(f"{folder} exists already; give another --out, or move it away.")
    if "audio" not in pairs.table:
        raise SetupError("The labels have no column 'audio'; give the corpus table that `prepare` wrote.")
    generator = np.random.default_rng(seed)
    candidates, left_out = _differing(pairs, labels)
    with files.replacing_folder(folder) as temporary, Progress("cutting clips", clips + checks) as shown:
        (temporary / SHARED / "clips").mkdir(parents=True)
        items: list[Item] = []
        skipped: list[Skipped] = []
        for row in _evenly(candidates, generator):
            if len(items) == clips + checks:
                break
            try:
                waveform, rate = cut_clip(row, root, longest)
            except InputError as error:
                skipped.append(Skipped(str(row.get("utterance", "")), str(row["audio"]), str(error)))
                continue
            item = _item(row, generator, {other["id"] for other in items})
            soundfile.write(temporary / SHARED / "clips" / f"{item['id']}.flac", waveform, rate, "PCM_16")
            items.append(item)
            shown.advance()
        if len(items) < clips + checks:
            unused = counted(len(skipped), "clip")
            first = f"; {unused} cannot be used, the first: {skipped[0].reason}" if skipped else "."
            raise InputError(
                f"The sources differ on {len(candidates)} utterances, too few for {clips} clips and {checks} checks: "
                f"set --clips and --checks, or check --root{first}"
            )
        for item in items[clips:]:
            item["check"] = item["labels"][int(generator.integers(2))]
        key = _key(pairs, items, left_out, skipped, seed)
        files.write_json(temporary / KEY, key)
        shown_items = sorted(items, key=lambda item: str(item["id"]))  # not in the order of the draw
        shown_items = [{name: item[name] for name in ("id", "labels", "check")} for item in shown_items]
        page = rating_page("listening", key["study"], shown_items, words or load_words("en"), questions)
        files.write_text(temporary / SHARED / "index.html", page)
    return key


def _differing(pairs: LabelPairs, labels: Sequence[str] | None) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the pairs with two different labels, and the number of other pairs, by reason.

    Labels have one spelling, that of the set or else the first: JOY beside sadness would tell the source.
    """
    spelled = first_spellings([*(labels or ()), *pairs.table["first"], *pairs.table["second"]])
    sides = {side: in_one_spelling(pairs.table[side], spelled) for side in ("first", "second")}
    table, left_out = pairs.table.assign(**sides), dict(pairs.left_out)
    meant = table[["first", "second"]].map(lambda label: SYNONYMS.get(label.casefold(), label))  # angry = anger
    for reason, rows in (
        ("both sources say the same", meant["first"] == meant["second"]),
        ("a label outside the set", ~(table[["first", "second"]].isin(labels or []).all(axis=1) | (labels is None))),
    ):
        left_out |= {reason: int(rows[table.index].sum())} if rows[table.index].any() else {}
        table = table[~rows[table.index]]
    return table, left_out


def _evenly(table: pd.DataFrame, generator: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Yield all rows in random order, the second source's labels in turn."""
    drawn = table.iloc[generator.permutation(len(table))]
    turn = drawn.groupby("second").cumcount()
    for row in drawn.iloc[turn.argsort(kind="stable")].to_dict("records"):
        yield {str(name): value for name, value in row.items()}


def cut_clip(row: dict[str, Any], root: Path, longest: float) -> tuple[Waveform, int]:
    """Return samples at the recording's own rate, scaled down if they exceed full scale, and the rate."""
    path = root / str(row["audio"])
    try:
        start, end = (float(row[name]) if row.get(name) else None for name in ("start", "end"))
    except ValueError:
        raise InputError(f"{path}: start and end are not times in seconds.") from None
    waveform, rate = read_native(path, start, end, longest)
    return waveform / max(1.0, float(np.abs(waveform).max())), rate


def _item(row: dict[str, Any], generator: np.random.Generator, taken: set[str]) -> Item:
    """Return an item under a random name that is not `taken`, its labels in random order."""
    name = random_name(generator, taken)
    labels = [row["first"], row["second"]]
    generator.shuffle(labels)
    source = {column: str(row[column]) for column in ("utterance", "audio", "start", "end") if row.get(column)}
    return {"id": name, "labels": labels, "check": None, "first": row["first"], "second": row["second"], **source}


def random_name(generator: np.random.Generator, taken: set[str]) -> str:
    """Return a name that is not among those `taken`."""
    while (name := generator.bytes(4).hex()) in taken:
        pass
    return name


def _key(pairs: LabelPairs, items: list[Item], left_out: dict[str, int], skipped: list[Skipped], seed: int) -> Item:
    shown = json.dumps([[item["id"], item["labels"], item["check"]] for item in items])
    return {
        "schema_version": SCHEMA_VERSION,
        "study": files.sha256(shown)[:12],
        "seed": seed,
        "sources": {"first": pairs.names[0], "second": pairs.names[1]},
        "left_out": left_out,
        "problems": [asdict(clip) for clip in skipped],
        "items": items,
    }
