"""Audio: decode, resample, verify, augment."""

SAMPLE_RATE = 16_000  # Hz; every model takes this rate
# Endings of audio files that a folder search finds, better formats first; the first is used if a clip has two files.
AUDIO_SUFFIXES = (
    *(".wav", ".flac", ".aiff", ".aif", ".au"),
    *(".ogg", ".opus", ".mp3", ".m4a", ".aac", ".mp4", ".webm", ".mkv", ".avi", ".wma"),
)
