"""Ratings of a corpus beside its labels: attributes on a scale, the votes of raters, and the answers of each rater."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import pandas as pd

from melt_ser.core.counting import counted
from melt_ser.core.errors import InputError
from melt_ser.core.files import sha256

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
        if own and not len(self.attributes.index):  # rows without a column: they were left out
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
    """Return the ratings with a scale for each attribute, and notes; an attribute without a value is left out.

    given: `dataset.attributes`; if it has any, the others are left out. Raises InputError if one of these has no value,
    if a scale is no range, or if a value is outside a scale that is given. A value outside the scale of a release is
    kept and noted.
    """
    values = {str(name): column.dropna() for name, column in ratings.attributes.items()}
    for name in given:
        if name not in values:
            known = ", ".join(values) or "none"
            raise InputError(f"'{corpus}' has no attribute '{name}' (dataset.attributes); its attributes are: {known}.")
        if values[name].empty:
            raise InputError(f"No utterance of '{corpus}' has a value of '{name}' (dataset.attributes); leave it out.")
    wanted = [name for name in values if name in given or not given]
    chosen = [name for name in wanted if not values[name].empty]
    notes = [f"no utterance has a value of {name}, so it is not learnt" for name in wanted if name not in chosen]
    scales = {}
    for name in chosen:
        scales[name], more = _scale(name, values[name], given.get(name), ratings.scales.get(name), corpus)
        notes += more
    return replace(ratings, attributes=ratings.attributes[chosen], scales=scales), notes


def _scale(
    name: str, values: pd.Series, given: Sequence[float] | None, of_release: Scale | None, corpus: str
) -> tuple[Scale, list[str]]:
    """Return the scale of an attribute, and notes; see `with_scales`."""
    if given is not None:
        low, high = given if len(given) == 2 else (math.nan, math.nan)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise InputError(f"dataset.attributes.{name} of '{corpus}' is [lowest, highest], not {list(given)}.")
    elif of_release is not None:
        low, high = of_release
    else:
        low, high = float(values.min()), float(values.max())
        if low == high:
            raise InputError(
                f"Every {name} of '{corpus}' is {low:g}; set +dataset.attributes.{name}=[lowest,highest], or name only "
                f"the other attributes so."
            )
        note = (
            f"the scale of {name} is that of its values, {low:g} to {high:g} "
            f"(+dataset.attributes.{name}=[lowest,highest] changes it)"
        )
        return (low, high), [note]
    outside = values[(values < low - 1e-9) | (values > high + 1e-9)]
    if outside.empty:
        return (low, high), []
    if given is not None:
        raise InputError(
            f"Utterance '{outside.index[0]}' of '{corpus}' has the {name} {outside.iloc[0]:g}, outside the scale "
            f"from {low:g} to {high:g}; correct it, or set +dataset.attributes.{name}=[lowest,highest]."
        )
    return (low, high), [f"{name} keeps {counted(len(outside), 'value')} outside its scale, {low:g} to {high:g}"]


def united(members: Sequence[Ratings | None], names: Sequence[str]) -> Ratings | None:
    """Return the ratings of the members of a union; each utterance has the name of its member in front.

    Attributes that every member has with a scale are kept, on the first member's scale. None: no member has ratings.
    """
    present = [(member, name) for member, name in zip(members, names, strict=True) if member is not None]
    if not present:
        return None
    shared = set.intersection(*(set(member.scales) if member else set() for member in members))
    scales = {name: scale for name, scale in present[0][0].scales.items() if name in shared}
    attributes, votes, single = [], [], []
    for member, prefix in present:
        own = member.attributes[list(scales)]
        moved = {name: rescaled(own[name].to_numpy(), member.scales[name], scale) for name, scale in scales.items()}
        attributes.append(pd.DataFrame(moved, index=f"{prefix}/" + own.index.astype("str")))
        votes.append(member.votes.set_axis(f"{prefix}/" + member.votes.index.astype("str")))
        said = member.single.assign(utterance=f"{prefix}/" + member.single["utterance"])
        of_raters = {name: scale for name, scale in scales.items() if name in said}
        said = said.drop(columns=[name for name in said if name in member.attributes and name not in scales])
        single.append(said.assign(**{n: rescaled(said[n], member.scales[n], scale) for n, scale in of_raters.items()}))
    joined = pd.concat(votes).fillna(0.0)
    return Ratings(pd.concat(attributes), scales, joined, pd.concat(single, ignore_index=True))


Values = TypeVar("Values", np.ndarray, pd.Series)


def rescaled(values: Values, scale: Scale, other: Scale) -> Values:
    """Return values on one scale as values on another."""
    (low, high), (new_low, new_high) = scale, other
    return new_low + (values - low) * ((new_high - new_low) / (high - low))
