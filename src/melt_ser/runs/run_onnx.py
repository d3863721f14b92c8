"""Label audio files with a model that `melt-ser export` has written: python run_onnx.py model.onnx clip.wav …

It needs numpy, soundfile and onnxruntime, and nothing of melt_ser. A line of the output is a file, its label with the
probability of each class, and its attributes, as far as the model has them.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import onnxruntime
import soundfile


class OnnxModel:
    """An ONNX file, and its answers to clips.

    It has `classes` (a list), `attributes` (the lowest and highest value of each), `sampling_rate` (Hz) and
    `longest_seconds` of a clip.
    """

    def __init__(self, path: str) -> None:
        self.session = onnxruntime.InferenceSession(path, providers=onnxruntime.get_available_providers())
        self.metadata = self.session.get_modelmeta().custom_metadata_map
        self.classes = json.loads(self.metadata["classes"])
        self.attributes = json.loads(self.metadata.get("attributes", "{}"))
        self.sampling_rate = int(self.metadata["sampling_rate"])
        self.longest_seconds = float(self.metadata["longest_seconds"])

    def read(self, path: str) -> np.ndarray:
        """Return the samples of a file, (samples,) in float32, with the mean of its channels."""
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        if rate != self.sampling_rate:
            raise ValueError(f"{path} has {rate} Hz; resample it to {self.sampling_rate} Hz.")
        seconds = len(samples) / rate
        if not 0 < seconds <= self.longest_seconds:
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


if __name__ == "__main__":
    model = OnnxModel(sys.argv[1])
    for path in sys.argv[2:]:
        answers = model.answers([model.read(path)])
        told = [f"{name} {answers[name][0]:.3f}" for name in model.attributes]
        if model.classes:
            row = answers["probabilities"][0]
            shares = ", ".join(f"{name} {share:.3f}" for name, share in zip(model.classes, row, strict=True))
            told.insert(0, f"{model.classes[row.argmax()]} ({shares})")
        print(f"{path}: {', '.join(told)}")
