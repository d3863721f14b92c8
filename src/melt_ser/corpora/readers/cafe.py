"""CaFE: acted Canadian French, six women and six men, 6 sentences, 7 emotions, of which 6 in two intensities.

Files: `<root>/Peur/Fort/12-P-2-5.wav`, or without folders. A name is actor (odd: a man), emotion, intensity (1 faible,
2 fort; always 1 for neutral, which has no intensity) and sentence. Both releases are read, 48 kHz wav and 192 kHz aiff.
If an unpacking program broke the accents in a folder's name, only the file name counts.
Unsure: the wording of the sentences, taken from public code that quotes the release's Readme.
Source: Gournay, Lahaie and Lefebvre, A Canadian French Emotional Speech Dataset, ACM MMSys 2018, and the release's
Readme.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from melt_ser.config import DatasetConfig
from melt_ser.corpora.readers.file_names import Naming, check_folder, read_names
from melt_ser.corpora.readers.release import Row
from melt_ser.corpora.table import Release

EMOTIONS = {
    "colère": "C",
    "dégoût": "D",
    "joie": "J",
    "neutre": "N",
    "peur": "P",
    "surprise": "S",
    "tristesse": "T",
}
INTENSITIES = {"1": "faible", "2": "fort"}
INTENSITY_FOLDERS = {folder: code for code, folder in INTENSITIES.items()}
SENTENCES = {
    "1": "Un cheval fou dans mon jardin",
    "2": "Deux ânes aigris au pelage brun",
    "3": "Trois cygnes aveugles au bord du lac",
    "4": "Quatre vieilles truies éléphantesques",
    "5": "Cinq pumas fiers et passionnés",
    "6": "Six ours aimants domestiqués",
}
NAME = re.compile(r"(0[1-9]|1[0-2])-([CDJNPST])-([12])-([1-6])")


def _row(name: re.Match[str], path: PurePath) -> Row:
    actor, emotion, intensity, sentence = name.groups()
    check_folder(path, EMOTIONS, "emotion", emotion)
    check_folder(path, INTENSITY_FOLDERS, "intensity", intensity)
    return {
        "speaker": actor,
        "gender": "male" if int(actor) % 2 else "female",
        "text": SENTENCES[sentence],
        "intensity": "" if emotion == "N" else INTENSITIES[intensity],
        "label": emotion,
    }


NAMING = Naming(NAME, "actor, emotion, intensity, sentence such as 12-P-2-5", _row, expected="Peur", spelling=str.upper)


def read(root: Path, config: DatasetConfig) -> Release:
    """Return the clips with names that follow the scheme and agree with their folders; list the others as skipped."""
    return read_names(root, config, NAMING)
