"""The ratings in IEMOCAP's EmoEvaluation files.

Under the line of a turn stand those of its evaluators: `C-E2:<TAB>Neutral; Anger;<TAB>()` has the classes, and
`A-E3:<TAB>val 3; act 2; dom 2;<TAB>()` the attributes, from 1 to 5. The actors rated themselves too (C-F1, A-M3): these
lines do not count, since the label of a turn is that of the evaluators.
Source: Busso et al. 2008, section 5.
"""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from melt_ser.corpora.ratings import Ratings

SCALE = (1.0, 5.0)
CODES = {
    "neutral": "neu",
    "neutral state": "neu",
    "happiness": "hap",
    "sadness": "sad",
    "anger": "ang",
    "surprise": "sur",
    "fear": "fea",
    "disgust": "dis",
    "frustration": "fru",
    "excited": "exc",
}
"""The code of a turn's label for each class of an evaluator; any other is oth."""
LINE = re.compile(r"([CA])-(E\d+):\t([^\t]*)\t.*")
VALUE = re.compile(r"(val|act|dom)\s+([\d.]+)")
MEANS = re.compile(r"\[([\d.]+), ([\d.]+), ([\d.]+)\]\s*")
NAMES = {"val": "valence", "act": "arousal", "dom": "dominance"}


class RatingsOfTurns:
    """Collect the ratings of turns, line by line."""

    def __init__(self) -> None:
        self.means: dict[str, dict[str, float]] = {}
        self.votes: list[dict[str, Any]] = []
        self.single: dict[tuple[str, str], dict[str, Any]] = {}

    def add_turn(self, utterance: str, means: str) -> None:
        """Add the means of a turn, such as "[2.5000, 3.0000, 2.0000]": valence, activation, dominance."""
        values = MEANS.fullmatch(means)
        if values is not None:
            self.means[utterance] = dict(zip(NAMES.values(), map(float, values.groups()), strict=True))

    def add_line(self, utterance: str, line: str) -> None:
        """Add the answer of an evaluator about a turn; ignore other lines."""
        parts = LINE.fullmatch(line)
        if parts is None or not utterance:
            return
        kind, rater, said = parts.groups()
        row = self.single.setdefault((utterance, rater), {"utterance": utterance, "rater": rater, "label": ""})
        if kind == "A":
            row |= {NAMES[name]: float(value) for name, value in VALUE.findall(said)}
            return
        words = [word.strip().lower() for word in said.split(";") if word.strip()]
        codes = [CODES.get(word, "oth") for word in words]
        row["label"] = row["label"] or (codes[0] if codes else "")
        # An evaluator who chose several classes has one vote, in equal parts.
        self.votes += [{"utterance": utterance, "label": code, "share": 1 / len(codes)} for code in codes]

    def ratings(self) -> Ratings | None:
        """Return everything that was added; None if there is nothing."""
        if not self.means and not self.votes:
            return None
        votes = pd.DataFrame(self.votes, columns=["utterance", "label", "share"])
        counted = votes.pivot_table("share", "utterance", "label", aggfunc="sum", fill_value=0.0)
        attributes = pd.DataFrame.from_dict(self.means, orient="index")
        single = pd.DataFrame(list(self.single.values()), columns=["utterance", "rater", "label", *NAMES.values()])
        return Ratings(attributes, dict.fromkeys(map(str, attributes), SCALE), counted.astype("float64"), single)
