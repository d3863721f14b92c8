"""Who speaks in an utterance and where its audio lies, for corpora that are at hand when the report is made.

The release is read, none of its audio decoded. A corpus that is not where the run had it is not at hand: the report
then lacks the audio, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from melt_ser.config import DatasetConfig
from melt_ser.core.errors import MeltSerError
from melt_ser.reporting.collect import Run


class Clip(NamedTuple):
    """An utterance: `audio` is relative to the root, `start` and `end` are seconds (NaN: the beginning, the end)."""

    audio: str
    start: float
    end: float
    speaker: str
    text: str


@dataclass
class Recordings:
    """A corpus at hand: where its audio lies, and what each utterance is."""

    root: Path
    clips: dict[str, Clip]

    def clip(self, utterance: str) -> Clip | None:
        """An utterance by its name, which ends with #<fold> where each fold's model answered it."""
        return self.clips.get(utterance) or self.clips.get(utterance.rpartition("#")[0])


class Corpora:
    """The corpora that runs were tested on; each is looked for once."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Recordings | None] = {}

    def of(self, run: Run, corpus: str) -> Recordings | None:
        """The recordings of a corpus as a run used it, None where they are not at hand."""
        config = run.result.config
        own = corpus == run.result.train.corpus
        settings = config["dataset"] if own else {"root": config["eval"].get("roots", {}).get(corpus)}
        key = (corpus, repr(sorted(settings.items())))
        if key not in self._found:
            self._found[key] = _read(corpus, settings, own)
        return self._found[key]


def _read(corpus: str, settings: dict[str, Any], own: bool) -> Recordings | None:
    from melt_ser.corpora.load import read_release

    try:
        config = _typed(settings) if own else _named(corpus, settings["root"])
        if config.repository is not None and config.root is None:
            return None  # reading it might fetch it from the hub
        root, release = read_release(config)
    except (MeltSerError, OSError, ValueError):
        return None
    clips = release.table[list(Clip._fields)].itertuples(index=False, name=None)
    return Recordings(
        root, {utterance: Clip(*clip) for utterance, clip in zip(release.table["utterance"], clips, strict=True)}
    )


def _typed(settings: dict[str, Any]) -> DatasetConfig:
    """The settings of a corpus as a result has them; what this version does not know is passed over."""
    known = {field.name for field in fields(DatasetConfig)} - {"download", "protocols", "group"}
    return DatasetConfig(**{key: value for key, value in settings.items() if key in known})


def _named(corpus: str, root: str | None) -> DatasetConfig:
    """The settings of a corpus by its name."""
    from hydra.errors import HydraException

    from melt_ser.cli.compose import load_dataset
    from melt_ser.core.errors import SetupError

    try:
        config = load_dataset(corpus)
    except HydraException as error:
        raise SetupError(f"There is no corpus '{corpus}' among the settings.") from error
    config.root = root or config.root
    return config
