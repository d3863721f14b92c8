"""EmoDB: acted German speech, 10 speakers, 10 sentences, 7 emotions.

`<root>/wav/03a01Wa.wav`, or the files in `<root>` itself: speaker [0:2], sentence [2:5], emotion [5],
version [6]. Source: Burkhardt et al., A Database of German Emotional Speech, Interspeech 2005.
"""

from __future__ import annotations

import re
from pathlib import Path

from melt_ser.config import DatasetConfig
from melt_ser.corpora.release import audio_files, not_found, preference
from melt_ser.corpora.table import Problem, Release, make_table

GENDERS = {
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
NAME = re.compile(rf"({'|'.join(GENDERS)})({'|'.join(SENTENCES)})([WLEAFTN])[a-z]?")


def read(root: Path, config: DatasetConfig) -> Release:
    """Every clip whose name follows the scheme; the others are problems."""
    folder = root / "wav" if (root / "wav").is_dir() else root
    files = audio_files(folder) if folder.is_dir() else []
    if not files:
        raise not_found(root / "wav", config)
    rows: dict[str, dict[str, str]] = {}
    problems = []
    for path in sorted(files, key=lambda path: (preference(path), path)):
        audio = path.relative_to(root).as_posix()
        name = NAME.fullmatch(path.stem)
        if not name:
            problems.append(Problem("", audio, "the name is not speaker, sentence, emotion such as 03a01Wa"))
        elif path.stem in rows:
            problems.append(Problem("", audio, f"the same clip as {rows[path.stem]['audio']}, which is used"))
        else:
            speaker, sentence, emotion = name.groups()
            rows[path.stem] = {
                "utterance": path.stem,
                "source": f"emodb/{path.stem}",
                "audio": audio,
                "speaker": speaker,
                "gender": GENDERS[speaker],
                "language": config.language,
                "text": SENTENCES[sentence],
                "label": emotion,
            }
    return Release(make_table(rows[stem] for stem in sorted(rows)), problems)
