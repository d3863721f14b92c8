"""`dataset.label_file`: the labels of a corpus from a file of `annotate`, instead of those of its release."""

from __future__ import annotations

from pathlib import Path

from melt_ser.core.errors import InputError
from melt_ser.corpora.lines import Line, read_lines
from melt_ser.corpora.table import Release, Skipped

LABEL_COLUMN = "llm_label"  # as MELT's release names it, so that its files are such files too


def read_labelled(path: Path) -> list[Line]:
    """The lines of a labels file, which `Line.columns["llm_label"]` has the labels of ("": none); a folder as well."""
    lines = read_lines(path)
    if any(LABEL_COLUMN not in line.columns for line in lines):
        raise InputError(f"{path} lacks the column {LABEL_COLUMN}; a labels file is what annotate writes.")
    return lines


def relabel(release: Release, path: Path) -> Release:
    """The release under the labels of a file; its utterances that have none there are problems.

    Utterances are known by their names, which both take from the corpus. Raises InputError where none has a label.
    """
    labels = {line.utterance: line.columns[LABEL_COLUMN] for line in read_labelled(path)}
    names = release.table["utterance"]
    given = names.map(lambda name: labels.get(name, "")).astype("str")
    absent = ~names.isin(list(labels))
    unlabelled = release.table.assign(absent=absent)[given == ""]
    if len(unlabelled) == len(names):
        raise InputError(
            f"{path} has a label for no utterance of the corpus: it names them as '{next(iter(labels), '')}', "
            f"the corpus as '{next(iter(names), '')}'; annotate the corpus' own table, as prepare writes it."
        )
    problems = [
        Skipped(name, audio, f"{'not' if missing else 'no label'} in {path.name}")
        for name, audio, missing in unlabelled[["utterance", "audio", "absent"]].to_numpy().tolist()
    ]
    beyond = len(set(labels) - set(names))
    notes = [f"the labels are those of {path.name}"]
    notes += [f"{beyond} utterances of {path.name} are not in the corpus"] if beyond else []
    table = release.table.assign(label=given)[given != ""].reset_index(drop=True)
    return Release(table, release.problems + problems, release.notes + notes, release.root)
