"""Write small release trees with the true file names of each corpus: real tones, or empty placeholders.

Readers do not decode, so placeholders are enough to count 13,708 clips; verification needs tones.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import av
import numpy as np
import soundfile

MELD_FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
MELD_COLUMNS = ["Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID"]
MELD_COLUMNS += ["Season", "Episode", "StartTime", "EndTime"]
MELT_COLUMNS = ["filename", "Sr_No.", *MELD_COLUMNS[1:], "llm_label"]
EMODB_SPEAKERS = ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")

Write = Callable[[Path], None]

CODECS = {".mp4": "aac", ".avi": "mp3"}


def tone(path: Path, seconds: float = 0.4, sample_rate: int = 16000, frequency: float = 220.0) -> None:
    """Write a tone in the format of the suffix: wav and flac by soundfile, mp4 and avi by PyAV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    samples = (0.3 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)
    codec = CODECS.get(path.suffix.lower())
    if codec is None:
        soundfile.write(path, samples, sample_rate)
        return
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=sample_rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="fltp", layout="mono")
        frame.sample_rate = sample_rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)


def placeholder(path: Path) -> None:
    """Write an empty file, for tests that only look at names."""
    try:
        path.touch()
    except FileNotFoundError:  # checked last, since most of the thousands of files share a folder
        path.parent.mkdir(parents=True)
        path.touch()


def emodb_tree(root: Path, write: Write = tone, emotions: str = "WLEAFTN") -> list[str]:
    """Write one clip for each of ten speakers and each emotion into `wav/`; return the stems."""
    sentences = ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10")
    stems = [
        f"{speaker}{sentences[(i + j) % 10]}{emotion}a"
        for i, speaker in enumerate(EMODB_SPEAKERS)
        for j, emotion in enumerate(emotions)
    ]
    for stem in stems:
        write(root / "wav" / f"{stem}.wav")
    return stems


def urdu_tree(root: Path, write: Write = tone, speakers: Iterable[str] = ("SM1", "SM2", "SF1", "SF2", "SM5")) -> int:
    """Write one clip of each speaker into each of the four folders; return the number of clips."""
    names = list(speakers)
    for number, speaker in enumerate(names, start=1):
        for file, folder in enumerate(("Angry", "Happy", "Neutral", "Sad"), start=1):
            write(root / folder / f"{speaker}_F{file:02}_{folder[0]}{number:03}.wav")
    return 4 * len(names)


def meld_row(
    dialogue: int, utterance: int, speaker: str = "Ross", emotion: str = "joy", text: str = "Hi!"
) -> list[str]:
    """Return a row of a MELD annotation file."""
    keys = [str(dialogue), str(utterance)]
    return ["1", text, speaker, emotion, "positive", *keys, "1", "2", "0:00:01,000", "00:00:02,500"]


def meld_tree(
    root: Path,
    annotations: Mapping[str, list[list[str]]],
    write: Write = tone,
    folders: Mapping[str, str] = MELD_FOLDERS,
    suffix: str = ".wav",
    tables: str = ".",
) -> None:
    """Write the three annotation files (into the folder `tables`) and a clip for each of their rows.

    Args:
        root: the folder of the release.
        annotations: rows of `meld_row` by split.
        write: writes one clip.
        folders: the clip folder of each split.
        suffix: of the clips.
        tables: the folder of the annotation files below `root`.
    """
    for split in MELD_FOLDERS:
        rows = annotations.get(split, [])
        write_rows(root / tables / f"{split}_sent_emo.csv", MELD_COLUMNS, rows)
        for row in rows:
            write(root / folders[split] / f"dia{row[5]}_utt{row[6]}{suffix}")


def melt_row(row: list[str], llm_label: str) -> list[str]:
    """Return MELT's row for a row of MELD: the speaker in lower case, the new label last."""
    return [f"dia{row[5]}_utt{row[6]}.wav", row[0], row[1], row[2].lower(), *row[3:], llm_label]


def melt_tables(root: Path, annotations: Mapping[str, list[list[str]]]) -> None:
    """Write MELT's two annotation files from rows of `melt_row`."""
    for split in ("train", "test"):
        write_rows(root / f"meld_{split}.csv", MELT_COLUMNS, annotations.get(split, []))


def meld_release(shared_data: Path, folder: Path) -> Path:
    """Return a folder with the released MELD and MELT annotation files and an empty file for each clip.

    As in the raw release, dev lacks dia110_utt7 and has a clip that is not annotated. The folder is made once and then
    reused.
    """
    root = folder / "meld_release"
    if root.exists():
        return root
    for split, name in MELD_FOLDERS.items():
        (root / name).mkdir(parents=True)
        table = shared_data / "meld" / f"{split}_sent_emo.csv"
        with table.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                (root / name / f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}.mp4").touch()
    (root / MELD_FOLDERS["dev"] / "dia110_utt7.mp4").unlink()
    (root / MELD_FOLDERS["dev"] / "dia66_utt9.mp4").touch()
    for table in (*shared_data.glob("meld/*.csv"), *shared_data.glob("melt/*.csv")):
        (root / table.name).write_bytes(table.read_bytes())
    return root


