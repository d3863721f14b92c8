"""Audio: decode, resample, verify, augment."""

SAMPLE_RATE = 16_000  # Hz, of all models
# The file names that a folder is searched for. The better formats come first: of two files of a clip the first is used.
AUDIO_SUFFIXES = (
    *(".wav", ".flac", ".aiff", ".aif", ".au"),
    *(".ogg", ".opus", ".mp3", ".m4a", ".aac", ".mp4", ".webm", ".mkv", ".avi", ".wma"),
)
