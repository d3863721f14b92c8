"""Audio: decode, resample, verify, augment, measure."""

SAMPLE_RATE = 16_000  # Hz; every model takes this rate
RECEPTIVE_FIELD = 400
"""Samples that one frame of every supported backbone spans: 25 ms at 16 kHz. The next frame starts 320 later."""

# Endings of audio files that a folder search finds, better formats first; the first is used if a clip has two files.
AUDIO_SUFFIXES = (
    *(".wav", ".flac", ".aiff", ".aif", ".au"),
    *(".ogg", ".opus", ".mp3", ".m4a", ".aac", ".mp4", ".webm", ".mkv", ".avi", ".wma"),
)
