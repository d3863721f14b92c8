"""EmoDB: acted German speech, 10 speakers, 10 sentences, 7 emotions; the 535 clips that most listeners recognised.

Files: `<root>/wav/03a01Wa.wav`, or without the folder. A name is speaker [0:2], sentence [2:5], emotion [5] and
version [6].
EmoDB 2.0 is read too. It is a database in audformat: `db.yaml`, tables, all 816 clips in `wav/`, and in `laryngo/` a
laryngogram of each under the same name. `db.emotion.categories.ambiguous.csv` names the 281 clips that 2.0 adds, which
fewer than 80 % of the listeners recognised. They are skipped here, so that `emodb` is the same 535 clips from both
releases; `emodb2` has them all.
Unsure: the layout of 2.0, which we know from the README and the scripts of audeering/emodb. Our tests read generated
trees made from them.
Source: Burkhardt et al., A Database of German Emotional Speech, Interspeech 2005.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath

from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError
from melt_ser.corpora.readers.annotations import read_records
from melt_ser.corpora.readers.emodb_ratings import read_ratings
from melt_ser.corpora.readers.file_names import Naming, read_names
from melt_ser.corpora.readers.release import Row, Unused, annotation_file, folders
from melt_ser.corpora.table import Release

SPEAKER_GENDERS = {
    "03": "male",
    "08": "female",
    "09": "female",
    "10": "male",
    "11": "male",
    "12": "male",
    "13": "female",
    "14": "female",
    "15": "male",
    "16": "female",
}
SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
NAME = re.compile(rf"({'|'.join(SPEAKER_GENDERS)})({'|'.join(SENTENCES)})([WLEAFTN])[a-z]?")


ADDED = "db.emotion.categories.ambiguous.csv"  # the table of release 2.0 with the clips that the first one lacks
FIRST_RELEASE = 535  # clips
LARYNGOGRAMS = "laryngo"


def row(name: re.Match[str], path: PurePath) -> Row:
    if LARYNGOGRAMS in path.parts[:-1]:
        raise Unused(f"a laryngogram, not speech: in the folder {LARYNGOGRAMS}")
    speaker, sentence, emotion = name.groups()
    return {"speaker": speaker, "gender": SPEAKER_GENDERS[speaker], "text": SENTENCES[sentence], "label": emotion}


def _spelling(stem: str) -> str:
    """Return a name in the release's letter case: only the emotion is a capital."""
    return stem[:5].lower() + stem[5:6].upper() + stem[6:].lower()


NAMING = Naming(NAME, "speaker, sentence, emotion such as 03a01Wa", row, expected="wav", spelling=_spelling)


def read(root: Path, config: DatasetConfig) -> Release:
    """Return the clips of the first release with names that follow the scheme; list the others as skipped.

    Raises InputError if release 2.0 is there without the table of the clips that it adds.
    """
    added = added_clips(root, config)

    def row_of_first_release(name: re.Match[str], path: PurePath) -> Row:
        columns = row(name, path)
        if added and name[0] in added:
            raise Unused("recognised by fewer than 80 % of the listeners: dataset=emodb2 has it")
        return columns

    release = read_names(root, config, replace(NAMING, row=row_of_first_release))
    if added is None and len(release.table) > FIRST_RELEASE:
        raise InputError(
            f"{root} has {len(release.table)} clips of EmoDB, so it is release 2.0, but lacks {ADDED}, which tells the "
            f"{FIRST_RELEASE} clips of 'emodb' from the others: unpack the whole release, or use all with "
            f"dataset=emodb2."
        )
    if added is not None:
        release.notes.append("release 2.0, of which the clips of the first release are used; dataset=emodb2 uses all")
    return rated(release, root, config)


def rated(release: Release, root: Path, config: DatasetConfig) -> Release:
    """Return a release with the shares of its listeners, if a target is named and the root has their table."""
    if config.target is None:
        return release
    ratings, notes = read_ratings(folders(root, config), _spelling)
    return replace(release, ratings=ratings, notes=[*release.notes, *notes])


def added_clips(root: Path, config: DatasetConfig) -> set[str] | None:
    """Return the names of the clips that release 2.0 adds; None if its table of them is not there."""
    searched = folders(root, config) if root.is_dir() else []
    if not any((folder / ADDED).is_file() for folder in searched):
        return None
    _, records = read_records(annotation_file(ADDED, searched, root, config), ("file",))
    return {_spelling(PurePosixPath(record["file"]).stem) for record in records}
