"""Bad tables of a corpus of one's own, and unusual tables that are read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import soundfile

from bad_inputs import Expected, kind
from bad_inputs.corpora import GOOD_CLIPS, Row, add_row, corpus_of, prepare, refused, train, used, write_rows
from corpus_trees import emodb_tree
from small_runs import corpus


def first_row(folder: Path, **cells: str) -> Path:
    """Return a corpus with these cells in its first row."""
    return corpus_of(folder, lambda number, row: {**row, **(cells if number == 0 else dict.fromkeys(cells, ""))})


def split_of(speaker: str) -> str:
    return {"s0": "train", "s1": "train", "s2": "dev", "s3": "test"}[speaker]


def with_splits(row: Row) -> Row:
    return {**row, "split": split_of(row["speaker"])}


@kind
def duplicate_utterances(folder: Path) -> Expected:
    root = corpus_of(folder, lambda number, row: {**row, "utterance": f"u{number % 20}"})
    return refused(prepare(root), "table.csv, row 21", "the utterance 'u0' has been used before")


@kind
def several_raters(folder: Path) -> Expected:
    root = corpus(folder / "corpus")
    add_row(root, audio="wav/s0_0.wav", label="sad", speaker="s0")
    add_row(root, audio="wav/s0_0.wav", label="sad", speaker="s0")
    add_row(root, audio="wav/s0_1.wav", label="happy", speaker="s0")
    return refused(
        prepare(root), "several rows for 1 of its recordings or", "rows 1 and 25", "dataset.rater_vote=majority"
    )


@kind
def several_raters_who_vote(folder: Path) -> Expected:
    root = corpus(folder / "corpus")
    for label in ("sad", "sad"):
        add_row(root, audio="wav/s0_0.wav", label=label, speaker="s0")
    add_row(root, audio="wav/s0_1.wav", label="sad", speaker="s0")
    says = [
        f"{GOOD_CLIPS - 1} clips verified",
        "dropped: 2\n",
        "no majority of the raters: row 2",
        "3 rows became 1",
    ]
    return Expected(prepare(root, "dataset.rater_vote=majority"), 0, says)


@kind
def a_row_twice(folder: Path) -> Expected:
    root = corpus(folder / "corpus")
    add_row(root, audio="wav/s0_0.wav", label="angry", speaker="s0")
    return used(root, 1, GOOD_CLIPS, "a row that repeats another: row 25")


@kind
def a_table_whose_files_are_all_missing(folder: Path) -> Expected:
    root = corpus_of(folder, lambda number, row: {**row, "audio": f"moved/{number}.wav"})
    return refused(prepare(root), "can be used (24 left out; the first: moved/0.wav: no audio file: row 1)")


@kind
def an_unknown_label(folder: Path) -> Expected:
    root = corpus_of(folder, lambda number, row: {**row, "label": "meh" if number < 3 else row["label"]})
    unknown = "labels that its label_map does not know: 'meh' (3)"
    return refused(prepare(root), unknown, "for example dataset.label_map.meh=null.")


@kind
def a_label_of_two_lines(folder: Path) -> Expected:
    command = prepare(first_row(folder, label="very\nsad", speaker="s0"))
    return refused(command, r"'very\nsad' (1)", r"$'dataset.label_map.very\nsad=null'")


@kind
def labels_with_blanks_around_them(folder: Path) -> Expected:
    return used(corpus_of(folder, lambda number, row: {**row, "label": f"  {row['label'].upper()} "}))


@kind
def rows_without_a_label(folder: Path) -> Expected:
    root = corpus_of(folder, lambda number, row: {**row, "label": "  " if number < 2 else row["label"]})
    return used(root, 2, GOOD_CLIPS - 2, "no label: row 1")


@kind
def a_label_mapped_to_no_emotion(folder: Path) -> Expected:
    command = prepare(corpus(folder / "corpus"), "+dataset.label_map.sad=saddd")
    return refused(command, "maps 'sad' of 'csv' to 'saddd'", "did you mean 'sad'", code=2)


@kind
def a_corpus_name_that_leaves_its_folder(folder: Path) -> Expected:
    command = prepare(corpus(folder / "corpus"), "dataset.name=../../elsewhere")
    return refused(command, "dataset.name '../../elsewhere' cannot name files and folders", code=2)


@kind
def a_negative_start(folder: Path) -> Expected:
    return refused(prepare(first_row(folder, start="-1")), "table.csv, row 1, start: '-1' is no time in seconds")


@kind
def a_start_that_is_no_number(folder: Path) -> Expected:
    return refused(prepare(first_row(folder, start="NaN")), "table.csv, row 1, start: 'NaN' is no time in seconds")


@kind
def a_segment_that_ends_before_it_starts(folder: Path) -> Expected:
    root = first_row(folder, start="0.2", end="0.1")
    return refused(prepare(root), "table.csv, row 1", "the segment ends at 0.1 s, and starts then or later")


@kind
def a_segment_past_the_end(folder: Path) -> Expected:
    return used(first_row(folder, start="0", end="9"), 1, GOOD_CLIPS - 1, "the segment ends at 9.0 s")


@kind
def a_segment_behind_the_end(folder: Path) -> Expected:
    return used(first_row(folder, start="5"), 1, GOOD_CLIPS - 1, "lies outside the recording")


@kind
def one_class_only(folder: Path) -> Expected:
    root = corpus(folder / "corpus", classes=("sad",))
    return refused(train(root), "'csv' has 1 of the classes", "training needs two or more")


@kind
def a_split_without_test(folder: Path) -> Expected:
    root = corpus_of(folder, lambda number, row: {**row, "split": "train"})
    return refused(train(root), "has no test rows in its split column", "dataset.folds=")


@kind
def a_speaker_in_two_splits(folder: Path) -> Expected:
    root = corpus_of(folder, lambda number, row: with_splits(row) | ({"speaker": "s3"} if number == 0 else {}))
    return refused(train(root), "has 1 of its 1 test speakers in train too (such as 's3')")


@kind
def a_recording_in_train_and_test(folder: Path) -> Expected:
    root = corpus_of(folder, lambda number, row: with_splits(row))
    add_row(root, audio="wav/s0_0.wav", label="angry", speaker="s3", split="test", start="0", end="0.15")
    return refused(train(root), "The train and test parts of 'csv' share 1 source (such as 'csv/wav/s0_0')")


@kind
def a_file_in_train_and_test(folder: Path) -> Expected:
    root = corpus_of(folder, lambda number, row: with_splits(row))
    add_row(root, audio="wav/s0_0.wav", label="angry", speaker="s3", split="test")
    return refused(train(root), "several rows for 1 of its recordings or segments", "rows 1 and 25: wav/s0_0.wav")


@kind
def a_class_absent_from_training(folder: Path) -> Expected:
    def only_in_test(number: int, row: Row) -> Row | None:
        row = with_splits(row)
        return None if row["split"] != "test" and row["label"] == "sad" else row

    return Expected(train(corpus_of(folder, only_in_test)), 0, ["note: The training part has no sad", "result: "])


@kind
def clips_of_a_release_that_are_no_files(folder: Path) -> Expected:
    """Readers that list a folder meet folders and pipes; the csv reader would not take them as clips."""
    root = folder / "emodb"
    stems = emodb_tree(root)
    for stem in stems[:2]:
        (root / "wav" / f"{stem}.wav").unlink()
    (root / "wav" / f"{stems[0]}.wav").mkdir()
    os.mkfifo(root / "wav" / f"{stems[1]}.wav")
    (root / "wav" / "around").symlink_to(root / "wav")
    says = ["68 clips verified", "dropped: 2\n", "is a folder, not a recording", "is a pipe or a device"]
    return Expected(["prepare", "dataset=emodb", f"dataset.root={root}"], 0, says)


@kind
def an_older_release_than_the_corpus_is(folder: Path) -> Expected:
    root = folder / "emodb"
    emodb_tree(root)
    says = ["has the first release of EmoDB (70 clips", "use dataset=emodb, or get release 2.0"]
    return refused(["prepare", "dataset=emodb2", f"dataset.root={root}"], *says, code=2)


@kind
def a_release_with_a_name_that_is_not_utf8(folder: Path) -> Expected:
    root = folder / "emodb"
    emodb_tree(root)
    (root / "wav" / "M\udcfcller.wav").touch()
    says = ["70 clips verified", "dropped: 1\n", r"wav/M\udcfcller.wav: the name is not speaker"]
    return Expected(["prepare", "dataset=emodb", f"dataset.root={root}"], 0, says)


def one_long_file(folder: Path, **more: str) -> Path:
    """Return a corpus of nine segments of one recording, with two labels."""
    root = corpus(folder / "corpus")
    soundfile.write(root / "talk.wav", 0.1 * np.sin(np.arange(5 * 16000)), 16000)
    segments = [(str(number / 2), str(number / 2 + 0.6), ("sad", "angry")[number % 2]) for number in range(9)]
    rows = [{"audio": "talk.wav", "start": start, "end": end, "label": label} for start, end, label in segments]
    write_rows(root, [{**row, **more} for row in rows])
    return root


@kind
def segments_of_one_file_alone(folder: Path) -> Expected:
    """The segments overlap, and no column names recordings that could be kept apart."""
    says = ["All utterances of 'csv' are from one recording ('csv/talk')", "in the source column"]
    return refused(train(one_long_file(folder)), *says)


@kind
def segments_of_one_file_alone_by_recording(folder: Path) -> Expected:
    command = train(one_long_file(folder, speaker="s0"), "dataset.group=source")
    return refused(command, "All utterances of 'csv' are from one recording")


@kind
def the_same_file_under_two_labels(folder: Path) -> Expected:
    """Rows of one file are one recording, and it has one label."""
    root = corpus(folder / "corpus")
    splits = {"train": "sad", "dev": "sad", "test": "angry"}
    write_rows(root, [{"audio": "wav/s0_0.wav", "label": label, "split": split} for split, label in splits.items()])
    return refused(train(root), "several rows for 1 of its recordings or segments", "wav/s0_0.wav is sad and angry")
