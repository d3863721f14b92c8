"""Audio: decode, resample, verify, augment."""

SAMPLE_RATE = 16_000
