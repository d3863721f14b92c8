"""MSP-IMPROV: improvised and read dialogues of six pairs of actors, 4 perceived emotions.

`<root>/session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav`, in any folders: sentence and the emotion that was intended,
speaker (F01 to M06, whose number is the session's), scenario (R read, S improvised, T target sentence in it, P between
scenes), turn. The label is the evaluators' plurality, a line of `Evaluation.txt` (some copies: `Evalution.txt`):
`UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:...`. Text is not read.
Unsure: that the speaker's field, and not the letters of the turn, names who speaks; it is how all public code reads
it, and folds by session hold either way. Source: Busso et al., MSP-IMPROV: An Acted Corpus of Dyadic Interactions to
Study Emotion Perception, IEEE Transactions on Affective Computing 2017; the layout: public code that reads it.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from melt_ser.config import DatasetConfig
from melt_ser.corpora.readers.file_names import Naming, Row, Unused, read_names
from melt_ser.corpora.readers.release import annotation_file, folders
from melt_ser.corpora.table import GENDER_WORDS, Release, Skipped

EVALUATIONS = ("Evaluation.txt", "Evalution.txt")
EVALUATION = re.compile(r"UTD-(IMPROV-\S+)\.(?:avi|wav)\s*;\s*([A-Z])\s*;.*")
NAME = re.compile(r"MSP-IMPROV-S\d\d[AHNS]-(([FM])0([1-6]))-[PRST]-[FM]{2}\d+")


def read(root: Path, config: DatasetConfig) -> Release:
    """Every evaluated turn that has a file; turns without, and files without an evaluation, are problems."""
    labels, problems = _labels(root, config)

    def row(name: re.Match[str], path: PurePath) -> Row:
        if name[0] not in labels:
            raise Unused("file without an evaluation")
        speaker, gender, session = name.groups()
        return {
            "speaker": speaker,
            "session": f"session{session}",
            "gender": GENDER_WORDS[gender.lower()],
            "label": labels[name[0]],
        }

    scheme = "sentence, speaker, scenario, turn such as MSP-IMPROV-S01A-F01-P-FM01"
    release = read_names(root, config, Naming(NAME, scheme, row, expected="session1", spelling=str.upper))
    missing = sorted(labels.keys() - set(release.table["utterance"]))
    problems += [Skipped(utterance, "", "no audio file") for utterance in missing]
    return Release(release.table, release.skipped + problems, release.notes)


def _labels(root: Path, config: DatasetConfig) -> tuple[dict[str, str], list[Skipped]]:
    """The label of each evaluated turn, and the lines that are not understood."""
    searched = folders(root, config)
    present = [name for name in EVALUATIONS if any((folder / name).is_file() for folder in searched)]
    path = annotation_file((present or EVALUATIONS)[0], searched, root, config)
    labels: dict[str, str] = {}
    problems = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.startswith("UTD-"):
            continue  # the votes of single evaluators
        evaluation = EVALUATION.fullmatch(line.rstrip())
        if evaluation:
            labels[f"MSP-{evaluation[1].upper()}"] = evaluation[2]
        else:
            problems.append(Skipped(line, path.relative_to(root).as_posix(), "line not understood"))
    return labels, problems
