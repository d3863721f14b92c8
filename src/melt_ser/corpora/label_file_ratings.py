"""The ratings in a labels file: attributes in `llm_arousal` and so on, shares of labels in `confidence_<label>`.

`annotate` writes both: the mean of a score over several answers, and how many of them gave a label (of `local`: its
probability). A table by people may call its attributes arousal, valence and dominance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from melt_ser.config import DatasetConfig
from melt_ser.corpora.label_file import names_in, read_labelled
from melt_ser.corpora.lines import CONFIDENCE, FIELD, Line
from melt_ser.corpora.ratings import Ratings
from melt_ser.corpora.readers.columns import wanted_attributes
from melt_ser.corpora.readers.delimited import numbers
from melt_ser.corpora.table import Release


def rate_again(release: Release, path: Path, config: DatasetConfig) -> Release:
    """Return the release with the ratings of a labels file; ratings that the file lacks stay those of the release.

    An attribute from the file has no scale: `dataset.attributes` or the range of its values gives it. Raises InputError
    if a rating is no number.
    """
    lines = read_labelled(path, needs_label=False)
    columns = list(dict.fromkeys(column for line in lines for column in line.columns))
    spelled = {column.lower(): column for column in reversed(columns)}
    attributes = {
        name: next(spelled[column] for column in (f"{FIELD}{name}", name) if column in spelled)
        for name in wanted_attributes(config)
        if spelled.keys() & {f"{FIELD}{name}", name}
    }
    spelling = {label.casefold(): label for label in config.label_map}  # columns are read in lower case
    shares = {column.removeprefix(CONFIDENCE): column for column in columns if column.startswith(CONFIDENCE)}
    votes = {spelling.get(label.casefold(), label): column for label, column in shares.items()}
    if not attributes and not votes:
        return replace(release, notes=[*release.notes, f"{path.name} has no ratings; those of the release are used"])
    utterances = release.table["utterance"]
    names = names_in([line.utterance for line in lines], release)
    given = release.ratings or Ratings()
    rated = Ratings(given.attributes, given.scales, given.votes)  # what single raters said is no longer what is learnt
    if attributes:
        rated = replace(rated, attributes=_of_rows(lines, attributes, names, utterances, path), scales={})
    if votes:
        rated = replace(rated, votes=_of_rows(lines, votes, names, utterances, path))
    found = [f"attributes ({', '.join(attributes)})"] * bool(attributes) + ["shares of labels"] * bool(votes)
    note = f"the {' and '.join(found)} are those of {path.name}"
    return replace(release, ratings=rated, notes=[*release.notes, note])


def _of_rows(
    lines: Sequence[Line], columns: Mapping[str, str], names: pd.Series, utterances: pd.Series, path: Path
) -> pd.DataFrame:
    """Return the numbers of some columns of the lines by the corpus' names of utterances, NaN if a row has none.

    columns: the file's column for each of ours. names: the file's name of each utterance.
    """
    rows = range(1, len(lines) + 1)
    values = {}
    for ours, theirs in columns.items():
        cells = pd.Series([line.columns.get(theirs, "") for line in lines], rows, "str", name=theirs)
        values[ours] = numbers(cells, path).to_numpy()
    return pd.DataFrame(values, [line.utterance for line in lines]).reindex(names).set_axis(utterances)
