"""MELD: utterances of the television series Friends, cut from its dialogues, 7 emotions.

Either the raw release (`train_splits/dia0_utt0.mp4`, `dev_splits_complete/`, `output_repeated_splits_test/`)
or an audio mirror (`train/dia0_utt0.flac`, `dev/`, `test/`), and the release's three annotation files, in the
root or up to three folders below it. Dialogue and utterance numbers restart in every split, so the key of a
recording is (split, dialogue, utterance). The annotated times are not used: the clips are cut already, and
one (test dia155_utt3) has no length by them. Source: Poria et al., MELD: A Multimodal Multi-Party Dataset for
Emotion Recognition in Conversations, ACL 2019; the defects: issues 9, 20, 22 and 39 of declare-lab/MELD.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError
from melt_ser.corpora.readers.release import annotation_file, audio_files, folders, not_found, preference
from melt_ser.corpora.table import Release, Skipped, make_table

FOLDERS = {  # of the raw release, then of the mirrors
    "train": ("train_splits", "train"),
    "dev": ("dev_splits_complete", "dev_splits", "dev"),
    "test": ("output_repeated_splits_test", "test_splits", "test"),
}
CLIP = re.compile(r"(final_videos_test)?dia(\d+)_utt(\d+)", re.IGNORECASE)
SPEAKER_GENDERS = {
    "Chandler": "male",
    "Joey": "male",
    "Monica": "female",
    "Phoebe": "female",
    "Rachel": "female",
    "Ross": "male",
}

# Minutes long in the release. The clip as it lies on disk decides: verification refuses one that is longer than
# dataset.maximum_seconds (as it does one that cannot be read, as train/dia125_utt3), and a repaired one is used.
WRONGLY_CUT = ("train/dia309_utt0", "test/dia38_utt4", "test/dia220_utt0")
# Used, since every published figure uses them, and said in a note.
DISTURBED = (
    "train/dia164_utt5",
    "train/dia529_utt2",
    "train/dia682_utt1",
    "train/dia793_utt0",
    "train/dia1008_utt1",
    "train/dia1029_utt1",
)
MISMATCHED = ("train/dia485_utt0", "train/dia757_utt7")
MISMATCHED_DIALOGUE = "train/dia241"

Key = tuple[str, int, int]  # split, dialogue, utterance


def read(root: Path, config: DatasetConfig) -> Release:
    """Every annotated utterance with its clip; the rest are problems, and known defects are noted."""
    searched = folders(root, config)
    annotations = {
        split: read_annotations(annotation_file(f"{split}_sent_emo.csv", searched, root, config)) for split in FOLDERS
    }
    clips, problems, notes = find_clips(root, searched, list(FOLDERS), config)
    release = join(annotations, clips, config, "Emotion")
    annotated = {key for split, frame in annotations.items() for key in keys(split, frame)}
    problems += [Skipped("", clips[key], "file without annotation") for key in sorted(clips.keys() - annotated)]
    return Release(release.table, release.skipped + problems, release.notes + notes)


def read_annotations(path: Path, more: tuple[str, ...] = ()) -> pd.DataFrame:
    """An annotation file as strings, with a column `row` (the data row, from 1)."""
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        reason = " ".join(str(error).split())  # pandas' ends with a line end
        raise InputError(f"{path} is not the released CSV ({reason}); copy it again from the release.") from None
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes what the header does not name for an index
        raise InputError(f"{path} has rows with more values than columns; copy it again from the release.")
    wanted = ["Dialogue_ID", "Utterance_ID", "Utterance", "Speaker", "Emotion", *more]
    missing = [column for column in wanted if column not in frame.columns]
    if missing:
        raise InputError(f"{path} lacks the column {', '.join(missing)}; it has {', '.join(frame.columns)}.")
    for column in ("Dialogue_ID", "Utterance_ID"):
        wrong = frame.index[~frame[column].str.fullmatch(r"[0-9]{1,9}")]
        if len(wrong):
            value = frame.loc[wrong[0], column]
            raise InputError(f"{path}, row {wrong[0] + 1}: {column} is '{value}', which is no whole number.")
    return frame.astype({"Dialogue_ID": int, "Utterance_ID": int})


def keys(split: str, frame: pd.DataFrame) -> list[Key]:
    """The key of each annotated row."""
    return [
        (split, dialogue, number) for dialogue, number in zip(frame["Dialogue_ID"], frame["Utterance_ID"], strict=True)
    ]


def find_clips(
    root: Path, searched: list[Path], splits: list[str], config: DatasetConfig
) -> tuple[dict[Key, str], list[Skipped], list[str]]:
    """Each key's clip (relative to root), unused files, and notes; SetupError without a split's folder."""
    clips: dict[Key, str] = {}
    problems: list[Skipped] = []
    corrected = 0
    for split in splits:
        files = _clip_files(root, searched, split, config)
        best: dict[Key, Path] = {}
        # The test folder holds some clips twice: `final_videos_test<name>` is the corrected cut
        # and goes first; users of the release report that its plain twin is another utterance.
        for path in sorted(
            files, key=lambda path: (not path.stem.lower().startswith("final_"), preference(path), path)
        ):
            name = CLIP.fullmatch(path.stem)
            audio = path.relative_to(root).as_posix()
            if not name:
                problems.append(Skipped("", audio, "the name is not dialogue and utterance such as dia0_utt0"))
                continue
            key = (split, int(name[2]), int(name[3]))
            if key in best:
                problems.append(Skipped("", audio, f"a second file of a clip: {best[key].name} is used"))
            else:
                best[key] = path
                corrected += bool(name[1])
        clips |= {key: path.relative_to(root).as_posix() for key, path in best.items()}
    notes = [f"{corrected} test clips are the release's corrected cuts (final_videos_test…)"] if corrected else []
    return clips, problems, notes


def _clip_files(root: Path, searched: list[Path], split: str, config: DatasetConfig) -> list[Path]:
    """The audio files of a split: those of the first folder of the right name that holds clips."""
    for name in FOLDERS[split]:
        for folder in searched[1:]:  # the root is a corpus, whatever it is called
            files = audio_files(folder) if folder.name.lower() == name else []
            if any(CLIP.fullmatch(path.stem) for path in files):
                return files
    raise not_found(root / FOLDERS[split][0], config)


def join(
    annotations: Mapping[str, pd.DataFrame], clips: Mapping[Key, str], config: DatasetConfig, label: str
) -> Release:
    """Annotated rows with their clips, joined on the key, never on text (MELT's texts differ from MELD's)."""
    rows, problems = [], []
    for split, frame in annotations.items():
        for key, record in zip(keys(split, frame), frame.to_dict("records"), strict=True):
            clip = f"{split}/dia{key[1]}_utt{key[2]}"
            utterance, audio = clip.replace("/", "_"), clips.get(key, "")
            if not audio:
                problems.append(Skipped(utterance, "", f"no audio file: {clip}"))
            else:
                rows.append(
                    {
                        "utterance": utterance,
                        "source": f"meld/{clip}",
                        "audio": audio,
                        "split": split,
                        "speaker": record["Speaker"],
                        "session": f"{split}/dia{key[1]}",
                        "gender": SPEAKER_GENDERS.get(record["Speaker"], ""),
                        "language": config.language,
                        "text": record["Utterance"],
                        "label": record[label],
                    }
                )
    table = make_table(rows)
    return Release(table, problems, known_defects(table))


def known_defects(table: pd.DataFrame) -> list[str]:
    """Notes on the reported defects of clips that are used all the same."""
    clip = table["source"].str.removeprefix("meld/")
    disturbed = clip[clip.isin(DISTURBED)]
    mismatched = clip[clip.isin(MISMATCHED) | (table["session"] == MISMATCHED_DIALOGUE)]
    reported = {
        "disturbed audio": disturbed,
        "audio that does not match its text": mismatched,
        "a wrong cut, and are refused where they are minutes long": clip[clip.isin(WRONGLY_CUT)],
    }
    return [
        f"{len(found)} clips are reported to have {what}: {', '.join(found)}"
        for what, found in reported.items()
        if len(found)
    ]
