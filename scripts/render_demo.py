"""Render the demo corpora `en` and `de`: synthetic expressive speech by espeak-ng, small enough to ship.

    python scripts/render_demo.py [--out src/melt_ser/demo]

Every voice says every sentence in every emotion, so only the prosody tells the emotion. An emotion is a row of
`EMOTIONS`. A clip moves from NEUTRAL towards that row by a random strength, plus random deviations. espeak-ng renders
pitch, pitch range, rate and the pause; this script adds all other properties to the samples. The same versions of
espeak-ng, numpy, scipy and libsndfile give the same bytes every time.
"""

from __future__ import annotations

import argparse
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from scipy.signal import resample_poly

from melt_ser.core.errors import SetupError
from melt_ser.core.files import replacing_folder, write_csv, write_text
from melt_ser.corpora.table import make_table

Audio = np.ndarray[Any, np.dtype[np.float64]]

SAMPLE_RATE = 16_000
ESPEAK_SAMPLE_RATE = 22_050
SEED = 2
COMPRESSION_LEVEL = 0.96  # libsndfile's 0 (large) to 1 (6 kbit/s); Opus, as Vorbis headers alone take 4 kB
EDGE_SECONDS = 0.06  # silence before and after the speech


@dataclass(frozen=True)
class Prosody:
    """The manner of speaking; a clip's values are a mixture of NEUTRAL and an emotion."""

    pitch: float  # semitones above the voice's default
    pitch_range: float  # per cent of the voice's default intonation range
    rate: float  # words a minute
    pause: float  # milliseconds of break in the middle of the sentence
    glide: float  # semitones the whole clip rises (or falls, below 0) from the beginning to the end
    tilt: float  # decibels an octave added around 1 kHz: tense voice above 0, soft voice below
    fade: float  # decibels lost (or won, above 0) from the beginning to the end
    tremor: float  # semitones of vibrato at TREMOR_HERTZ, with twice as many decibels of tremolo
    breath: float  # noise under the speech, relative to it, 0 to 1
    loudness: float  # decibels relative to full scale (root mean square)


# fmt: off
#                            pitch  range  rate  pause  glide  tilt  fade  tremor  breath  loudness
NEUTRAL =            Prosody(  0.0,  80.0, 172,    60,   0.0,  0.0, -1.0,    0.0,   0.02,    -22.0)
EMOTIONS = {
    "angry":         Prosody(  2.0, 125.0, 212,    20,  -2.0,  5.0,  4.0,    0.0,   0.02,    -17.0),
    "happy":         Prosody(  4.0, 220.0, 188,    40,   4.5,  1.5,  1.0,    0.0,   0.02,    -19.0),
    "neutral":       NEUTRAL,
    "sad":           Prosody( -2.5,  30.0, 140,   180,  -2.0, -2.5, -7.0,    0.1,   0.10,    -27.0),
    "fearful":       Prosody(  4.5,  50.0, 200,   100,   1.0, -0.5, -2.0,    0.9,   0.20,    -24.0),
}
CLIP_DEVIATION =     Prosody(  0.6,  14.0,  10,    20,   0.6,  0.5,  1.2,    0.08,  0.02,      1.5)
SPEAKER_DEVIATION =  Prosody(  0.5,   8.0,   7,    15,   0.3,  0.4,  0.5,    0.0,   0.01,      1.5)
# fmt: on
STRENGTH = 1.15, 0.15  # mean and deviation of how far a clip goes from NEUTRAL to its emotion
TREMOR_HERTZ = 6.5


@dataclass(frozen=True)
class Speaker:
    """One espeak-ng voice, accent+variant, used as a speaker (not en-gb: that alias ignores a variant)."""

    name: str
    voice: str
    gender: str
    split: str


@dataclass(frozen=True)
class Corpus:
    """The speakers, labels and sentences of one language; a bar marks the pause of a sentence."""

    language: str
    speakers: tuple[Speaker, ...]
    labels: dict[str, str]
    sentences: tuple[str, ...]


CORPORA = (
    Corpus(
        language="en",
        speakers=(
            Speaker("f1", "en-us+f3", "female", "train"),
            Speaker("f2", "en-gb-scotland+f5", "female", "train"),
            Speaker("f3", "en-029+Annie", "female", "train"),
            Speaker("f4", "en-gb-x-gbclan+linda", "female", "test"),
            Speaker("m1", "en-gb-x-rp+m3", "male", "train"),
            Speaker("m2", "en-us+m7", "male", "train"),
            Speaker("m3", "en-gb-x-gbcwmd+m4", "male", "dev"),
            Speaker("m4", "en-us-nyc+m1", "male", "test"),
        ),
        labels={name: name for name in EMOTIONS},
        sentences=(
            "The keys are | on the table.",
            "She will come | on Monday.",
            "The bus stops | near the school.",
            "It is raining | in the city.",
            "He put the book | on the shelf.",
            "They are painting | the small house.",
            "The letter came | in the morning.",
            "We will meet | at the station.",
        ),
    ),
    Corpus(
        language="de",
        speakers=(
            Speaker("f5", "de+f2", "female", "train"),
            Speaker("f6", "de+belinda", "female", "test"),
            Speaker("m5", "de+Michael", "male", "train"),
            Speaker("m6", "de+m8", "male", "dev"),
        ),
        labels={
            "angry": "wütend",
            "happy": "fröhlich",
            "neutral": "neutral",
            "sad": "traurig",
            "fearful": "ängstlich",
        },
        sentences=(
            "Der Schlüssel liegt | auf dem Tisch.",
            "Sie kommt | am Montag zurück.",
            "Der Zug hält | am Bahnhof.",
            "Das Buch steht | im Regal.",
            "Wir essen heute | um sieben Uhr.",
        ),
    ),
)


