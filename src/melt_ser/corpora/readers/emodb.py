"""EmoDB: acted German speech, 10 speakers, 10 sentences, 7 emotions.

Files: `<root>/wav/03a01Wa.wav`, or without the folder. A name is speaker [0:2], sentence [2:5], emotion [5] and
version [6].
Source: Burkhardt et al., A Database of German Emotional Speech, Interspeech 2005.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from melt_ser.config import DatasetConfig
from melt_ser.corpora.readers.file_names import Naming, read_names
from melt_ser.corpora.readers.release import Row
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


def _row(name: re.Match[str], path: PurePath) -> Row:
    speaker, sentence, emotion = name.groups()
    return {"speaker": speaker, "gender": SPEAKER_GENDERS[speaker], "text": SENTENCES[sentence], "label": emotion}


def _spelling(stem: str) -> str:
    """Return a name in the release's letter case: only the emotion is a capital."""
    return stem[:5].lower() + stem[5:6].upper() + stem[6:].lower()


NAMING = Naming(NAME, "speaker, sentence, emotion such as 03a01Wa", _row, expected="wav", spelling=_spelling)


def read(root: Path, config: DatasetConfig) -> Release:
    """Return the clips with names that follow the scheme; list the others as skipped."""
    return read_names(root, config, NAMING)
