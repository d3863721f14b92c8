"""Time the start of a training up to its first step, and the share of imports.

    python benchmarks/startup.py [--rounds 3] [--device auto] [--overrides backbone=wav2vec2_tiny_random ...]

Runs `python -m melt_ser.train` (the embedded corpus and a tiny backbone, unless --overrides chooses others) up to the
end of the first step of its optimiser and stops it there. `imports` is the time that Python's own clock of imports
(-X importtime) counts, in separate runs, because that clock takes some time itself. `first` is the very first run: only
this run verifies the corpus. The script prints a table and a line of JSON.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from functools import partial

from common import Figures, alternate, make_parser, median, print_result, resolve_device, spread, watched

UNTIL_FIRST_STEP = """
import os, sys
from torch.optim.optimizer import register_optimizer_step_post_hook
register_optimizer_step_post_hook(lambda *_: os._exit(77))
from melt_ser.train import main
sys.exit(main())
"""
STEPPED = 77
IMPORT_TIME = re.compile(r"^import time: +(\d+) \|", re.MULTILINE)  # microseconds of the module itself


def start(settings: list[str], clock_imports: bool) -> Figures:
    """Return the seconds until the end of the first step, and those of the imports."""
    with tempfile.TemporaryDirectory() as folder:
        python = [sys.executable, *(["-X", "importtime"] if clock_imports else [])]
        command = [*python, "-c", UNTIL_FIRST_STEP, f"out={folder}", *settings]
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True)
        seconds = time.perf_counter() - started
    if done.returncode != STEPPED:
        sys.exit(f"error: {' '.join(command)} came to no training step\n{done.stderr[-3000:]}")
    if not clock_imports:
        return {"seconds": seconds}
    imports = sum(map(int, IMPORT_TIME.findall(done.stderr))) / 1e6
    return {"seconds": seconds, "imports": imports, "share": imports / seconds}


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--overrides", nargs="*", default=[], help="settings of melt_ser")
    options = parser.parse_args()
    device = resolve_device(options.device)
    settings = [f"device={device}", *options.overrides]
    with tempfile.TemporaryDirectory() as cache:
        os.environ["MELT_SER_CACHE"] = cache
        first = watched(lambda: start(settings, False))

        def run(clock_imports: bool, _: int) -> Figures:
            return watched(lambda: start(settings, clock_imports))

        found = alternate({"plain": partial(run, False), "imports": partial(run, True)}, options.rounds)
    row = {
        "first": round(first["seconds"], 2),
        "seconds": median(found["plain"], "seconds", 2),
        "from-to": spread(found["plain"], "seconds", 2),
        "imports": median(found["imports"], "imports", 2),
        "share of imports": median(found["imports"], "share"),
        "others' CPU": spread(found["plain"] + found["imports"], "others_cpu"),
    }
    print_result("startup", device, [row], rounds=options.rounds, overrides=options.overrides)


if __name__ == "__main__":
    main()
