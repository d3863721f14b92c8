"""Gather unlabelled speech under free licences from Debian packages: what the students learn from.

    python scripts/students/gather_speech.py --out SPEECH

downloads the packages of packages.toml (1.2 GB, into SPEECH/packages; what is there is not downloaded again), decodes
their speech to 16 kHz mono, and writes into SPEECH:

    audio.npy     int16, all clips after each other
    lengths.npy   int64, the samples of each clip
    sources.csv   package, path in the package, seconds and language of each clip
    packages.md   licence, copyright, languages, clips and hours of each package, and what was left out
    copyright/    the copyright file of each package, which has to stay with the speech

Clips under 0.5 s or over 120 s, silent ones, and those with the samples of an earlier one are left out and counted.
Unreadable ones are named too, and the exit code is then 1.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import xxhash
from debian_packages import Package, download, read_packages, unpack

from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.decode import TooLong, read_audio
from melt_ser.cli import verb
from melt_ser.core import files
from melt_ser.core.console import finish, progress, say
from melt_ser.core.errors import InputError

TABLE = Path(__file__).with_name("packages.toml")
SHORTEST, LONGEST = 0.5, 120.0  # seconds
SILENT = 300  # a clip whose samples all stay below this, of 32,768, is silent
LEFT_OUT = ("short", "long", "silent", "duplicate", "unreadable")  # why a clip is


def main() -> int:
    """Return the exit code of the command."""

    def work() -> int:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--out", type=Path, required=True, metavar="SPEECH", help="the folder that is written")
        parser.add_argument("--packages", type=Path, metavar="FOLDER", help="of the .deb (default: SPEECH/packages)")
        parser.add_argument("--table", type=Path, default=TABLE, help="of the packages (default: packages.toml)")
        options = parser.parse_args()
        return gather(read_packages(options.table), options.packages or options.out / "packages", options.out)

    return verb.run(work, "stopped; the same command starts again with the packages that are downloaded.")


def gather(packages: list[Package], downloads: Path, out: Path) -> int:
    """Write the speech of the packages into the folder `out`; return 1 if a clip cannot be read, otherwise 0.

    Raises InputError if a package is damaged or no clip is left, SetupError if one cannot be downloaded or the disk is
    full.
    """
    debs = [download(package, downloads) for package in packages]
    with files.telling_failed_writes(out):
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out) as samples, tempfile.TemporaryDirectory(dir=out) as folder:
            speech = Speech(samples)
            for package, deb in zip(packages, debs, strict=True):
                notice = speech.add_package(package, deb, Path(folder) / package.name)
                files.write_text(out / "copyright" / package.name, notice)
            speech.write(out, packages)
    finish(out)
    return int(any(reason == "unreadable" for _, reason in speech.left_out))


class Speech:
    """Clips that are gathered: their samples in an open file, a row of sources.csv for each.

    left_out counts by package and reason.
    """

    def __init__(self, samples: IO[bytes]) -> None:
        self.samples = samples
        self.rows: list[tuple[str, str, float, str]] = []
        self.lengths: list[int] = []
        self.left_out: Counter[tuple[str, str]] = Counter()
        self._heard: set[bytes] = set()

    def add_package(self, package: Package, deb: Path, folder: Path) -> str:
        """Add the speech of a package, which is unpacked into a folder meanwhile; return its copyright file."""
        folder.mkdir()
        clips, notice = unpack(package, deb, folder)
        for clip in progress(clips, len(clips), package.name):
            try:
                waveform = read_audio(clip.file, longest=LONGEST)
            except TooLong:
                self.left_out[package.name, "long"] += 1
            except InputError as error:
                say(f"note: {clip.path} of {package.name}: {str(error).removeprefix(f'{clip.file}: ')}")
                self.left_out[package.name, "unreadable"] += 1
            else:
                samples = np.round(np.clip(waveform, -1, 1) * 32767).astype(np.int16)
                self.add(samples, package.name, clip.path, clip.language)
        shutil.rmtree(folder)
        return notice.decode("utf-8", errors="replace")

    def add(self, samples: np.ndarray, package: str, path: str, language: str) -> None:
        """Add a clip, int16 at 16 kHz, (samples,), unless it is short, silent or there already."""
        content = xxhash.xxh3_128_digest(samples.tobytes())
        if len(samples) < SHORTEST * SAMPLE_RATE:
            self.left_out[package, "short"] += 1
        elif np.abs(samples.astype(np.int32)).max() < SILENT:
            self.left_out[package, "silent"] += 1
        elif content in self._heard:
            self.left_out[package, "duplicate"] += 1
        else:
            self._heard.add(content)
            self.samples.write(samples.tobytes())
            self.lengths.append(len(samples))
            self.rows.append((package, path, round(len(samples) / SAMPLE_RATE, 3), language))

    def write(self, out: Path, packages: Iterable[Package]) -> None:
        """Write the four files. Raises InputError if there is no clip."""
        if not self.rows:
            raise InputError(f"{out}: no clip is left; correct the expressions of the table of packages.")
        self.samples.flush()
        sources = pd.DataFrame(self.rows, columns=["package", "path", "seconds", "language"])
        with files.replacing_file(out / "audio.npy") as path:
            np.save(path, np.memmap(self.samples, np.int16, "r"))  # 1.2 GB: from file to file
        with files.replacing_file(out / "lengths.npy") as path:
            np.save(path, np.array(self.lengths, np.int64))
        files.write_csv(out / "sources.csv", sources)
        files.write_text(out / "packages.md", licence_table(packages, sources, self.left_out))


def licence_table(packages: Iterable[Package], sources: pd.DataFrame, left_out: Counter[tuple[str, str]]) -> str:
    """Return the table of packages in Markdown, the one with the most hours first."""
    rows = []
    for package in packages:
        own = sources[sources["package"] == package.name]
        cells = [f"{package.name} {package.version}", package.licence, package.copyright, package.speech]
        cells += [", ".join(sorted(set(own["language"]))), f"{len(own):,}", f"{own['seconds'].sum() / 3600:.2f}"]
        counts = {reason: left_out[package.name, reason] for reason in LEFT_OUT}
        cells.append(", ".join(f"{count:,} {reason}" for reason, count in counts.items() if count))
        rows.append((own["seconds"].sum(), cells))
    rows = sorted(rows, key=lambda row: -row[0])
    total = ["**all**", "", "", "", "", f"{len(sources):,}", f"{sources['seconds'].sum() / 3600:.2f}"]
    total.append(f"{left_out.total():,}")
    heads = ["package", "licence", "copyright", "speech", "languages", "clips", "hours", "left out"]
    lines = [heads, ["-"] * 5 + ["-:"] * 2 + ["-"], *(cells for _, cells in rows), total]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
