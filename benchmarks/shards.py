"""Time a corpus of a million clips in tar shards, with the peak memory: a table, then one line of JSON.

    python benchmarks/shards.py [--samples 1000000] [--shards 100]

Each clip is a member of 320 bytes beside its JSON, in WebDataset's layout. The first reading indexes the shards, the
second one has their indexes. Then clips are found and read in random order, as shuffled batches do. Each step is a
process of its own. Nothing is decoded.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import tarfile
import tempfile
import time
from pathlib import Path

from common import peak_memory, run_process

READ = 10_000  # clips in random order


def write(folder: Path, samples: int, shards: int) -> None:
    """Write the shards."""
    clip = bytes(320)
    for shard in range(shards):
        with tarfile.open(folder / f"train-{shard:05}.tar", "w") as tar:
            for number in range(shard, samples, shards):
                data = {"label": ("angry", "happy", "neutral", "sad")[number % 4], "speaker": f"s{number % 1000}"}
                for name, content in ((f"{number:07}.flac", clip), (f"{number:07}.json", json.dumps(data).encode())):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
            tar.members = []


def load(folder: Path) -> float:
    """Return the seconds that the reader takes."""
    from melt_ser.cli.compose import load_config
    from melt_ser.corpora.readers.shards import read

    config = load_config("dataset=shards", f"dataset.root={folder}").dataset
    began = time.perf_counter()
    read(folder, config)
    return time.perf_counter() - began


def fetch(folder: Path) -> float:
    """Return the seconds to find and read `READ` clips of all shards in random order, with their indexes in memory."""
    from melt_ser.audio.shard_index import index_of
    from melt_ser.audio.shards import place_of

    shards = sorted(folder.glob("*.tar"))
    for number, shard in enumerate(shards):
        place_of(shard / f"{number:07}.flac")
    last = max(path for path in index_of(shards[-1])["member"].to_pylist())
    chosen = random.Random(0).choices(range(int(last[:7]) + 1), k=READ)
    began = time.perf_counter()
    for number in chosen:
        file, first, size = place_of(shards[number % len(shards)] / f"{number:07}.flac").open()
        with file:
            file.seek(first)
            assert len(file.read(size)) == size
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--step", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        step, folder = options.step
        seconds = {"load": load, "fetch": fetch}[step](Path(folder))
        of_cpu, peak = time.process_time(), peak_memory("cpu")  # imports included
        print(json.dumps({"seconds": round(seconds, 2), "cpu_seconds": round(of_cpu, 1), "peak_mib": round(peak)}))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder, cache = Path(temporary) / "corpus", Path(temporary) / "cache"
        folder.mkdir()
        os.environ["MELT_SER_CACHE"] = str(cache)
        write(folder, options.samples, options.shards)
        measured: dict[str, object] = {"samples": options.samples, "shards": options.shards}
        for name, step in (("first reading", "load"), ("second reading", "load"), (f"{READ:,} random clips", "fetch")):
            measured[name] = run_process(__file__, "--step", step, folder)
            print(f"{name}: {measured[name]}")
        measured["index_mib"] = round(sum(path.stat().st_size for path in (cache / "shards").iterdir()) / 2**20, 1)
        measured["shards_mib"] = round(sum(path.stat().st_size for path in folder.iterdir()) / 2**20)
        print(json.dumps(measured))


if __name__ == "__main__":
    main()
