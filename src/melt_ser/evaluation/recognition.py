"""The words of a corpus by a recogniser, in batches of similar length, each heard once and then cached.

The cache is a file for each recogniser, `words/<digest>.jsonl` in the cache folder, to which each batch adds its lines:
a killed command goes on there, and a corpus with the same audio finds its words. A clip that is longer than the
recogniser hears is cut into equal windows; a word at a cut may be lost.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from melt_ser.core import files
from melt_ser.core.console import Progress, say
from melt_ser.core.locks import exclusive_lock
from melt_ser.core.memory import memory_advice
from melt_ser.core.package import cache_folder
from melt_ser.corpora.corpus import Corpus
from melt_ser.data.audio_cache import clip_names
from melt_ser.data.batches import SortedBatches
from melt_ser.data.datasets import WaveformDataset
from melt_ser.data.loading import AheadLoader
from melt_ser.models.recogniser import SECONDS, Recogniser

VERSION = 1  # raise it if the same recogniser comes to hear other words
NO_SPEECH = re.compile(r"\[[^\]]*\]|\([^)]*\)|[♪♫]")  # as in Whisper's own scoring: [Music], (laughs)


def heard_words(corpus: Corpus, recogniser: Recogniser, language: str | None, batch_size: int) -> list[str]:
    """Return the words of each row of `corpus.table`; "" if nothing was heard, or only what is no speech ([Music]).

    language: the code of the language that is spoken; None: that of each row, if the recogniser knows it.

    Raises SetupError for a language that the recogniser does not know, OutputError if the cache cannot be written.
    """
    recogniser.check_language(language)
    windows = _windows(corpus.table, _languages(corpus, recogniser, language))
    path = cache_folder() / "words" / f"{files.sha256(f'{VERSION} {recogniser.digest}')[:20]}.jsonl"
    with exclusive_lock(path, waits=True):
        known, sound = _read(path)
        rest = windows[~windows["key"].isin(list(known))].drop_duplicates("key")
        if len(rest):
            known |= _hear(rest, corpus.root, recogniser, batch_size, path, sound)
    words = windows["key"].map(known).map(lambda text: NO_SPEECH.sub(" ", text).strip())
    joined = words.groupby(windows["row"]).agg(lambda parts: " ".join(part for part in parts if part))
    return [str(text) for text in joined]


def _languages(corpus: Corpus, recogniser: Recogniser, language: str | None) -> pd.Series:
    """Return the code that the recogniser is told for each row; "" if it finds the language out, or needs none."""
    known = recogniser.languages
    own = corpus.table["language"].where(corpus.table["language"] != "", corpus.config.language)
    spoken = own.str.partition("-")[0].str.lower() if language is None else pd.Series(language, own.index)
    if not known and (others := int((~spoken.isin(["en", ""])).sum())):
        say(f"note: {recogniser.name} knows English alone, and {others} of {len(own)} utterances are in others.")
    return spoken.where(spoken.isin(known), "")


def _windows(table: pd.DataFrame, languages: pd.Series) -> pd.DataFrame:
    """Return the rows of a table, those beyond SECONDS as several, with the number of their `row` and a `key`."""
    counts = np.maximum(np.ceil(table["duration"].to_numpy() / SECONDS - 1e-4), 1).astype(int)
    windows = table.assign(row=np.arange(len(table)), language=languages, clip=clip_names(table).to_pylist())
    windows = windows.loc[table.index.repeat(counts)].reset_index(drop=True)
    number, of = windows.groupby("row").cumcount(), counts[windows["row"]]
    seconds = windows["duration"] / of
    start = windows["start"].fillna(0.0) + seconds * number
    cut = of > 1
    windows["start"] = windows["start"].where(~cut, start)
    windows["end"] = windows["end"].where(~cut, start + seconds)
    windows["duration"] = seconds
    windows["key"] = windows["clip"] + "#" + number.astype(str) + "/" + of.astype(str) + " " + windows["language"]
    return windows


def _hear(
    windows: pd.DataFrame, root: Path, recogniser: Recogniser, batch_size: int, path: Path, sound: int
) -> dict[str, str]:
    """Return the words of windows by their keys; add them to the cache, behind its sound part, batch by batch."""
    heard: dict[str, str] = {}
    with files.telling_failed_writes(path), path.open("ab") as cache, Progress("words", len(windows)) as shown:
        cache.truncate(sound)  # drop the line that a kill has cut
        for language, rows in windows.groupby("language", sort=True):
            utterances = WaveformDataset(rows, root, [], do_normalize=False)
            batches = SortedBatches(utterances.seconds, batch_size)
            loader = AheadLoader(utterances, batches, recogniser.device.type == "cuda", generator=torch.Generator())
            keys = rows["key"].to_list()
            for batch in loader:
                clips = [clip[:count].numpy() for clip, count in zip(batch.inputs, batch.lengths, strict=True)]
                with memory_advice("lower recogniser.batch_size"):
                    words = recogniser(clips, str(language) or None)
                found = dict(zip((keys[row] for row in batch.rows.tolist()), words, strict=True))
                cache.write("".join(json.dumps(pair) + "\n" for pair in found.items()).encode())
                cache.flush()
                heard |= found
                shown.advance(len(found))
    return heard


def _read(path: Path) -> tuple[dict[str, str], int]:
    """Return the cached words by their keys, and the number of bytes that are sound."""
    known: dict[str, str] = {}
    sound = 0
    if path.is_file():
        for line in path.read_bytes().splitlines(keepends=True):
            try:
                key, words = json.loads(line)
            except (ValueError, TypeError):  # the rest of a damaged file is heard again
                break
            if not line.endswith(b"\n"):
                break
            known[str(key)] = str(words)
            sound += len(line)
    return known, sound
