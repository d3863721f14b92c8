"""MELD: utterances of the television series Friends, cut from its dialogues, 7 emotions.

Files: either the raw release (`train_splits/dia0_utt0.mp4`, `dev_splits_complete/`, `output_repeated_splits_test/`) or
an audio mirror (`train/dia0_utt0.flac`, `dev/`, `test/`), and the release's three annotation files, in the root or up
to three folders below it. Dialogue and utterance numbers restart in every split, so the key of a recording is (split,
dialogue, utterance). The annotated times are not used: the clips are cut already, and the times give one clip (test
dia155_utt3) no length.
Source: Poria et al., MELD: A Multimodal Multi-Party Dataset for Emotion Recognition in Conversations, ACL 2019; the
defects: issues 9, 20, 22 and 39 of declare-lab/MELD.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError
from melt_ser.corpora.readers.release import annotation_file, audio_files, folders, not_found, preference
from melt_ser.corpora.table import Release, Skipped, make_table

FOLDERS = {  # the raw release's folder first, then those of the mirrors
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

# These clips are minutes long in the release. Verification refuses a clip that is longer than dataset.maximum_seconds
# (or unreadable, such as train/dia125_utt3); if the user's copy is repaired, the clip is used.
WRONGLY_CUT = ("train/dia309_utt0", "test/dia38_utt4", "test/dia220_utt0")
# These clips are used, as in every published result, and a note lists them.
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
    """Return every annotated utterance that has a clip; list the others as skipped, and note known defects."""
    searched = folders(root, config)
    annotations = {
        split: read_annotations(annotation_file(f"{split}_sent_emo.csv", searched, root, config)) for split in FOLDERS
    }
    clips, skipped, notes = find_clips(root, searched, list(FOLDERS), config)
    release = join(annotations, clips, config, "Emotion")
    annotated = {key for split, frame in annotations.items() for key in keys(split, frame)}
    skipped += [Skipped("", clips[key], "file without annotation") for key in sorted(clips.keys() - annotated)]
    return replace(release, skipped=release.skipped + skipped, notes=release.notes + notes)


def read_annotations(path: Path, more: tuple[str, ...] = ()) -> pd.DataFrame:
    """Return an annotation file as text, with numbers as `Dialogue_ID` and `Utterance_ID`.

    Raises InputError if it is not the released CSV or lacks a column; `more` names columns that it must have besides
    MELD's.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        reason = " ".join(str(error).split())  # without the line end of pandas' message
        raise InputError(f"{path} is not the released CSV ({reason}); copy it again from the release.") from None
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes the surplus values for an index
        raise InputError(f"{path} has rows with more values than columns; copy it again from the release.")
    required = ["Dialogue_ID", "Utterance_ID", "Utterance", "Speaker", "Emotion", *more]
    missing = [column for column in required if column not in frame.columns]
    if missing:
        raise InputError(f"{path} lacks the column {', '.join(missing)}; it has {', '.join(frame.columns)}.")
    for column in ("Dialogue_ID", "Utterance_ID"):
        wrong = frame.index[~frame[column].str.fullmatch(r"[0-9]{1,9}")]
        if len(wrong):
            value = frame.loc[wrong[0], column]
            raise InputError(
                f"{path}, row {wrong[0] + 1}: {column} is '{value}', which is no whole number; "
                "copy the file from the release again."
            )
    return frame.astype({"Dialogue_ID": int, "Utterance_ID": int})


def keys(split: str, frame: pd.DataFrame) -> list[Key]:
    """Return the key of each annotated row."""
    return [
        (split, dialogue, number) for dialogue, number in zip(frame["Dialogue_ID"], frame["Utterance_ID"], strict=True)
    ]


def find_clips(
    root: Path, searched: list[Path], splits: list[str], config: DatasetConfig
) -> tuple[dict[Key, str], list[Skipped], list[str]]:
    """Return the clip of each key (its path relative to root), the skipped files, and notes.

    Raises SetupError if a split has no folder with clips. The raw release's test folder has some clips twice:
    `final_videos_test<name>` is the corrected cut and is used; users report that its plain twin is another utterance.
    """
    clips: dict[Key, str] = {}
    skipped: list[Skipped] = []
    corrected = 0
    for split in splits:
        best: dict[Key, Path] = {}
        for path in sorted(_clip_files(root, searched, split, config), key=_corrected_first):
            name = CLIP.fullmatch(path.stem)
            audio = path.relative_to(root).as_posix()
            if not name:
                skipped.append(Skipped("", audio, "the name is not dialogue and utterance such as dia0_utt0"))
                continue
            key = (split, int(name[2]), int(name[3]))
            if key in best:
                skipped.append(Skipped("", audio, f"a second file of a clip: {best[key].name} is used"))
            else:
                best[key] = path
                corrected += bool(name[1])
        clips |= {key: path.relative_to(root).as_posix() for key, path in best.items()}
    notes = [f"{corrected} test clips are the release's corrected cuts (final_videos_test…)"] if corrected else []
    return clips, skipped, notes


def _clip_files(root: Path, searched: list[Path], split: str, config: DatasetConfig) -> list[Path]:
    """Return the audio files of a split: those of the first folder with the right name that holds clips."""
    for name in FOLDERS[split]:
        for folder in searched[1:]:  # never the root itself, even if it is called "test"
            files = audio_files(folder) if folder.name.lower() == name else []
            if any(CLIP.fullmatch(path.stem) for path in files):
                return files
    raise not_found(root / FOLDERS[split][0], config)


def _corrected_first(path: Path) -> tuple[bool, int, Path]:
    return not path.stem.lower().startswith("final_"), preference(path), path


def join(
    annotations: Mapping[str, pd.DataFrame], clips: Mapping[Key, str], config: DatasetConfig, label: str
) -> Release:
    """Return the annotated rows that have a clip, with the column `label` as label; list the others as skipped.

    Rows and clips are joined on the key, not on the text, because MELT's texts differ from MELD's.
    """
    rows, skipped = [], []
    for split, frame in annotations.items():
        for key, record in zip(keys(split, frame), frame.to_dict("records"), strict=True):
            clip = f"{split}/dia{key[1]}_utt{key[2]}"
            utterance, audio = clip.replace("/", "_"), clips.get(key, "")
            if not audio:
                skipped.append(Skipped(utterance, "", f"no audio file: {clip}"))
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
    return Release(table, skipped, known_defects(table), annotated=table.assign(dialogue=table["session"]))


def known_defects(table: pd.DataFrame) -> list[str]:
    """Return notes on the used clips that are reported to be defective."""
    clip = table["source"].str.removeprefix("meld/")
    disturbed = clip[clip.isin(DISTURBED)]
    mismatched = clip[clip.isin(MISMATCHED) | (table["session"] == MISMATCHED_DIALOGUE)]
    reported = {
        "disturbed audio": disturbed,
        "audio that does not match its text": mismatched,
        "a wrong cut, and are refused where they are minutes long": clip[clip.isin(WRONGLY_CUT)],
    }
    return [
        f"{len(clips)} clips are reported to have {defect}: {', '.join(clips)}"
        for defect, clips in reported.items()
        if len(clips)
    ]
