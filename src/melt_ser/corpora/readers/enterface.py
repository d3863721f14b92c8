"""eNTERFACE'05: elicited English of 44 subjects of many nations, 5 sentences in each of 6 emotions, as video.

Files: `<root>/subject 16/anger/sentence 3/s16_an_3.avi`, or in copies without folders `s16_an_3.wav`. A name is
subject, emotion and sentence. The release has these oddities, which are accepted: all files of subject 11 are called
s12_ (the folder is right, since subject 12 has files of those names too), some of subject 3 are called s_3_, one file
is called s16_su_3avi, and subject 6 has one uncut recording per emotion (`s6_an.avi`). A file is skipped if its folder
and name disagree in any other way.
Unsure: the paper counts 42 subjects. The number 44 and the oddities are taken from EmoBox's file list, which leaves
out subject 12.
Source: Martin et al., The eNTERFACE'05 Audio-Visual Emotion Database, ICDEW 2006.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from melt_ser.config import DatasetConfig
from melt_ser.corpora.readers.file_names import Naming, check_folder, folder_code, read_names
from melt_ser.corpora.readers.release import Row
from melt_ser.corpora.table import Release

SUBJECTS = {f"subject{mark}{number}": str(number) for number in range(1, 45) for mark in (" ", "_", "")}
EMOTIONS = {"anger": "an", "disgust": "di", "fear": "fe", "happiness": "ha", "sadness": "sa", "surprise": "su"}
NAME = re.compile(rf"s_?(\d+)_({'|'.join(EMOTIONS.values())})(?:_([1-5])(?:\.?avi)?)?")


def _row(name: re.Match[str], path: PurePath) -> Row:
    subject, emotion, sentence = name.groups()
    folder = folder_code(path, SUBJECTS)
    if subject == "12" and folder and folder[1] == "11":
        subject = "11"
    check_folder(path, SUBJECTS, "subject", subject)
    check_folder(path, EMOTIONS, "emotion", emotion)
    utterance = f"s{subject}_{emotion}" + (f"_{sentence}" if sentence else "")
    return {"utterance": utterance, "speaker": subject, "label": emotion}


NAMING = Naming(NAME, "subject, emotion, sentence such as s16_an_3", _row, expected="subject 1", spelling=str.lower)


def read(root: Path, config: DatasetConfig) -> Release:
    """Return the clips with names that follow the scheme and agree with their folders; list the others as skipped."""
    return read_names(root, config, NAMING)
