"""ESD: parallel sentences read in 5 emotions by ten Chinese and ten English speakers.

Files: `<root>/0001/Angry/0001_000351.wav`, or one folder deeper, in the release's train, evaluation and test. The
folder is the emotion, the name begins with the speaker (0001 to 0010 Chinese, 0011 to 0020 English). The texts are in
`0001/0001.txt` (name TAB text TAB emotion, in several encodings, some emotions in Chinese). The release's split is not
used, because every speaker is in all of its parts.
Source: Zhou et al., Emotional Voice Conversion: Theory, Databases and ESD, Speech Communication 2022; genders from the
README of the release.
"""

from __future__ import annotations

import codecs
import re
from pathlib import Path, PurePath

from melt_ser.config import DatasetConfig
from melt_ser.corpora.readers.file_names import Naming, check_folder, fill, folder_code, read_names
from melt_ser.corpora.readers.release import Row, Unused, visible_files
from melt_ser.corpora.table import Release

EMOTIONS = {emotion.lower(): emotion for emotion in ("Angry", "Happy", "Neutral", "Sad", "Surprise")}
SPEAKERS = {f"{number:04}": f"{number:04}" for number in range(1, 21)}
MEN = {"0004", "0005", "0006", "0008", "0010", "0011", "0012", "0013", "0014", "0020"}
FIRST_ENGLISH = "0011"
NAME = re.compile(rf"({'|'.join(SPEAKERS)})_\d{{6}}")


def _row(name: re.Match[str], path: PurePath) -> Row:
    speaker = name[1]
    check_folder(path, SPEAKERS, "speaker", speaker)
    folder = folder_code(path, EMOTIONS)
    if not folder:
        raise Unused(f"no folder above it says the emotion ({', '.join(EMOTIONS.values())})")
    return {
        "speaker": speaker,
        "gender": "male" if speaker in MEN else "female",
        "language": "en" if speaker >= FIRST_ENGLISH else "zh",
        "label": folder[1],
    }


NAMING = Naming(NAME, "speaker and number such as 0001_000351", _row, expected="0001")


def read(root: Path, config: DatasetConfig) -> Release:
    """Return the clips in the folder of an emotion and of their speaker; list the others as skipped."""
    release = read_names(root, config, NAMING)
    texts = _texts(root)
    fill(release, "text", texts)
    missing = int((release.table["text"] == "").sum())
    if texts and missing:  # some lines of the release lack a tab
        release.notes.append(f"{missing} clips have no line of three columns in the speakers' text files")
    return release


def _texts(root: Path) -> dict[str, str]:
    """Return the text of each clip from the speakers' text files."""
    texts: dict[str, str] = {}
    for path in visible_files(root):
        if path.stem in SPEAKERS and path.suffix == ".txt":
            lines = (line.split("\t") for line in _decode(path).splitlines())
            texts |= {line[0].strip(): line[1].strip() for line in lines if len(line) == 3}
    return texts


def _decode(path: Path) -> str:
    """Return the content of a text file: UTF-16 if it has a byte-order mark, UTF-8, or the language's old encoding."""
    data = path.read_bytes()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252" if path.stem >= FIRST_ENGLISH else "gb18030", errors="replace")
