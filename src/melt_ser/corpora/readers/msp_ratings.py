"""The ratings of MSP corpora: a line is a worker's answer about a clip.

A line such as `WORKER00000077; Neutral; Neutral,Concerned; A:4.000000; V:4.000000; D:4.000000;` has the worker, the
class, further classes, and the attributes activation, valence and dominance. MSP-IMPROV adds the naturalness (N). The
worker's own words for another class begin with "Other".
Source: public code that reads the releases; our tests read generated files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from melt_ser.core.vocabulary import ATTRIBUTES
from melt_ser.corpora.ratings import Ratings, Scale

CODES = {
    "angry": "A",
    "sad": "S",
    "happy": "H",
    "surprise": "U",
    "surprised": "U",
    "fear": "F",
    "disgust": "D",
    "contempt": "C",
    "neutral": "N",
}
"""The code of the consensus for each class that a worker may choose; any other word is O, another emotion."""
NUMBER = r"\s*([\d.]+)\s*;"
RATING = re.compile(rf"\s*([^;]+);\s*([^;]*);.*?A:{NUMBER}\s*V:{NUMBER}\s*D:{NUMBER}.*")

Single = dict[str, Any]  # utterance, rater, label and the attributes


def parse_rating(utterance: str, text: str) -> Single | None:
    """Return a rating from its line; None if the line is no rating."""
    parts = RATING.fullmatch(text)
    if parts is None:
        return None
    rater, word, *values = (part.strip() for part in parts.groups())
    return rating(utterance, rater, word, dict(zip(("arousal", "valence", "dominance"), values, strict=True)))


def rating(utterance: str, rater: str, word: str, attributes: Mapping[str, str]) -> Single:
    """Return a rating: the code of the class, and the attributes as numbers."""
    numbers = {name: _number(attributes.get(name, "")) for name in ATTRIBUTES}
    return {"utterance": utterance, "rater": rater, "label": CODES.get(word.lower(), "O"), **numbers}


def ratings_from(consensus: Mapping[str, Mapping[str, str]], single: Iterable[Single], scale: Scale) -> Ratings | None:
    """Return the ratings of a release; None if it has neither attributes nor single ratings.

    Args:
        consensus: the attributes of each utterance, by their names, as text.
        single: the ratings of the workers.
        scale: of every attribute.
    """
    rows = list(single)
    of_workers = Ratings(single=pd.DataFrame(rows)) if rows else Ratings()
    known = {name: {key: _number(value) for key, value in own.items()} for name, own in consensus.items()}
    attributes = pd.DataFrame.from_dict(known, orient="index").dropna(how="all")
    if attributes.empty:
        attributes = of_workers.attributes
    if attributes.empty and not rows:
        return None
    return Ratings(attributes, dict.fromkeys(map(str, attributes), scale), of_workers.votes, of_workers.single)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
