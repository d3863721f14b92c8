"""Start a verb that pauses just before a file gets its name, so that a test can stop it there.

    python pausing.py MARK POINT VERB [ARGUMENT ...]

POINT is the name of the file or folder, whose content lies under a temporary name then, or `audio`: when a recording is
opened. The file MARK is made as soon as the verb pauses.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import soundfile

from melt_ser.__main__ import main


def pause(mark: Path) -> None:
    mark.touch()
    while True:
        signal.pause()


def pausing_at(point: str, mark: Path) -> None:
    replace = os.replace

    def pausing(source: Any, target: Any) -> None:
        if Path(target).name == point:
            pause(mark)
        replace(source, target)

    os.replace = pausing
    if point == "audio":
        soundfile.SoundFile.__init__ = lambda *_, **__: pause(mark)


if __name__ == "__main__":
    _, mark, point, *sys.argv[1:] = sys.argv
    pausing_at(point, Path(mark))
    sys.exit(main())
