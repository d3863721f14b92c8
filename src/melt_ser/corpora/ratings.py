"""Ratings of a corpus beside its labels: attributes on a scale, the votes of raters, and what each rater said."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import pandas as pd

from melt_ser.core.errors import InputError
from melt_ser.core.files import sha256

ATTRIBUTES = ("arousal", "valence", "dominance")  # that a user's table may have without a setting
ATTRIBUTE, VOTES = "attribute ", "votes "
"""The beginnings of the columns that ratings have in the table of a verified corpus."""

Scale = tuple[float, float]


def _no_rows() -> pd.DataFrame:
    return pd.DataFrame(columns=["utterance", "rater"], dtype="str")


@dataclass
class Ratings:
    """The ratings of a release; every table is by the names of utterances.

    attributes: a column for each attribute, NaN if it is not known; its index is the utterance.
    scales: the lowest and the highest value of each attribute.
    votes: a column for each label, with the number or share of its votes; its index is the utterance.
    single: a row for each rating of one rater, with the columns utterance and rater, and label or attributes; of a
        verified corpus also the emotion of the label.
    """

    attributes: pd.DataFrame = field(default_factory=pd.DataFrame)
    scales: dict[str, Scale] = field(default_factory=dict)
    votes: pd.DataFrame = field(default_factory=pd.DataFrame)
    single: pd.DataFrame = field(default_factory=_no_rows)

    def __post_init__(self) -> None:
        if not self.single.empty and "label" in self.single and self.votes.empty:
            rated = self.single[self.single["label"] != ""]
            self.votes = pd.crosstab(rated["utterance"], rated["label"]).astype("float64")
        own = [column for column in self.single if column not in ("utterance", "rater", "label", "emotion")]
        if own and self.attributes.empty:
            self.attributes = self.single.groupby("utterance")[own].mean()

    @property
    def is_empty(self) -> bool:
        """Return whether there is neither an attribute nor a vote."""
        return self.attributes.empty and self.votes.empty

    def columns(self, utterances: pd.Series, label_map: Mapping[str, str | None]) -> dict[str, pd.Series]:
        """Return the columns of a corpus table: `attribute <name>`, and `votes <emotion>` by a label map.

        Votes for labels that the map leaves out are not counted.
        """
        found: dict[str, pd.Series] = {}
        for name in map(str, self.attributes):
            found[ATTRIBUTE + name] = _of(self.attributes[name], utterances)
        for label in self.votes:
            emotion = label_map.get(str(label))
            if emotion is not None:
                votes = _of(self.votes[label], utterances).fillna(0.0)
                found[VOTES + emotion] = found[VOTES + emotion] + votes if VOTES + emotion in found else votes
        return found

    def digest(self) -> str:
        """Return the SHA-256 of the attributes, their scales, and the votes."""
        tables = [table.sort_index().sort_index(axis=1) for table in (self.attributes, self.votes)]
        parts = [table.to_csv(float_format="%.6g") for table in tables if not table.empty]
        return sha256(repr((parts, sorted(self.scales.items()))))


def joined(of_release: Ratings | None, of_raters: Ratings) -> Ratings:
    """Return the ratings of a release with those of a table of raters, which replace its attributes and votes."""
    if of_release is None:
        return of_raters
    return Ratings(
        of_release.attributes if of_raters.attributes.empty else of_raters.attributes,
        of_release.scales,
        of_release.votes if of_raters.votes.empty else of_raters.votes,
        of_raters.single,
    )


def _of(values: pd.Series, utterances: pd.Series) -> pd.Series:
    """Return the value of each utterance, (utterances,), NaN if it has none."""
    return pd.Series(values.reindex(utterances).to_numpy(dtype="float64"), utterances.index)


def with_scales(ratings: Ratings, given: Mapping[str, Sequence[float]], corpus: str) -> tuple[Ratings, list[str]]:
    """Return the ratings with a scale for each attribute, and notes on those that were taken from the values.

    given: `dataset.attributes`; if it has any, the others are left out. Raises InputError if a value is outside its
    scale, or a scale is no range.
    """
    chosen = [name for name in map(str, ratings.attributes) if name in given or not given]
    missing = [name for name in given if name not in chosen]
    if missing:
        known = ", ".join(map(str, ratings.attributes)) or "none"
        raise InputError(
            f"'{corpus}' has no attribute '{missing[0]}' (dataset.attributes); its attributes are: {known}."
        )
    scales, notes = {}, []
    for name in chosen:
        values = ratings.attributes[name]
        low, high = given.get(name) or ratings.scales.get(name) or (values.min(), values.max())
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise InputError(f"dataset.attributes.{name} of '{corpus}' is [lowest, highest], not [{low:g}, {high:g}].")
        outside = values[(values < low - 1e-9) | (values > high + 1e-9)]
        if len(outside):
            raise InputError(
                f"Utterance '{outside.index[0]}' of '{corpus}' has the {name} {outside.iloc[0]:g}, outside the scale "
                f"from {low:g} to {high:g}; correct it, or set +dataset.attributes.{name}=[lowest,highest]."
            )
        if name not in given and name not in ratings.scales:
            notes.append(
                f"the scale of {name} is that of its values, {low:g} to {high:g} "
                f"(+dataset.attributes.{name}=[lowest,highest] changes it)"
            )
        scales[name] = (float(low), float(high))
    return replace(ratings, attributes=ratings.attributes[chosen], scales=scales), notes


def united(members: Sequence[Ratings | None], names: Sequence[str]) -> Ratings | None:
    """Return the ratings of the members of a union; each utterance has the name of its member in front.

    Attributes that every member has are kept, on the first member's scale. None: no member has ratings.
    """
    present = [(member, name) for member, name in zip(members, names, strict=True) if member is not None]
    if not present:
        return None
    shared = set.intersection(*(set(member.attributes) if member else set() for member in members))
    scales = {name: scale for name, scale in present[0][0].scales.items() if name in shared}
    attributes, votes, single = [], [], []
    for member, prefix in present:
        own = member.attributes[list(scales)]
        moved = {name: rescaled(own[name].to_numpy(), member.scales[name], scale) for name, scale in scales.items()}
        attributes.append(pd.DataFrame(moved, index=f"{prefix}/" + own.index.astype("str")))
        votes.append(member.votes.set_axis(f"{prefix}/" + member.votes.index.astype("str")))
        single.append(member.single.assign(utterance=f"{prefix}/" + member.single["utterance"]))
    joined = pd.concat(votes).fillna(0.0)
    return Ratings(pd.concat(attributes), scales, joined, pd.concat(single, ignore_index=True))


Values = TypeVar("Values", np.ndarray, pd.Series)


def rescaled(values: Values, scale: Scale, other: Scale) -> Values:
    """Return values on one scale as values on another."""
    (low, high), (new_low, new_high) = scale, other
    return new_low + (values - low) * ((new_high - new_low) / (high - low))
