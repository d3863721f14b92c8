"""Read labels files, of a language model or of people, and give their labels to a corpus (`dataset.label_file`).

A labels file is a table with a label and a name in each row. The label is in the column `llm_label` (as `annotate`
writes it), `label` or `emotion`; the first of these that the file has counts. The name is that of a transcript's line
(`lines.read_lines`), or the column `utterance`, or the path of the audio without its suffix.
"""

from __future__ import annotations

import posixpath
import unicodedata
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pandas as pd

from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.lines import LABEL_COLUMN, Line, files_of, read_csv_or_parquet, read_lines
from melt_ser.corpora.readers.audio_paths import RootFolder, spelled_as_in
from melt_ser.corpora.readers.columns import COMMON_NAMES, listed
from melt_ser.corpora.table import Release, Skipped

LABEL_COLUMNS = (LABEL_COLUMN, "label", "emotion")
NAMES = ("utterance", "audio", *COMMON_NAMES["audio"])
DIALOGUE = {"dialogue_id", "utterance_id"}  # a table like MELD's, where `utterance` is the text


def read_labelled(path: Path, needs_label: bool = True) -> list[Line]:
    """Return the lines of a labels file, or of a folder of MELT's; `Line.columns["llm_label"]` is the label ("": none).

    A file without a column of labels is an error if it `needs_label`; otherwise its lines have no such column. Raises
    SetupError if there is no such file, InputError if one has no label or no name, or a name occurs twice.
    """
    files = files_of(path)
    lines = [line for file in files for line in _lines(file)]
    repeated = [name for name, count in Counter(line.utterance for line in lines).items() if count > 1]
    if repeated:
        raise InputError(
            f"{path} has the utterance '{repeated[0]}' more than once ({len(repeated)} such names); give each row a "
            f"name of its own in the column utterance, and the labels of each rater a file of their own."
        )
    return [_with_label(line, path, needs_label) for line in lines]


def label_column(path: Path) -> str:
    """Return the column that the labels of a labels file are in. Raises the errors of `read_labelled`."""
    columns = [str(column) for file in files_of(path) for column in _table(file)]
    return next((column for column in LABEL_COLUMNS if column in columns), LABEL_COLUMN)


def _lines(path: Path) -> list[Line]:
    table = _table(path)
    if "text" in table or set(table) >= DIALOGUE:
        return read_lines(path)
    column = next((name for name in NAMES if name in table), None)
    if column is None:
        raise InputError(
            f"{path} has no column utterance or audio that says which recording a label is of; its columns are: "
            f"{listed(map(str, table))}; rename the one with the names."
        )
    names = table[column] if column == "utterance" else table[column].map(lambda name: posixpath.splitext(name)[0])
    rows = [{str(key): str(cell) for key, cell in row.items()} for row in table.to_dict("records")]
    empty = next((number for number, name in enumerate(names, start=1) if not name), None)
    if empty is not None:
        raise InputError(f"{path}, row {empty}: the cell of the column {column} is empty; name the recording.")
    return [
        Line(name, "", row.get("speaker", ""), "", "", "", number, None, row.get("split", ""), row)
        for number, (name, row) in enumerate(zip(names, rows, strict=True), start=1)
    ]


def _table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise SetupError(f"There is no labels file {path}; give the path of a CSV with a label and a name in each row.")
    return read_csv_or_parquet(path)


def _with_label(line: Line, path: Path, needs_label: bool) -> Line:
    """Return the line with its label in `columns["llm_label"]`."""
    spelled = {column.lower(): column for column in line.columns}
    column = next((spelled[name] for name in LABEL_COLUMNS if name in spelled), None)
    if column is None and not needs_label:
        return line
    if column is None:
        raise InputError(
            f"{path} lacks the column {LABEL_COLUMN}; give a labels file as annotate writes it, or a table with the "
            f"column label."
        )
    return replace(line, columns={**line.columns, LABEL_COLUMN: line.columns[column]})


def relabel(release: Release, path: Path, needs_label: bool = True) -> Release:
    """Return the release with the labels of a labels file; utterances that have no label in it are skipped.

    If votes or attributes are learnt, rows of the file need no label (`needs_label`). Folds and dev parts are still
    drawn from all rows, with the release's labels (`annotated`). Labels are found by the name of the utterance, or else
    by the path of its audio without the suffix. Raises InputError if the file has no label for any utterance.
    """
    labels = {line.utterance: line.columns.get(LABEL_COLUMN, "") for line in read_labelled(path, needs_label)}
    names = names_in(labels, release)
    label_of_row = names.map(lambda name: unicodedata.normalize("NFC", labels.get(name, ""))).astype("str")
    absent = ~names.isin(list(labels))
    left_out = (label_of_row == "") if needs_label else absent
    unlabelled = release.table.assign(absent=absent)[left_out]
    if len(unlabelled) == len(names):
        raise InputError(
            f"{path} has no label for any utterance of the corpus: it names them as '{next(iter(labels), '')}', "
            f"the corpus as '{next(iter(release.table['utterance']), '')}'; if your table has the file's names, give "
            f"+dataset.columns.utterance=<column>, or annotate the corpus' table as prepare writes it."
        )
    skipped = [
        Skipped(name, audio, f"{'not' if absent else 'no label'} in {path.name}")
        for name, audio, absent in unlabelled[["utterance", "audio", "absent"]].to_numpy().tolist()
    ]
    beyond = len(set(labels) - set(names))
    column = label_column(path)
    notes = [f"the labels are those of {path.name}" + ("" if column == LABEL_COLUMN else f" (column {column})")]
    notes = notes if needs_label or any(labels.values()) else []
    notes += [f"{beyond} utterances of {path.name} are not in the corpus"] if beyond else []
    table = release.table.assign(label=label_of_row)[~left_out].reset_index(drop=True)
    return Release(
        table, release.skipped + skipped, release.notes + notes, release.root, release.drawn_from, release.ratings
    )


def names_in(known: Collection[str], release: Release) -> pd.Series:
    """Return the names that a labels file may have for the rows: of utterances, or else paths without the suffix.

    Paths may be written in any way that a corpus table allows, if the release has a root; letters and accents, apart or
    together.

    known: the names in the file.
    """
    spelled = spelled_as_in(known)
    names = release.table["utterance"].map(spelled)
    if names.isin(list(known)).any():
        return names
    stems = release.table["audio"].map(lambda audio: spelled(posixpath.splitext(audio)[0]))
    if release.root is None or stems.isin(list(known)).any():
        return stems
    folder = RootFolder(release.root)
    written = {folder.tidied(name): name for name in known}
    spelled = spelled_as_in(written)
    return stems.map(lambda stem: written.get(spelled(stem), stem))
