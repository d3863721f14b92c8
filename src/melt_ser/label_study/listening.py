"""A blind listening test: which of two labels fits a clip better?

The folder has two parts. `share/` goes to the raters: a page, and the clips under names that say nothing. `key.json`
stays behind: it alone says which source gave which label. The page shows an item's two labels in a drawn order that it
turns about again for each rater, and the items in an order of the rater's own.
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

from melt_ser.audio.decode import Waveform, read_native
from melt_ser.core import files
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.labels import SYNONYMS
from melt_ser.corpora.table import Skipped
from melt_ser.label_study.label_pairs import LabelPairs
from melt_ser.reporting.pages import render, script

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
) -> Item:
    """Write the folder; returns its key.

    Args:
        pairs: two labels an utterance; the table's `audio` is a path below `root`, `start` and `end` (seconds) cut it.
        labels: the set; utterances with a label outside it are counted and not used. None: whatever is a label.
        clips: how many clips to judge, as evenly over the second source's labels as may be.
        checks: how many items tell the rater what to choose, on further clips.
        longest: clips of more seconds are passed over, as are those that cannot be decoded; the key lists them.

    Raises SetupError where the folder is there already, InputError where there are not enough clips.
    """
    if folder.exists():
        raise SetupError(f"{folder} is there already; give another --out, or move it away.")
    if "audio" not in pairs.table:
        raise SetupError("The labels have no column 'audio'; give the corpus table that `prepare` wrote.")
    generator = np.random.default_rng(seed)
    candidates, left_out = _differing(pairs, labels)
    with files.replacing_folder(folder) as temporary:
        (temporary / SHARED / "clips").mkdir(parents=True)
        items: list[Item] = []
        problems: list[Skipped] = []
        for row in _evenly(candidates, generator):
            if len(items) == clips + checks:
                break
            try:
                waveform, rate = _clip(row, root, longest)
            except InputError as error:
                problems.append(Skipped(str(row.get("utterance", "")), str(row["audio"]), str(error)))
                continue
            item = _item(row, generator, {one["id"] for one in items})
            soundfile.write(temporary / SHARED / "clips" / f"{item['id']}.flac", waveform, rate, "PCM_16")
            items.append(item)
        if len(items) < clips + checks:
            first = f"; {len(problems)} clips cannot be used, the first: {problems[0].reason}" if problems else "."
            raise InputError(
                f"The sources differ on {len(candidates)} utterances, and {clips} clips and {checks} checks are asked "
                f"for: set --clips and --checks, or check --root{first}"
            )
        for item in items[clips:]:
            item["check"] = item["labels"][int(generator.integers(2))]
        key = _key(pairs, items, left_out, problems, seed)
        files.write_json(temporary / KEY, key)
        files.write_text(temporary / SHARED / "index.html", _page(key))
    return key


def _differing(pairs: LabelPairs, labels: Sequence[str] | None) -> tuple[pd.DataFrame, dict[str, int]]:
    """The pairs to choose between, and why others are not used."""
    table, left_out = pairs.table, dict(pairs.left_out)
    meant = table[["first", "second"]].map(lambda label: SYNONYMS.get(label.casefold(), label))  # angry is anger
    for reason, rows in (
        ("both sources say the same", meant["first"] == meant["second"]),
        ("a label outside the set", ~(table[["first", "second"]].isin(labels or []).all(axis=1) | (labels is None))),
    ):
        left_out |= {reason: int(rows[table.index].sum())} if rows[table.index].any() else {}
        table = table[~rows[table.index]]
    return table, left_out


def _evenly(table: pd.DataFrame, generator: np.random.Generator) -> Iterator[dict[str, Any]]:
    """All rows in a drawn order, one of each of the second source's labels in turn."""
    drawn = table.iloc[generator.permutation(len(table))]
    turn = drawn.groupby("second").cumcount()
    for row in drawn.iloc[turn.argsort(kind="stable")].to_dict("records"):
        yield {str(name): value for name, value in row.items()}


def _clip(row: dict[str, Any], root: Path, longest: float) -> tuple[Waveform, int]:
    """An utterance's samples at the recording's own rate, for the ears; louder than full scale it is turned down."""
    path = root / str(row["audio"])
    try:
        start, end = (float(row[name]) if row.get(name) else None for name in ("start", "end"))
    except ValueError:
        raise InputError(f"{path}: start and end are no times in seconds.") from None
    waveform, rate = read_native(path, start, end, longest)
    return waveform / max(1.0, float(np.abs(waveform).max())), rate


def _item(row: dict[str, Any], generator: np.random.Generator, taken: set[str]) -> Item:
    name = generator.bytes(4).hex()
    while name in taken:
        name = generator.bytes(4).hex()
    labels = [row["first"], row["second"]]
    generator.shuffle(labels)
    about = {column: str(row[column]) for column in ("utterance", "audio", "start", "end") if row.get(column)}
    return {"id": name, "labels": labels, "check": None, "first": row["first"], "second": row["second"], **about}


def _key(pairs: LabelPairs, items: list[Item], left_out: dict[str, int], problems: list[Skipped], seed: int) -> Item:
    shown = json.dumps([[item["id"], item["labels"], item["check"]] for item in items])
    return {
        "schema_version": SCHEMA_VERSION,
        "study": files.sha256(shown)[:12],
        "seed": seed,
        "sources": {"first": pairs.names[0], "second": pairs.names[1]},
        "left_out": left_out,
        "problems": [asdict(problem) for problem in problems],
        "items": items,
    }


def _page(key: Item) -> str:
    """The page, which knows an item's name, its two labels in a drawn order, and what a check says."""
    items = sorted(key["items"], key=lambda item: str(item["id"]))  # not in the order in which they were chosen
    shown = [{name: item[name] for name in ("id", "labels", "check")} for item in items]
    text, digest = script("listening.js")
    study = json.dumps({"id": key["study"], "items": shown}, ensure_ascii=False)
    checks = sum(item["check"] is not None for item in items)
    return render("listening.html", study=study, checks=checks, script=text, script_hash=digest)