def generator(*names: str) -> np.random.Generator:
    """Return the random generator of a speaker or a clip; it does not depend on earlier clips."""
    return np.random.default_rng([SEED, *"/".join(names).encode()])


def values(prosody: Prosody) -> Audio:
    return np.array([getattr(prosody, field.name) for field in fields(prosody)], dtype=np.float64)


def clip_prosody(language: str, speaker: Speaker, emotion: str, utterance: str) -> Prosody:
    """Return the prosody of one clip: NEUTRAL moved to the emotion, plus deviations of the speaker and the clip."""
    count = len(fields(Prosody))
    clip = generator(language, utterance)
    strength = clip.normal(*STRENGTH)
    mixture = values(NEUTRAL) + strength * (values(EMOTIONS[emotion]) - values(NEUTRAL))
    mixture += values(SPEAKER_DEVIATION) * generator(language, speaker.name).normal(size=count)
    mixture += values(CLIP_DEVIATION) * clip.normal(size=count)
    least = values(Prosody(-6.5, 0, 100, 10, -5, -6, -12, 0, 0, -35))
    most = values(Prosody(6.5, 250, 300, 300, 5, 6, 12, 2, 1, -14))
    return Prosody(*np.clip(mixture, least, most).tolist())


def speak(espeak: str, voice: str, sentence: str, prosody: Prosody) -> Audio:
    """Speak one sentence with espeak-ng, at SAMPLE_RATE, cut to the speech and EDGE_SECONDS around it."""
    pause = f"<break time='{prosody.pause:.0f}ms'/>"
    ssml = f'<prosody range="{prosody.pitch_range:.0f}%">{sentence.replace("|", pause)}</prosody>'
    pitch = 50 + 7.3 * prosody.pitch  # espeak-ng's 0 to 99; 7.3 steps are a semitone (measured)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        options = ["-v", voice, "-m", "-p", f"{pitch:.0f}", "-s", f"{prosody.rate:.0f}", "-w", str(path)]
        subprocess.run([espeak, *options, ssml], check=True)
        recorded, rate = soundfile.read(path)
    assert rate == ESPEAK_SAMPLE_RATE
    audio: Audio = resample_poly(recorded, 320, 441)
    loud = np.flatnonzero(np.abs(audio) > 0.02 * np.abs(audio).max())
    edge = int(EDGE_SECONDS * SAMPLE_RATE)
    return np.pad(audio[loud[0] : loud[-1] + 1], edge).astype(np.float64)


def colour(audio: Audio, prosody: Prosody, chance: np.random.Generator) -> Audio:
    """Add the properties that espeak-ng lacks: tremor, glide, spectral tilt, breath, fading and loudness."""
    time = np.arange(len(audio)) / SAMPLE_RATE
    wave = 2 * np.pi * TREMOR_HERTZ * time + chance.uniform(0, 2 * np.pi)
    semitones = prosody.tremor * np.sin(wave) + prosody.glide * np.linspace(-0.5, 0.5, len(audio))
    audio = np.interp(np.cumsum(2 ** (semitones / 12)) / SAMPLE_RATE, time, audio, right=0.0)
    audio = audio * 10 ** (2 * prosody.tremor * np.sin(wave) / 20)

    envelope = np.sqrt(np.convolve(audio**2, np.hanning(640) / np.hanning(640).sum(), mode="same"))
    audio = audio + prosody.breath * envelope * chance.normal(size=len(audio))

    frequencies = np.fft.rfftfreq(len(audio), 1 / SAMPLE_RATE)
    octaves = np.log2(np.clip(frequencies, 125, 8000) / 1000)
    audio = np.fft.irfft(np.fft.rfft(audio) * 10 ** (prosody.tilt * octaves / 20), len(audio))

    audio = audio * 10 ** (prosody.fade * np.linspace(-0.5, 0.5, len(audio)) / 20)
    audio = audio * 10 ** (prosody.loudness / 20) / np.sqrt(np.mean(audio**2))
    audio *= min(1.0, 0.99 / float(np.abs(audio).max()))  # a peak never clips
    return audio


