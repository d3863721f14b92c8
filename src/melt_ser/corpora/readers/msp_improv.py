"""MSP-IMPROV: improvised and read dialogues of six pairs of actors, 4 perceived emotions.

Files: `<root>/session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav`, in any folders. A name has the sentence's number and
intended emotion (S01A), speaker (F01 to M06; the number is also that of the session), scenario (R read, S improvised, T
target sentence of the improvisation, P between scenes) and turn. The label is the evaluators' plurality: the letter in
a line of `Evaluation.txt` (some copies: `Evalution.txt`) such as `UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:3.2; V:3.0;
D:2.8; …`, with the means of activation, valence and dominance from 1 to 5. The lines under it are those of single
evaluators (msp_ratings.py). Activation is 1 for the most active there, so arousal is 6 minus it. Texts are not read.
Unsure: the person who speaks may be in the speaker field or in the letters of the turn. We read the field, as all
public code does; folds by session are right in both cases.
Source: Busso et al., MSP-IMPROV: An Acted Corpus of Dyadic Interactions to Study Emotion Perception, IEEE Transactions
on Affective Computing 2017; the layout: public code that reads it. The direction of activation: public code that turns
it, and EMO-SUPERB's tables of the corpus, which have it turned (`flip_aro`), with anger above sadness.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePath

from melt_ser.config import DatasetConfig
from melt_ser.corpora.ratings import Ratings
from melt_ser.corpora.readers.file_names import Naming, read_names
from melt_ser.corpora.readers.msp_ratings import Single, parse_rating, ratings_from
from melt_ser.corpora.readers.release import Row, Unused, annotation_file, folders
from melt_ser.corpora.table import GENDER_WORDS, Release, Skipped

EVALUATIONS = ("Evaluation.txt", "Evalution.txt")
EVALUATION = re.compile(r"UTD-(IMPROV-\S+)\.(?:avi|wav)\s*;\s*([A-Z])\s*;(.*)")
MEAN = re.compile(r"([AVD]):\s*([\d.]+)")
ATTRIBUTES = {"A": "arousal", "V": "valence", "D": "dominance"}
SCALE = (1.0, 5.0)
NAME = re.compile(r"MSP-IMPROV-S\d\d[AHNS]-(([FM])0([1-6]))-[PRST]-[FM]{2}\d+")


def read(root: Path, config: DatasetConfig) -> Release:
    """Return every evaluated turn that has a file; list other turns and files as skipped."""
    labels, skipped, ratings = _labels(root, config)

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
    skipped += [Skipped(utterance, "", "no audio file") for utterance in missing]
    return Release(release.table, release.skipped + skipped, release.notes, ratings=ratings)


def _labels(root: Path, config: DatasetConfig) -> tuple[dict[str, str], list[Skipped], Ratings | None]:
    """Return the label of each evaluated turn, the lines that do not follow the format, and all ratings."""
    searched = folders(root, config)
    present = [name for name in EVALUATIONS if any((folder / name).is_file() for folder in searched)]
    path = annotation_file((present or EVALUATIONS)[0], searched, root, config)
    labels: dict[str, str] = {}
    skipped = []
    utterance, consensus, single = "", dict[str, dict[str, str]](), list[Single]()
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.startswith("UTD-"):  # a single evaluator's answer about the turn above
            parsed = parse_rating(utterance, line) if utterance else None
            single += [parsed] if parsed else []
            continue
        utterance, evaluation = "", EVALUATION.fullmatch(line.rstrip())
        if evaluation:
            utterance = f"MSP-{evaluation[1].upper()}"
            labels[utterance] = evaluation[2]
            consensus[utterance] = {ATTRIBUTES[letter]: value for letter, value in MEAN.findall(evaluation[3])}
        else:
            skipped.append(Skipped(line, path.relative_to(root).as_posix(), "line not understood"))
    return labels, skipped, _turned(ratings_from(consensus, single, SCALE)) if config.target else None


def _turned(ratings: Ratings | None) -> Ratings | None:
    """Return the ratings with arousal from calm to active."""
    if ratings is None:
        return None
    attributes, single = (
        table.assign(arousal=sum(SCALE) - table["arousal"]) if "arousal" in table else table
        for table in (ratings.attributes, ratings.single)
    )
    return replace(ratings, attributes=attributes, single=single)
