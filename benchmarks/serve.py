"""Requests a second of `serve`: one client after another, many at once one by one, and many at once in batches.

    python benchmarks/serve.py [--families ...] [--size tiny] [--clips 64] [--clients 16] [--device auto]

Systems: `alone` (one client, which waits for each answer), `one_by_one` (`--clients` at once, `--batch 1`) and
`batched` (the same clients, `--batch` as many). All upload the same wav files to a server in a process of its own; each
system has a new server, and rounds alternate. Loading the model and a first clip are off the clock. `difference` is the
largest difference of a probability from that of `alone`. `processor ms` is what a request costs the server, which other
programs on the machine hardly change. The script prints a table and a line of JSON.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from clips import CLASSES, draw_seconds, make_clips
from common import (
    Figures,
    add_model_options,
    alternate,
    make_parser,
    median,
    print_result,
    ratios,
    resolve_device,
    run_process,
    spread,
    watched,
)
from inference import save_classifier

BOUNDARY = b"benchmark"
FORM = b'--%s\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n%s\r\n--%s--\r\n'


def upload(address: str, content: bytes) -> list[float]:
    """Return the probabilities of a clip."""
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}
    request = urllib.request.Request(f"{address}label", FORM % (BOUNDARY, content, BOUNDARY), headers)
    with urllib.request.urlopen(request) as response:
        probabilities = json.load(response)["probabilities"]
    return [probabilities[name] for name in CLASSES]


def processor_seconds(process: int) -> float:
    """Return the seconds of all its cores that a process has used (Linux; NaN elsewhere)."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return math.nan
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(job: Figures) -> Figures:
    """Measure one system; write its probabilities into the folder."""
    clips = [path.read_bytes() for path in sorted(Path(job["clips"]).rglob("*.wav"))]
    clients, batch = {"alone": (1, 1), "one_by_one": (job["clients"], 1)}.get(job["system"], (job["clients"],) * 2)
    options = ("--device", job["device"], "--port", "0", "--batch", str(batch), "--requests", str(clients + 1))
    command = [sys.executable, "-m", "melt_ser.serve", str(Path(job["folder"]) / "model"), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        upload(address, clips[0])
        started, used = time.perf_counter(), processor_seconds(server.pid)
        with ThreadPoolExecutor(clients) as pool:
            probabilities = list(pool.map(partial(upload, address), clips))
        seconds, used = time.perf_counter() - started, processor_seconds(server.pid) - used
        server.send_signal(signal.SIGTERM)
    np.save(Path(job["folder"]) / f"{job['system']}.npy", np.array(probabilities))
    return {"requests_per_second": len(clips) / seconds, "processor_ms": 1000 * used / len(clips)}


def compare(options: Any, device: str, family: str, clips: Path, folder: Path) -> list[Figures]:
    """Return the rows of one family."""
    save_classifier(family, options.size, folder, options.seed)
    job = {"folder": str(folder), "clips": str(clips), "device": device, "clients": options.clients}

    def run(system: str, _: int) -> Figures:
        return run_process(__file__, "--job", json.dumps({**job, "system": system}))

    systems = ("alone", "one_by_one", "batched")
    found = alternate({system: partial(run, system) for system in systems}, options.rounds)
    alone = np.load(folder / "alone.npy")
    rows = []
    for system, rounds in found.items():
        faster = ratios(rounds, found["one_by_one"], "requests_per_second")
        cheaper = ratios(found["one_by_one"], rounds, "processor_ms")
        rows.append(
            {
                "family": family,
                "size": options.size,
                "system": system,
                "requests/s": median(rounds, "requests_per_second"),
                "from-to": spread(rounds, "requests_per_second"),
                "this/one_by_one": median(faster, "ratio"),
                "ratio from-to": spread(faster, "ratio"),
                "processor ms": median(rounds, "processor_ms"),
                "one_by_one/this": spread(cheaper, "ratio"),
                "difference": float(np.abs(np.load(folder / f"{system}.npy") - alone).max()),
                "others' CPU": spread(rounds, "others_cpu"),
            }
        )
    return rows


def main() -> None:
    parser = make_parser(__doc__)
    add_model_options(parser, clips=64)
    parser.add_argument("--clients", type=int, default=16, help="at once (default: 16)")
    parser.add_argument("--job", help="(for the processes of the systems)")
    options = parser.parse_args()
    if options.job:
        return print(json.dumps(watched(lambda: measure(json.loads(options.job)))))
    device = resolve_device(options.device)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["MELT_SER_CACHE"] = str(folder / "cache")
        make_clips(folder / "clips", draw_seconds(options.clips, options.seed, options.lengths), options.seed)
        for family in options.families:
            rows += compare(options, device, family, folder / "clips", folder / family)
    print_result("serve", device, rows, clips=options.clips, clients=options.clients, rounds=options.rounds)


if __name__ == "__main__":
    main()
