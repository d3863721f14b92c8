"""MELT: 8,818 utterances of MELD, labelled anew from their text by GPT-4o.

Files: two annotation files, `meld_train.csv` and `meld_test.csv`. The audio is MELD's, so the root holds MELD's clips
too. `label_column: llm_label` reads the new labels, `Emotion` reads MELD's own labels of the same rows.
Source: Jing et al., MELT: Towards Automated Multimodal Emotion Data Annotation by Leveraging LLM Embedded Knowledge,
Interspeech 2025; data: KeiKinn/meltdataset.
"""

from __future__ import annotations

from pathlib import Path

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
    `other_label` is the label of the other source, for `dataset.both_labels`. `annotated` is the same for both sources.
    """
    column = config.label_column
    if column not in LABEL_COLUMNS:
        raise SetupError(f"dataset.label_column is '{column}': {did_you_mean(column, LABEL_COLUMNS)}")
    searched = folders(root, config)
    annotations = {
        split: _read_annotations(annotation_file(f"meld_{split}.csv", searched, root, config))
        for split in ("train", "test")
    }
    clips, unused, notes = meld.find_clips(root, searched, list(annotations), config)
    release = meld.join(annotations, clips, config, column)
    labels = _labels(annotations).loc[release.table["utterance"]].reset_index(drop=True)
    other = next(name for name in LABEL_COLUMNS if name != column)
    table, skipped = release.table.assign(other_label=labels[other]), []
    if column == "Emotion":
        outside = ~labels["llm_label"].isin(TAXONOMY)
        reason = "MELT's label '{}' is none of the seven; left out of both label sources"
        rows = table.loc[outside, ["utterance", "other_label"]].to_numpy().tolist()
        skipped = [Skipped(utterance, "", reason.format(label)) for utterance, label in rows]
        table = table[~outside].reset_index(drop=True)
    keys = {key for split, frame in annotations.items() for key in meld.keys(split, frame)}
    beyond = len(clips.keys() - keys)
    if beyond:
        notes.append(f"{beyond} clips of MELD's train and test folders are not in MELT")
    return Release(
        table,
        release.skipped + skipped + unused,
        release.notes + notes,
        annotated=release.drawn_from.assign(label=labels["Emotion"], other_label=labels["llm_label"]),
    )


def _labels(annotations: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the labels of both sources, by utterance."""
    frames = [
        frame.set_index(f"{split}_dia" + frame["Dialogue_ID"].astype(str) + "_utt" + frame["Utterance_ID"].astype(str))
        for split, frame in annotations.items()
    ]
    labels = pd.concat(frames)[list(LABEL_COLUMNS)]
    return labels[~labels.index.duplicated()]  # a repeated row is refused later


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
