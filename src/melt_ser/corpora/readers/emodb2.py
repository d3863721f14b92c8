"""EmoDB 2.0: all 816 clips that were recorded for EmoDB, also the 281 that fewer than 80 % of the listeners recognised.

Files: see `emodb`. The published split has the speakers 12, 14, 15 and 16 as its test part, and no dev part; speaker 13
is dev, as in the public recipe that first used the split. A recording has the same source here and in `emodb`, so that
no model is tested on clips that it was trained on under the other name.
Source: Burkhardt et al., Interspeech 2025, and zenodo.org/records/17651657; the counts are from the README of
audeering/emodb and a public recipe. We have not seen the files: our tests read generated trees.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePath

from melt_ser.config import DatasetConfig
from melt_ser.core.errors import SetupError
from melt_ser.corpora.readers import emodb
from melt_ser.corpora.readers.file_names import read_names
from melt_ser.corpora.readers.release import Row
from melt_ser.corpora.table import Release

SPLITS = {"12": "test", "14": "test", "15": "test", "16": "test", "13": "dev"}  # by speaker; the others are train


def _row(name: re.Match[str], path: PurePath) -> Row:
    columns = emodb.row(name, path)
    return {**columns, "source": f"emodb/{name[0]}", "split": SPLITS.get(columns["speaker"], "train")}


NAMING = replace(emodb.NAMING, row=_row)


def read(root: Path, config: DatasetConfig) -> Release:
    """Return the clips with names that follow the scheme, with their part; list the others as skipped.

    Raises SetupError if the first release is there.
    """
    release = read_names(root, config, NAMING)
    added = emodb.added_clips(root, config)
    if added is None and len(release.table) <= emodb.FIRST_RELEASE:
        raise SetupError(
            f"{root} has the first release of EmoDB ({len(release.table)} clips, and no {emodb.ADDED}): use "
            f"dataset=emodb, or get release 2.0 ({config.access})."
        )
    if added is not None:
        doubtful = int(release.table["utterance"].isin(added).sum())
        release.notes.append(
            f"{doubtful} of the {len(release.table)} clips were recognised by fewer than 80 % of the listeners; most "
            f"published figures of EmoDB are without them, as dataset=emodb is"
        )
    return emodb.rated(release, root, config)
