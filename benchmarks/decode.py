"""Compare the speed of `read_audio`, by format, with the bare library and the audio cache: seconds of audio a second.

    python benchmarks/decode.py [--clips 100] [--rounds 5]

One thread; clips of MELT's lengths, noise. wav and flac by soundfile, mp4 (AAC, 48 kHz stereo, as MELD's clips) by
PyAV; other audio than 16 kHz mono is mixed and resampled. `bare` only reads the samples: no checks, no mixing, no
resampling. `cache` reads decoded clips, as training does except for wav_16k. The script prints a table and a line of
JSON.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow
import soundfile

from clips import draw_seconds
from common import Figures, alternate, make_parser, median, print_result, ratios, spread, watched
from melt_ser.audio.decode import read_audio
from melt_ser.data.audio_cache import AudioCache

FORMATS = {
    "wav_16k": ("wav", 16_000, 1),
    "wav_44k": ("wav", 44_100, 1),
    "flac": ("flac", 16_000, 1),
    "mp4": ("mp4", 48_000, 2),
}


def write(path: Path, samples: np.ndarray, rate: int) -> None:
    """Write int16 samples, (samples, channels), in the format of the suffix."""
    if path.suffix != ".mp4":
        return soundfile.write(path, samples, rate)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.reshape(1, -1)), format="s16", layout="stereo")
        frame.rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def read_bare(path: Path) -> object:
    """Read the samples with the bare library."""
    if path.suffix != ".mp4":
        return soundfile.read(path, dtype="float32")[0]
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


def keep(paths: list[Path], path: Path) -> AudioCache:
    """Put the decoded files into a cache, numbered in their order."""
    waveforms = [read_audio(path) for path in paths]
    names = pyarrow.array([path.name for path in paths], pyarrow.large_string())
    cache = AudioCache(path, names, np.cumsum([0, *map(len, waveforms)]))
    for number, waveform in enumerate(waveforms):
        cache.write(number, waveform)
    return cache


def main() -> None:
    parser = make_parser(__doc__, rounds=5)
    parser.add_argument("--clips", type=int, default=100)
    options = parser.parse_args()
    lengths = draw_seconds(options.clips, options.seed)
    generator = np.random.default_rng(options.seed)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for name, (suffix, rate, channels) in FORMATS.items():
            paths = [Path(temporary) / f"{name}{number:04}.{suffix}" for number in range(options.clips)]
            for path, seconds in zip(paths, lengths, strict=True):
                noise = 3000 * generator.standard_normal((round(seconds * rate), channels))
                write(path, noise.astype(np.int16), rate)

            def read(reader: Callable[[Any], object], clips: Iterable[Any], _: int) -> Figures:
                def all_files() -> Figures:
                    started = time.perf_counter()
                    for clip in clips:
                        reader(clip)
                    return {"rate": float(lengths.sum()) / (time.perf_counter() - started)}

                return watched(all_files)

            read(read_audio, paths, 0)  # the files are then in the page cache, the resampling kernel in its own
            systems = {"read_audio": partial(read, read_audio, paths), "bare": partial(read, read_bare, paths)}
            cache = keep(paths, Path(temporary) / f"{name}.cache")
            systems["cache"] = partial(read, cache.read, range(len(paths)))
            found = alternate(systems, options.rounds)
            rows.append(
                {
                    "format": name,
                    "audio s/s": median(found["read_audio"], "rate", 0),
                    "from-to": spread(found["read_audio"], "rate", 0),
                    "bare": median(found["bare"], "rate", 0),
                    "of bare": median(ratios(found["read_audio"], found["bare"], "rate"), "ratio"),
                    "cache": median(found["cache"], "rate", 0),
                    "others' CPU": spread(found["read_audio"], "others_cpu"),
                }
            )
    print_result("decode", "cpu", rows, clips=options.clips, rounds=options.rounds)


if __name__ == "__main__":
    main()
