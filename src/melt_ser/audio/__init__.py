"""Audio: decode, resample, verify, augment."""

SAMPLE_RATE = 16_000  # Hz; every model takes this rate
# File names that a search of a folder accepts, the better formats first: of two files of a clip the first is used.
AUDIO_SUFFIXES = (
    *(".wav", ".flac", ".aiff", ".aif", ".au"),
    *(".ogg", ".opus", ".mp3", ".m4a", ".aac", ".mp4", ".webm", ".mkv", ".avi", ".wma"),
)