def iemocap_session(root: Path, number: int, labels: Iterable[str], write: Write = tone, turns: int = 10) -> list[str]:
    """Write a session with a turn for each label, `turns` a dialogue, speakers in turn; return the turn names.

    The woman and the man wear the markers in alternate dialogues; the prefix of a turn's name says who.

    Args:
        root: the folder of the release.
        number: of the session, 1 to 5.
        labels: one for each turn.
        write: writes one clip.
        turns: turns a dialogue.
    """
    session = root / f"Session{number}"
    names: list[str] = []
    lines: dict[str, list[str]] = {}
    for index, label in enumerate(labels):
        dialogue = f"Ses0{number}{'FM'[index // turns % 2]}_impro{index // turns:02}"
        name = f"{dialogue}_{'FM'[index % 2]}{index % turns:03}"
        write(session / "sentences" / "wav" / dialogue / f"{name}.wav")
        start = 2.0 * (index % turns)
        lines.setdefault(dialogue, []).append(
            f"[{start:.4f} - {start + 1.9:.4f}]\t{name}\t{label}\t[2.5000, 2.5000, 2.5000]\n"
            f"C-E2:\tNeutral;\t()\nA-E3:\tval 3; act 2; dom  2;\t()\n\n"
        )
        names.append(name)
    header = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
    for dialogue, evaluated in lines.items():
        write_text(session / "dialog" / "EmoEvaluation" / f"{dialogue}.txt", header + "".join(evaluated))
        transcript = "".join(f"{n} [006.2901-008.2357]: Excuse me.\n" for n in names if n.startswith(f"{dialogue}_"))
        write_text(session / "dialog" / "transcriptions" / f"{dialogue}.txt", transcript)
    return names


def write_rows(path: Path, columns: list[str], rows: Iterable[Iterable[str]]) -> None:
    """Write a CSV as releases have it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


EMOZIONALMENTE_SENTENCES = (
    "Gli operai si alzano presto.",
    "La cascata fa molto rumore!",
    "Il treno arriva alle nove",
    "Ho perso le chiavi di casa",
)


def italian_trees(root: Path) -> tuple[Path, Path]:
    """Write EMOVO with three sentences, and Emozionalmente with four by one actor; return their roots.

    They share two sentences and no audio.
    """
    pitches = itertools.count(200)
    emotions = ("anger", "disgust", "fear", "joy", "neutrality", "sadness", "surprise")
    for speaker in ("f1", "f2", "f3", "m1", "m2", "m3"):
        for emotion in ("dis", "gio", "neu", "pau", "rab", "sor", "tri"):
            for sentence in ("b1", "b2", "b3"):
                tone(root / "emovo" / speaker / f"{emotion}-{speaker}-{sentence}.wav", frequency=next(pitches))
    lines = ["file_name,sentence,sentence_language,actor,emotion_expressed"]
    for place, sentence in enumerate(EMOZIONALMENTE_SENTENCES):
        for label in emotions:
            lines.append(f'{label}_{place}.wav,"{sentence}",it,anna,{label}')
            tone(root / "emozionalmente" / "audio" / f"{label}_{place}.wav", frequency=next(pitches))
    metadata = root / "emozionalmente" / "metadata"
    write_text(metadata / "samples.csv", "\n".join([*lines, ""]))
    write_text(metadata / "users.csv", "username,gender\nanna,F\n")
    return root / "emovo", root / "emozionalmente"


EMO_SUPERB = {
    "IEMOCAP/Secondary": ("FileName", "frustrated angry sad disgust excited fear neutral surprise happy", True),
    "CREMA-D/Primary": ("FileName", "angry sad disgust fear neutral happy", False),
    "NNIME/Secondary": ("", "angry frustrated disappointed sad fear neutral surprise excited happy relax joy", True),
}
"""Partitions of EMO-SUPERB: the name of the first column, the classes, and whether a clip has attributes."""


def emo_superb_tree(root: Path, partition: str, folds: int = 3, each: int = 4) -> list[str]:
    """Write tables and audio as EMO-SUPERB's repository has them, with `each` clips of a speaker for each fold.

    Speaker k is tested on in fold k, and dev in the fold before. A clip has one class, whose share is 0.95 of its votes
    and a part of the other 0.05, as in the repository's tables. Return the names of the clips.
    """
    first, words, has_attributes = EMO_SUPERB[partition]
    classes = words.split()
    clips = [(f"clip_{person:02}_{number:02}.wav", person, number) for person in range(folds) for number in range(each)]
    for name, speaker, number in clips:
        tone(root / "data" / partition.split("/")[0] / "Audios" / name, frequency=200 + 60 * number + 7 * speaker)
    attributes = ["EmoAct", "EmoVal"] if has_attributes else []
    for fold in range(folds):
        rows = []
        for name, speaker, number in clips:
            shares = [0.05 / len(classes) + 0.95 * (place == number % len(classes)) for place in range(len(classes))]
            part = {fold: "Test", (fold + 1) % folds: "Development"}.get(speaker, "Train")
            values = [f"{1 + number % 5}", f"{5 - number % 5}"][: len(attributes)]
            person = [f"{speaker // 2 + 1:02}", ("Female", "Male")[speaker % 2]]  # two people share an id
            rows.append([name, *(f"{share:.6f}" for share in shares), *values, *person, part])
        columns = [first, *classes, *attributes, "SpkrID", "Gender", "Split_Set"]
        write_rows(root / "data" / partition / f"labels_consensus_{fold + 1}.csv", columns, rows)
    return [name.removesuffix(".wav") for name, _, _ in clips]
