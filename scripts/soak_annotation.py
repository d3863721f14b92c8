"""Annotate all of MELD with a server that fails one call in five and with repeated kills: each line is answered once.

    python scripts/soak_annotation.py --kills 10 --failing 0.2 --rate 150

The server of the tests (tests/helpers/annotation_server.py) runs in this process. The command runs as a user starts it,
gets SIGKILL after a random number of answers, and is started again until it ends by itself. The script prints a line of
JSON. The exit code is 1 if a line is missing, is there twice, or was asked about again without need.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[1]
sys.path.insert(0, str(CHECKOUT / "tests" / "helpers"))

from annotation_server import KEY, Behaviour, annotating  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("MELT_SER_TEST_DATA") or CHECKOUT.parent / "shared" / "data")
    parser.add_argument("--meld", type=Path, default=data / "meld", help="folder of MELD's three annotation files")
    parser.add_argument("--first", type=int, default=None, help="lines to annotate (default: all)")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--failing", type=float, default=0.2, help="share of calls that fail, in five ways")
    parser.add_argument("--malformed", type=float, default=0.02, help="share of answers that cannot be read at first")
    parser.add_argument("--rate", type=float, default=150.0, help="answers a second that the server gives")
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = soak(options, Path(folder))
    print(json.dumps(result))
    return 0 if result["sound"] else 1


def soak(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Kill and restart the command until it ends; return the counts of the journal, the labels file and the server."""
    lines = lines_of(options.meld)[: options.first]
    server = Behaviour(failing=options.failing, malformed=options.malformed, rate=options.rate, seconds=0.01)
    moments = sorted(random.Random(options.seed).sample(range(1, len(lines)), options.kills))
    started = time.monotonic()
    with annotating(server) as address:
        command = [sys.executable, "-m", "melt_ser.annotate", str(options.meld), "--out", str(folder / "labels.csv")]
        command += ["--base-url", address, "--model", "test", "--concurrency", str(options.concurrency)]
        command += [] if options.first is None else ["--first", str(options.first)]
        for moment in moments:
            if not run(command, folder, server, moment):
                raise SystemExit("The command ended before it was killed; give more lines or fewer kills.")
        run(command, folder, server, None)
    seconds = time.monotonic() - started
    with sqlite3.connect(folder / "labels.journal.sqlite") as journal:
        answered = [name for (name,) in journal.execute("SELECT utterance FROM answers WHERE problem IS NULL")]
        repaired, rounds = journal.execute("SELECT sum(rounds > 1), sum(rounds) FROM answers").fetchone()
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = sum(1 for _ in csv.DictReader(file))
    given = sum(server.answered.values())
    again = given - rounds  # the server cannot count these, since a speaker may say one line twice in an episode
    rate = given / (server.last - server.first)
    sound = sorted(answered) == sorted(lines) and rows == len(lines)
    sound = sound and again <= options.kills * options.concurrency and rate <= options.rate * 1.01
    return {
        "sound": sound,
        "lines": len(lines),
        "answered": len(answered),
        "different": len(set(answered)),
        "rows": rows,
        "kills": options.kills,
        "calls": server.calls,
        "failed": server.failed,
        "limited": server.refused,
        "repaired": repaired,
        "asked_again": again,
        "answers_a_second": round(rate, 1),
        "seconds": round(seconds, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
    }


def run(command: list[str], folder: Path, server: Behaviour, moment: int | None) -> bool:
    """Start the command and kill it after `moment` answers of the server; return whether it was killed."""
    environment = {**os.environ, "OPENAI_API_KEY": KEY, "PYTHONPATH": str(CHECKOUT / "src")}
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        while process.poll() is None:
            if moment is not None and len(server.answered) >= moment:
                process.send_signal(signal.SIGKILL)
                process.wait()
                return True
            time.sleep(0.002)
    if moment is None and process.returncode != 0:
        raise SystemExit(f"The command ended with {process.returncode}:\n{(folder / 'log').read_text()[-3000:]}")
    return False


def lines_of(meld: Path) -> list[str]:
    """Return the names of MELD's utterances, read without the package's code."""
    names = []
    for split in ("train", "dev", "test"):
        with (meld / f"{split}_sent_emo.csv").open(encoding="utf-8", newline="") as file:
            names += [f"{split}_dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}" for row in csv.DictReader(file)]
    return names


if __name__ == "__main__":
    sys.exit(main())
