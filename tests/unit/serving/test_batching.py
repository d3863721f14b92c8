"""Windows that wait together are computed together, each gets its own answer, and a failure ends nothing else."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from melt_ser.audio.sound import Waveform
from melt_ser.serving.batching import Batcher
from melt_ser.serving.recordings import Abandoned, Patience, peaks_of, shown_name


class Held:
    """A model that computes the mean of each window once `go` is set, and notes the lengths of each batch."""

    def __init__(self) -> None:
        self.go, self.batches = threading.Event(), list[list[int]]()

    def __call__(self, waveforms: Sequence[Waveform]) -> list[list[float]]:
        assert self.go.wait(20)
        self.batches.append([len(waveform) for waveform in waveforms])
        if any(np.isnan(waveform).any() for waveform in waveforms):
            raise RuntimeError("no number")
        return [[float(waveform.mean())] for waveform in waveforms]


def window(seconds: float, value: float) -> Waveform:
    return np.full(round(16_000 * seconds), value, np.float32)


def test_waiting_windows_share_batches_of_similar_length_and_bounded_size() -> None:
    compute, sizes = Held(), list[int]()
    batcher = Batcher(compute, 4, sizes.append)
    first = batcher.submit(window(1, -1))
    futures = [batcher.submit(window(seconds, seconds)) for seconds in (3, 1, 60, 2, 40, 5)]
    compute.go.set()
    assert first.result(20) == [-1]
    assert [future.result(20)[0] for future in futures] == [3, 1, 60, 2, 40, 5]
    batcher.close()
    assert not batcher.alive and sum(sizes) == 7 and max(sizes) <= 4 and len(sizes) < 7
    for lengths in compute.batches:
        assert lengths == sorted(lengths, reverse=True) and (
            len(lengths) == 1 or len(lengths) * max(lengths) <= 64 * 16_000
        )


def test_a_failure_is_told_to_its_batch_and_the_next_is_computed() -> None:
    compute = Held()
    compute.go.set()
    batcher = Batcher(compute, 1)
    bad, good = batcher.submit(window(1, np.nan)), batcher.submit(window(1, 0.5))
    with pytest.raises(RuntimeError, match="no number"):
        bad.result(20)
    assert good.result(20) == [0.5] and batcher.alive
    batcher.close()


def test_windows_that_nobody_waits_for_are_not_computed() -> None:
    compute, patience = Held(), Patience()
    batcher = Batcher(compute, 1)
    under_way = batcher.submit(window(1, 1))
    given_up = [batcher.submit(window(1, 2)) for _ in range(3)]
    ending = threading.Timer(0.2, patience.end)
    ending.start()
    with pytest.raises(Abandoned):
        patience.wait(given_up)
    compute.go.set()
    assert under_way.result(20) == [1]
    batcher.close()
    assert len(compute.batches) == 1
    with pytest.raises(Abandoned):
        patience.wait([])


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a.wav", "a.wav"), ("C:\\music\\a.wav", "a.wav"), ("../../etc/passwd", "passwd"), ("", "audio"), ("a/", "audio")],
)
def test_of_a_name_only_its_last_part_is_shown(name: str, shown: str) -> None:
    assert shown_name(name) == shown
    assert shown_name("x" * 500 + ".wav").endswith(".wav") and len(shown_name("x" * 500)) == 120
    assert shown_name("a\n\ud800.wav") == "a\\n\\ud800.wav"


def test_peaks_are_the_largest_magnitudes_of_equal_parts() -> None:
    assert peaks_of(np.array([0.1, -0.5, 0.2, 0.3], np.float32), 2) == [0.5, 0.3]
    assert peaks_of(np.array([0.1, -0.5], np.float32), 5) == [0.1, 0.5]
    assert peaks_of(np.array([0.1], np.float32), 0) == []
