"""Label audio files with a model that `melt-ser export` has written: python run_onnx.py model.onnx clip.wav …

It needs numpy, soundfile and onnxruntime, and nothing of melt_ser. A line of the output is a file, its label, and the
probability of each class.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import onnxruntime
import soundfile


class OnnxModel:
    """An ONNX file: `classes`, `sampling_rate` (Hz), `longest_seconds` of a clip, and the probabilities of clips."""

    def __init__(self, path: str) -> None:
        self.session = onnxruntime.InferenceSession(path, providers=onnxruntime.get_available_providers())
        self.metadata = self.session.get_modelmeta().custom_metadata_map
        self.classes = json.loads(self.metadata["classes"])
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

    def probabilities(self, clips: list[np.ndarray]) -> np.ndarray:
        """Return the probabilities of clips, (clips, classes); clips of similar length waste less time on padding."""
        lengths = np.array([len(clip) for clip in clips], dtype=np.int64)
        audio = np.zeros((len(clips), lengths.max()), dtype=np.float32)
        for row, clip in zip(audio, clips, strict=True):
            row[: len(clip)] = clip
        answer: np.ndarray = self.session.run(["probabilities"], {"audio": audio, "lengths": lengths})[0]
        return answer


if __name__ == "__main__":
    model = OnnxModel(sys.argv[1])
    for path in sys.argv[2:]:
        (row,) = model.probabilities([model.read(path)])
        shares = ", ".join(f"{name} {share:.3f}" for name, share in zip(model.classes, row, strict=True))
        print(f"{path}: {model.classes[row.argmax()]} ({shares})")
