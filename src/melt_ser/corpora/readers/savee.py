"""SAVEE: acted British English, four men, 7 emotions.

Files: `<root>/AudioData/JE/n23.wav`, or in copies without folders `JE_n23.wav`. The speaker (DC, JE, JK, KL) is the
folder or the beginning of the name; then come emotion (a, d, f, h, n, sa, su) and sentence number. By the page of the
release, each emotion but neutral has 15 sentences: three are common to all, two are shared with neutral, ten are its
own. The names do not tell which, and texts are not read; a note warns that words give labels away.
Source: Haq and Jackson, Multimodal Emotion Recognition, in Machine Audition, 2010, and the page of the release.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from melt_ser.config import DatasetConfig
from melt_ser.corpora.readers.file_names import Naming, check_folder, folder_code, read_names
from melt_ser.corpora.readers.release import Row, Unused
from melt_ser.corpora.table import Release

SPEAKERS = {"dc": "DC", "je": "JE", "jk": "JK", "kl": "KL"}
NAME = re.compile(r"(?:(dc|je|jk|kl)_?)?(a|d|f|h|n|sa|su)(\d\d)")


def _row(name: re.Match[str], path: PurePath) -> Row:
    folder = folder_code(path, SPEAKERS)
    if name[1]:
        speaker = SPEAKERS[name[1]]
        check_folder(path, SPEAKERS, "speaker", speaker)
    elif folder:
        speaker = folder[1]
    else:
        raise Unused(f"neither the name nor a folder says the speaker ({', '.join(SPEAKERS.values())})")
    emotion, number = name[2], name[3]
    return {"utterance": f"{speaker}_{emotion}{number}", "speaker": speaker, "gender": "male", "label": emotion}


NAMING = Naming(
    NAME, "emotion and number such as n23 in a speaker's folder, or JE_n23", _row, expected="JE", spelling=str.lower
)


def read(root: Path, config: DatasetConfig) -> Release:
    """Return the clips with a known speaker and emotion; list the others as skipped."""
    release = read_names(root, config, NAMING)
    release.notes.append(
        "by the page of the release, 10 of the 15 sentences of each emotion but neutral occur with no other emotion: "
        "the words give labels away"
    )
    return release
