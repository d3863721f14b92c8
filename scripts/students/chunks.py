"""Unlabelled speech in chunks of at most three seconds, and the hidden states of a teacher for each, on disk."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.resample import resample
from melt_ser.audio.waveform import pad_together, prepare_waveform
from melt_ser.core import files
from melt_ser.data.batches import SortedBatches
from melt_ser.models.backbone import Backbone

CHUNK = 3 * SAMPLE_RATE  # samples
SHORTEST = SAMPLE_RATE // 2  # a shorter rest of a clip is left out
BATCH_SECONDS = 60.0


class Speech:
    """All chunks of the speech at each speed.

    samples: int16 at 16 kHz, every chunk after the other. lengths, starts: samples of each chunk, and its first one.
    hours: of the speech, once.
    """

    def __init__(self, folder: Path, speeds: list[float]) -> None:
        """Read audio.npy (int16, all clips after each other) and lengths.npy (samples of each) of gather_speech.py."""
        audio, lengths = np.load(folder / "audio.npy", mmap_mode="r"), np.load(folder / "lengths.npy")
        chunks, self.hours = [], float(lengths.sum() / SAMPLE_RATE / 3600)
        for speed in speeds:
            for end, length in zip(np.cumsum(lengths), lengths, strict=True):
                clip = np.asarray(audio[end - length : end])
                if speed != 1.0:
                    changed = resample(clip.astype(np.float32) / 32768, round(SAMPLE_RATE * speed), SAMPLE_RATE)
                    clip = (np.clip(changed, -1, 1) * 32767).astype(np.int16)
                chunks += [clip[at : at + CHUNK] for at in range(0, max(1, len(clip) - SHORTEST), CHUNK)]
        self.samples = np.concatenate(chunks)
        self.lengths = np.array([len(chunk) for chunk in chunks])
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)])

    @property
    def digest(self) -> str:
        """The SHA-256 of the chunks' lengths: other clips, speeds or another order give another one."""
        return files.sha256(self.lengths.tobytes().hex())

    @property
    def seconds(self) -> np.ndarray:
        """The length of each chunk, (chunks,)."""
        return self.lengths / SAMPLE_RATE

    def chunk(self, number: int) -> np.ndarray:
        """Return a chunk, (samples,), as float32."""
        return self.samples[self.starts[number] : self.starts[number + 1]].astype(np.float32) / 32768


class Targets(NamedTuple):
    """The hidden states of a teacher.

    states: float16, (frames of all chunks, layers, features). starts: the first frame of each chunk, and their number.
    """

    states: np.ndarray
    starts: np.ndarray


@torch.no_grad()
def teach(
    teacher: Backbone, weights: str | None, layers: list[int], speech: Speech, folder: Path, precision: str
) -> Targets:
    """Return the states `layers` of the teacher for every chunk; they are computed once and kept in `folder`.

    weights: the digest of the teacher's. precision: bf16 or fp32, of its products; the states are stored in float16.

    Raises SystemExit if the folder has the states of other weights, layers or speech.
    """
    path, done, about = folder / "states.npy", folder / "starts.npy", folder / "about.json"
    known = {"teacher_weights": weights, "layers": layers, "speech": speech.digest}
    if done.is_file() and not (about.is_file() and files.read_json(about) == known):
        raise SystemExit(f"{folder} has states of another teacher, other layers or other speech; give another --work.")
    if not done.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        counts = teacher.frames_of(torch.from_numpy(speech.lengths))
        starts = np.concatenate([[0], np.cumsum(counts.numpy())])
        shape = (int(starts[-1]), len(layers), teacher.hidden_size)
        states = np.lib.format.open_memmap(path, "w+", np.float16, shape)
        batches = SortedBatches(speech.seconds, len(speech.lengths), batch_seconds=BATCH_SECONDS)
        for number, rows in enumerate(batches):
            audio, lengths = batch_of([speech.chunk(row) for row in rows], teacher.do_normalize)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                output = teacher(audio, lengths, output_hidden_states=True)
            assert output.hidden_states is not None
            chosen = torch.stack([output.hidden_states[layer] for layer in layers], dim=2).half().numpy()
            for row, own in zip(rows, chosen, strict=True):
                states[starts[row] : starts[row + 1]] = own[: starts[row + 1] - starts[row]]
            if number % 50 == 0:
                print(f"teacher: batch {number} of {len(batches)}", flush=True)
        states.flush()
        files.write_json(about, known)
        with files.replacing_file(done) as temporary, open(temporary, "wb") as file:
            np.save(file, starts)
    return Targets(np.load(path, mmap_mode="r"), np.load(done))


def batch_of(chunks: Iterable[np.ndarray], do_normalize: bool) -> tuple[Tensor, Tensor]:
    """Return chunks, (samples,) each, as audio, (batch, samples), and lengths, (batch,)."""
    return pad_together([prepare_waveform(torch.from_numpy(chunk), do_normalize) for chunk in chunks])
