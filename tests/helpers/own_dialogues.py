"""Two invented dialogue tables of twenty lines, German and Chinese, with audio and prompts, as a user may have them.

espeak-ng speaks the lines if it is installed. Otherwise a tone stands in for each line: its pitch is that of the
emotion in the table, so that there is something to learn.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from corpus_trees import tone

FOLDER = Path(__file__).parent / "dialogues"


@dataclass(frozen=True)
class Dialogues:
    """A table and its words for things."""

    name: str  # of the table and of the prompt
    voice: str  # of espeak-ng
    columns: dict[str, str]  # the options of annotate
    heard: str  # the column with the emotion that people hear
    emotions: dict[str, str | None]  # ours, by the table's labels

    @property
    def table(self) -> pd.DataFrame:
        return pd.read_csv(FOLDER / f"{self.name}.csv", dtype=str)

    @property
    def prompt(self) -> Path:
        return FOLDER / f"{self.name}.yaml"

    @property
    def options(self) -> list[str]:
        return [part for role, column in self.columns.items() for part in (f"--{role}", column)]

    def write(self, root: Path) -> Path:
        """Write the table and its audio into a folder."""
        emotions = list(self.emotions)
        for row in self.table.to_dict("records"):
            path = root / row["audio"]
            path.parent.mkdir(parents=True, exist_ok=True)
            if shutil.which("espeak-ng"):
                subprocess.run(["espeak-ng", "-v", self.voice, "-w", path, row[self.columns["text"]]], check=True)
            else:
                tone(path, seconds=0.4, frequency=300 + 200 * emotions.index(row[self.heard]) + int(path.stem))
        return Path(shutil.copy(FOLDER / f"{self.name}.csv", root / "lines.csv"))


GERMAN = Dialogues(
    "german",
    "de",
    {"text": "Äußerung", "dialogue": "Szene", "speaker": "Rolle", "start": "Beginn"},
    "gehört",
    {"Freude": "happy", "Spaß": "excited", "Ärger": "angry", "Trauer": "sad", "neutral": "neutral"},
)
CHINESE = Dialogues(
    "chinese",
    "cmn",
    {"text": "台词", "dialogue": "场景", "speaker": "角色", "start": "开始"},
    "听感",
    {"高兴": "happy", "逗趣": "excited", "生气": "angry", "难过": "sad", "平静": "neutral"},
)
