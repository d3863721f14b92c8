"""EMOVO: acted Italian, three women and three men, 14 sentences, 7 emotions.

Files: `<root>/f2/gio-f2-b2.wav`, or without folders. A name is emotion (neu, dis, gio, pau, rab, sor, tri), speaker
(f1 to f3, m1 to m3) and sentence.
Source: Costantini et al., EMOVO Corpus: an Italian Emotional Speech Database, LREC 2014; it lists the sentences.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from melt_ser.config import DatasetConfig
from melt_ser.corpora.readers.file_names import Naming, check_folder, read_names
from melt_ser.corpora.readers.release import Row
from melt_ser.corpora.table import GENDER_WORDS, Release

SPEAKERS = {speaker: speaker for speaker in ("f1", "f2", "f3", "m1", "m2", "m3")}
SENTENCES = {
    "b1": "Gli operai si alzano presto",
    "b2": "I vigili sono muniti di pistola",
    "b3": "La cascata fa molto rumore",
    "l1": "L'autunno prossimo Tony partirà per la Spagna nella prima metà di ottobre",
    "l2": "Ora prendo la felpa di là ed esco per fare una passeggiata",
    "l3": "Un attimo dopo s'è incamminato ... ed è inciampato",
    "l4": "Vorrei il numero telefonico del Signor Piatti",
    "n1": "La casa forte vuole col pane",
    "n2": "La forza trova il passo e l'aglio rosso",
    "n3": "Il gatto sta scorrendo nella pera",
    "n4": "Insalata pastasciutta coscia d'agnello limoncello",
    "n5": "Uno quarantatré dieci mille cinquantasette venti",
    "d1": "Sabato sera cosa farà?",
    "d2": "Porti con te quella cosa?",
}
NAME = re.compile(rf"(dis|gio|neu|pau|rab|sor|tri)-({'|'.join(SPEAKERS)})-({'|'.join(SENTENCES)})")


def _row(name: re.Match[str], path: PurePath) -> Row:
    emotion, speaker, sentence = name.groups()
    check_folder(path, SPEAKERS, "speaker", speaker)
    gender = GENDER_WORDS[speaker[0]]
    return {"speaker": speaker, "gender": gender, "text": SENTENCES[sentence], "label": emotion}


NAMING = Naming(NAME, "emotion, speaker, sentence such as gio-f2-b2", _row, expected="f1", spelling=str.lower)


def read(root: Path, config: DatasetConfig) -> Release:
    """Return the clips with names that follow the scheme and agree with their folder; list the others as skipped."""
    return read_names(root, config, NAMING)
