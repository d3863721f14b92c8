"""Label audio files with a model that `melt-ser export` has written: python run_onnx.py model.onnx clip.wav …

It needs numpy, soundfile and onnxruntime, and nothing of melt_ser. A line of the output is a file, its label with the
probability of each class, and its attributes, as far as the model has them. A file that cannot be labelled gets a
sentence on standard error. The exit code is 0 if all files have an answer, 1 if some have none, and 2 if the command is
wrong.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile


class OnnxModel:
    """An ONNX file, and its answers to clips.

    It has `classes` (a list), `attributes` (the lowest and highest value of each), `sampling_rate` (Hz) and
    `longest_seconds` of a clip.
    """

    def __init__(self, path: str) -> None:
        """Load a file; ValueError if it is not one that `melt-ser export` has written."""
        try:
            self._load(path)
        except Exception as error:  # the errors of onnxruntime have no class in common
            reason = f"it has no {error}" if isinstance(error, KeyError) else str(error).strip().partition("\n")[0]
            reason = reason if Path(path).exists() else "there is no such file"
            raise ValueError(f"{path} is no model that melt-ser export has written ({reason.rstrip('.')}).") from None

    def _load(self, path: str) -> None:
        self.session = onnxruntime.InferenceSession(path, providers=onnxruntime.get_available_providers())
        self.metadata = self.session.get_modelmeta().custom_metadata_map
        self.classes = json.loads(self.metadata["classes"])
        self.attributes = json.loads(self.metadata.get("attributes", "{}"))
        self.sampling_rate = int(self.metadata["sampling_rate"])
        self.longest_seconds = float(self.metadata["longest_seconds"])

    def read(self, path: str) -> np.ndarray:
        """Return the samples of a file, (samples,) in float32, with the mean of its channels.

        Raises ValueError if it cannot be read, or does not suit the model.
        """
        try:
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        except (OSError, RuntimeError) as error:
            there = str(error).rpartition(": ")[2].rstrip(".")  # soundfile names the file before the reason
            reason = there if Path(path).exists() else "there is no such file"
            raise ValueError(f"{path} cannot be read ({reason}); give a WAV, FLAC, OGG or MP3 file.") from None
        if rate != self.sampling_rate:
            raise ValueError(f"{path} has {rate} Hz; resample it to {self.sampling_rate} Hz.")
        seconds = len(samples) / rate
        if not seconds:
            raise ValueError(f"{path} holds no audio.")
        if seconds > self.longest_seconds:
            raise ValueError(f"{path} has {seconds:.1f} s; cut it into parts of up to {self.longest_seconds:g} s.")
        mono: np.ndarray = samples.mean(axis=1)
        return mono

    def answers(self, clips: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Return the outputs for clips by name; clips of similar length waste less time on padding.

        `probabilities`, (clips, classes), if the model has classes, and each attribute, (clips,), on its scale.
        """
        lengths = np.array([len(clip) for clip in clips], dtype=np.int64)
        audio = np.zeros((len(clips), lengths.max()), dtype=np.float32)
        for row, clip in zip(audio, clips, strict=True):
            row[: len(clip)] = clip
        names = [output.name for output in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, {"audio": audio, "lengths": lengths}), strict=True))

    def probabilities(self, clips: list[np.ndarray]) -> np.ndarray:
        """Return the probabilities of clips, (clips, classes), of a model with classes."""
        return self.answers(clips)["probabilities"]

    def line(self, path: str) -> str:
        """Return the answer to a file as text: "happy (angry 0.102, happy 0.898), arousal 3.214"; see `read`."""
        answers = self.answers([self.read(path)])
        told = [f"{name} {answers[name][0]:.3f}" for name in self.attributes]
        if self.classes:
            row = answers["probabilities"][0]
            shares = ", ".join(f"{name} {share:.3f}" for name, share in zip(self.classes, row, strict=True))
            told.insert(0, f"{self.classes[row.argmax()]} ({shares})")
        return ", ".join(told)


def main(arguments: list[str]) -> int:
    """Print the answer to each file, and return the exit code."""
    if len(arguments) < 2:
        print("usage: python run_onnx.py model.onnx clip.wav …", file=sys.stderr)
        return 2
    try:
        model = OnnxModel(arguments[0])
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    code = 0
    for path in arguments[1:]:
        try:
            print(f"{path}: {model.line(path)}")
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
