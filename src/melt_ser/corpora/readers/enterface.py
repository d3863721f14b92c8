"""eNTERFACE'05: elicited English of 44 subjects of many nations, 5 sentences in each of 6 emotions, as video.

Files: `<root>/subject 16/anger/sentence 3/s16_an_3.avi`, or in copies without folders `s16_an_3.wav`. A name is
subject, emotion and sentence. The release has these oddities, which are accepted: all files of subject 11 are called
s12_ (the folder is right, since subject 12 has files of those names too), some of subject 3 are called s_3_, one file
is called s16_su_3avi, and subject 6 has one uncut recording per emotion (`s6_an.avi`, 56 to 107 s). A file is skipped
if its folder and name disagree in any other way.
The paper counts 42 subjects: those with 30 clips. The release has two more, subject 6 and subject 23, who lacks three
clips, so 42 x 30 + 27 + 6 = 1,293 files of 44 speakers.
Each emotion has five sentences of its own, so the words alone tell the emotion; `sentences.py` warns of it.
Unsure: the oddities, which are taken from EmoBox's file list (without subject 12), and the wording of the sentences,
which is that of a public recipe.
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
SENTENCES = {
    "an": (
        "What? No, no, no, listen! I need this money!",
        "I don't care about your coffee! Please serve me!",
        "I can have you fired you know!",
        "Is your coffee more important than my money?",
        "You're getting paid to work, not drink coffee!",
    ),
    "di": (
        "That's horrible! I'll never eat noodles again.",
        "Something is moving inside my plate.",
        "Aaaaah, a cockroach!",
        "Eeeek, this is disgusting!",
        "That's gross!",
    ),
    "fe": (
        "Oh my God, there is someone in the house!",
        "Someone is climbing up the stairs.",
        "Please don't kill me.",
        "I'm not alone! Go away!",
        "I have nothing to give you! Please don't hurt me!",
    ),
    "ha": (
        "That's great, I'm rich now!",
        "I won: this is great! I'm so happy!",
        "Wahoo, this is so great.",
        "I'm so lucky!",
        "I'm so excited!",
    ),
    "sa": (
        "Life won't be the same now.",
        "Oh no, tell me this is not true, please!",
        "Everything was so perfect! I just don't understand!",
        "I still loved him (her).",
        "He (she) was my life.",
    ),
    "su": (
        "You have never told me that!",
        "I didn't expect that!",
        "Wahoo, I would never have believed this!",
        "I never saw that coming!",
        "Oh my God, that's so weird!",
    ),
}
NAME = re.compile(rf"s_?(\d+)_({'|'.join(EMOTIONS.values())})(?:_([1-5])(?:\.?avi)?)?")


def _row(name: re.Match[str], path: PurePath) -> Row:
    subject, emotion, sentence = name.groups()
    folder = folder_code(path, SUBJECTS)
    if subject == "12" and folder and folder[1] == "11":
        subject = "11"
    check_folder(path, SUBJECTS, "subject", subject)
    check_folder(path, EMOTIONS, "emotion", emotion)
    utterance = f"s{subject}_{emotion}" + (f"_{sentence}" if sentence else "")
    text = SENTENCES[emotion][int(sentence) - 1] if sentence else ""
    return {"utterance": utterance, "speaker": subject, "text": text, "label": emotion}


NAMING = Naming(NAME, "subject, emotion, sentence such as s16_an_3", _row, expected="subject 1", spelling=str.lower)


def read(root: Path, config: DatasetConfig) -> Release:
    """Return the clips with names that follow the scheme and agree with their folders; list the others as skipped."""
    release = read_names(root, config, NAMING)
    uncut = int((release.table["text"] == "").sum())
    if uncut:
        release.notes.append(
            f"{uncut} recordings of subject 6 are uncut, all five sentences in one file; those longer than "
            f"dataset.maximum_seconds are left out"
        )
    return release
