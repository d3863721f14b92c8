"""MELT: 8,818 utterances of MELD, labelled anew from their text by GPT-4o.

Files: two annotation files, `meld_train.csv` and `meld_test.csv`. The audio is MELD's, so the root holds MELD's clips
too. `label_column: llm_label` reads the new labels, `Emotion` reads MELD's own labels of the same rows.
Source: Jing et al., MELT: Towards Automated Multimodal Emotion Data Annotation by Leveraging LLM Embedded Knowledge,
Interspeech 2025; data: KeiKinn/meltdataset.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError, SetupError, did_you_mean
from melt_ser.corpora.readers import meld
from melt_ser.corpora.readers.release import annotation_file, folders
from melt_ser.corpora.table import Release, Skipped

LABEL_COLUMNS = ("llm_label", "Emotion")
TAXONOMY = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")


def read(root: Path, config: DatasetConfig) -> Release:
    """Return the rows of MELT that have a clip; sources, sessions and speakers are named as in `meld`.

    In 3 test rows GPT-4o gave a label outside its seven. Under MELD's labels these rows are skipped, so that both
    label sources use the same rows; under MELT's own labels they stay, and the label map decides. The column
    `other_label` is the label of the other source, for `dataset.both_labels`.
    """
    column = config.label_column
    if column not in LABEL_COLUMNS:
        raise SetupError(f"dataset.label_column is '{column}': {did_you_mean(column, LABEL_COLUMNS)}")
    searched = folders(root, config)
    annotations, skipped = {}, []
    for split in ("train", "test"):
        frame = _read_annotations(annotation_file(f"meld_{split}.csv", searched, root, config))
        if column == "Emotion":
            outside = frame[~frame["llm_label"].isin(TAXONOMY)]
            skipped += [
                Skipped(
                    _utterance(split, row),
                    "",
                    f"MELT's label '{row.llm_label}' is none of the seven; left out of both label sources",
                )
                for row in outside.itertuples()
            ]
            frame = frame.drop(outside.index)
        annotations[split] = frame
    clips, unused, notes = meld.find_clips(root, searched, list(annotations), config)
    release = meld.join(annotations, clips, config, column)
    other = next(name for name in LABEL_COLUMNS if name != column)
    release.table["other_label"] = release.table["utterance"].map(
        {
            _utterance(split, row): getattr(row, other)
            for split, frame in annotations.items()
            for row in frame.itertuples()
        }
    )
    annotated = {key for split, frame in annotations.items() for key in meld.keys(split, frame)}
    beyond = len(clips.keys() - annotated)
    if beyond:
        notes.append(f"{beyond} clips of MELD's train and test folders are not in MELT")
    return Release(release.table, release.skipped + skipped + unused, release.notes + notes)


def _read_annotations(path: Path) -> pd.DataFrame:
    """Return an annotation file of MELT; raise InputError if a file name is not that of its dialogue and utterance."""
    frame = meld.read_annotations(path, more=("filename", "llm_label"))
    expected = "dia" + frame["Dialogue_ID"].astype(str) + "_utt" + frame["Utterance_ID"].astype(str)
    wrong = frame.index[frame["filename"].str.removesuffix(".wav") != expected]
    if len(wrong):
        row = frame.loc[wrong[0]]
        raise InputError(
            f"{path}, row {wrong[0] + 1}: filename {row['filename']} is not that of "
            f"dialogue {row['Dialogue_ID']}, utterance {row['Utterance_ID']}."
        )
    frame["Speaker"] = frame["Speaker"].str.title()  # MELT writes them in lower case
    return frame


def _utterance(split: str, row: Any) -> str:
    return f"{split}_dia{row.Dialogue_ID}_utt{row.Utterance_ID}"