def write_opus(path: Path, audio: Audio, serial: int) -> None:
    """Write an Ogg Opus file; libsndfile draws the stream's serial number from the clock, so set our own."""
    options = {"format": "OGG", "subtype": "OPUS", "compression_level": COMPRESSION_LEVEL}
    soundfile.write(path, audio, SAMPLE_RATE, **options)
    data, start = bytearray(path.read_bytes()), 0
    while start < len(data):
        segments = data[start + 26]
        end = start + 27 + segments + sum(data[start + 27 : start + 27 + segments])
        struct.pack_into("<III", data, start + 14, serial, struct.unpack_from("<I", data, start + 18)[0], 0)
        struct.pack_into("<I", data, start + 22, ogg_checksum(bytes(data[start:end])))
        start = end
    path.write_bytes(data)


def checksum_table() -> list[int]:
    table = []
    for byte in range(256):
        remainder = byte << 24
        for _ in range(8):
            remainder = (remainder << 1) ^ (0x04C11DB7 if remainder & 0x80000000 else 0)
        table.append(remainder & 0xFFFFFFFF)
    return table


CHECKSUMS = checksum_table()


def ogg_checksum(page: bytes) -> int:
    """Return the CRC-32 of an Ogg page (RFC 3533) with 0 in its checksum field."""
    remainder = 0
    for byte in page:
        remainder = ((remainder << 8) & 0xFFFFFFFF) ^ CHECKSUMS[(remainder >> 24) ^ byte]
    return remainder


def clips(corpus: Corpus) -> Iterator[tuple[Speaker, str, int, str]]:
    """Yield every (speaker, emotion, sentence number, sentence)."""
    for speaker in corpus.speakers:
        for emotion in EMOTIONS:
            for number, sentence in enumerate(corpus.sentences, start=1):
                yield speaker, emotion, number, sentence


def render(corpus: Corpus, folder: Path, espeak: str, version: str) -> None:
    """Render one language into `folder`: audio/*.ogg, table.csv and README.md."""
    (folder / "audio").mkdir()
    rows = []
    everything = list(clips(corpus))
    for position, (speaker, emotion, number, sentence) in enumerate(everything, start=1):
        utterance = f"{speaker.name}_{emotion}_{number:02d}"
        prosody = clip_prosody(corpus.language, speaker, emotion, utterance)
        speech = speak(espeak, speaker.voice, sentence, prosody)
        speech = colour(speech, prosody, generator(corpus.language, utterance, "colour"))
        audio = f"audio/{utterance}.ogg"
        write_opus(folder / audio, speech, serial=position)
        rows.append(
            {
                "utterance": utterance,
                "source": f"demo/{corpus.language}/{utterance}",
                "audio": audio,
                "duration": soundfile.info(folder / audio).duration,
                "split": speaker.split,
                "speaker": speaker.name,
                "gender": speaker.gender,
                "language": corpus.language,
                "text": sentence.replace(" | ", " "),
                "label": corpus.labels[emotion],
            }
        )
        print(f"\r{corpus.language}: {position} of {len(everything)} clips", end="", file=sys.stderr)
    print(file=sys.stderr)
    write_csv(folder / "table.csv", make_table(rows))
    write_text(folder / "README.md", readme(corpus, len(rows), version))


def readme(corpus: Corpus, count: int, version: str) -> str:
    voices = ", ".join(f"{speaker.name} = {speaker.voice}" for speaker in corpus.speakers)
    return (
        f"# Demo corpus `{corpus.language}`\n\n"
        f"SYNTHETIC speech: {count} clips, {len(corpus.speakers)} voices ({voices}), "
        f"{len(corpus.sentences)} sentences, each said by every voice in every emotion "
        f"({', '.join(corpus.labels.values())}). Rendered by `scripts/render_demo.py` with {version}: pitch, "
        "pitch range, rate and the pause by espeak-ng; pitch glide, spectral tilt, breath noise, tremor "
        "(vibrato and tremolo), fading and loudness on the samples; every clip varies by seeded chance, and "
        "the emotions overlap. Shipped as 16 kHz mono Ogg Opus. It shows that the machine works, never how "
        "good a model is: nobody felt anything, and a figure on it says nothing about speech by people. "
        "Licence: the output of espeak-ng belongs to whoever makes it; MIT like the project.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Render the synthetic demo corpora with espeak-ng.")
    parser.add_argument("--out", type=Path, default=Path("src/melt_ser/demo"), help="default: %(default)s")
    out: Path = parser.parse_args().out
    espeak = shutil.which("espeak-ng")
    if espeak is None:
        raise SetupError("espeak-ng is not on the PATH; install it (Debian and Ubuntu: apt install espeak-ng).")
    banner = subprocess.run([espeak, "--version"], check=True, capture_output=True, text=True).stdout
    version = "espeak-ng " + banner.split(":")[1].split()[0]
    for corpus in CORPORA:
        with replacing_folder(out / corpus.language) as folder:
            render(corpus, folder, espeak, version)
        files = sorted((out / corpus.language / "audio").iterdir())
        size = sum(path.stat().st_size for path in files)
        print(f"{out / corpus.language}: {len(files)} clips, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    try:
        main()
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
