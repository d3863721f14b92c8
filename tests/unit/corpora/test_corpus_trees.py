"""The generated release trees hold audio that decoders read."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
import soundfile

from corpus_trees import CODECS, tone


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp4", ".avi"])
def test_a_generated_tone_has_the_given_length(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"tone{suffix}"
    tone(path, seconds=0.5, sample_rate=16000)
    if suffix in CODECS:
        with av.open(str(path)) as container:
            samples = sum(frame.samples for frame in container.decode(audio=0))
        assert 8000 <= samples <= 8000 + 2 * 1024  # both codecs pad to whole frames
    else:
        assert soundfile.info(path).frames == 8000
