"""Read thousands of damaged inputs: each is accepted or refused in a sentence, without traceback, crash or hang.

    python scripts/soak_bad_input.py --count 20000 --seed 0

Input number n of seed s depends only on s + n, so `--count 1 --seed <the reported seed>` repeats it. The readers rest
on C code, so child processes do the work. If a child dies, hangs or exceeds its memory, the script reports its current
seed, and a new child continues after it. A child hangs if an input costs it `SECONDS_EACH` of the processor, or if it
takes none for `STILL` seconds; the clock alone says nothing on a busy machine. The script prints a line of JSON; the
exit code is 1 if anything escaped.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1] / "tests" / "helpers"
SECONDS_EACH = 30  # of the processor; an input takes milliseconds
STILL = 300  # seconds in which a child takes nothing of the processor: it waits for something that never comes
MORE_MEMORY = 4 * 2**30  # bytes that reading may take in addition to the loaded libraries


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first input; each next one has the next seed")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + options.count)
    if options.child is not None:
        read_all(seeds, options.child)
        return 0
    started = time.perf_counter()
    shares = [share for share in split(seeds, options.processes) if share]
    with ThreadPoolExecutor(len(shares)) as pool:
        outcomes = [outcome for lane in pool.map(watch, shares) for outcome in lane]
    escaped = [outcome for outcome in outcomes if outcome["outcome"] == "escaped"]
    for outcome in escaped:
        print(f"seed {outcome['seed']} ({outcome['kind']}): {outcome['why']}", file=sys.stderr)
    print(json.dumps(summary(outcomes, round(time.perf_counter() - started, 1))))
    return 1 if escaped or len(outcomes) < options.count else 0


def split(seeds: range, parts: int) -> list[range]:
    """Divide the seeds into contiguous shares, so that one seed repeats a failure."""
    size = -(-len(seeds) // parts)
    return [seeds[first : first + size] for first in range(0, len(seeds), size)]


def watch(seeds: range) -> list[dict[str, Any]]:
    """Return the outcomes of all seeds; start a new child after each that dies."""
    outcomes: list[dict[str, Any]] = []
    while seeds:
        with tempfile.TemporaryDirectory() as folder:
            log, noise = Path(folder) / "log.jsonl", Path(folder) / "noise"
            command = [sys.executable, __file__, "--seed", str(seeds[0]), "--count", str(len(seeds)), "--child"]
            with noise.open("wb") as file:  # messages of the C libraries about broken files
                code = exit_code(subprocess.Popen([*command, str(log)], stdout=file, stderr=file))
            lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
            outcomes += [line for line in lines if "outcome" in line]
            done = sum("outcome" in line for line in lines)
            if done < len(seeds):
                last_lines = "\n".join(noise.read_text(errors="replace").splitlines()[-15:])
                why = f"the process ended with {code}:\n{last_lines}"
                kind = lines[-1]["kind"] if lines else "start"
                outcomes.append({"seed": seeds[done], "kind": kind, "outcome": "escaped", "why": why})
            if not lines:  # this child never started, and the next would not either
                break
            seeds = seeds[done + 1 :]
    return outcomes


def exit_code(child: subprocess.Popen[bytes]) -> int:
    """Wait for a child and return its exit code; end it if it stands still."""
    used, since = -1, time.monotonic()
    while True:
        try:
            return child.wait(timeout=1)
        except subprocess.TimeoutExpired:
            before, used = used, ticks(child.pid)
            since = time.monotonic() if used != before else since
            if time.monotonic() - since > STILL:
                child.send_signal(signal.SIGPROF)  # it prints its traceback


def ticks(process: int) -> int:
    """Return the processor's time that a process has used, in ticks of the system; -1 if it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return -1
    return int(fields[11]) + int(fields[12])


def read_all(seeds: range, log: Path) -> None:
    """Read all seeds in a child; note each seed's kind before reading and its outcome after."""
    sys.path.insert(0, str(TESTS))
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    import transformers.modeling_utils  # noqa: F401  takes seconds, which are not the first input's

    from fuzz_targets import kind_of, spoil

    torch.set_num_threads(1)
    faulthandler.enable()
    faulthandler.register(signal.SIGPROF, chain=True)  # prints the traceback and ends the process
    limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MORE_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with tempfile.TemporaryDirectory() as folder, log.open("a") as notes:
        for seed in seeds:
            print(json.dumps({"seed": seed, "kind": kind_of(seed)}), file=notes, flush=True)
            signal.setitimer(signal.ITIMER_PROF, SECONDS_EACH)
            outcome, why = "escaped", ""
            try:
                outcome = "accepted" if spoil(seed, Path(folder)) else "refused"
            except BaseException:
                why = traceback.format_exc()
            signal.setitimer(signal.ITIMER_PROF, 0)
            entry = {"seed": seed, "kind": kind_of(seed), "outcome": outcome, "why": why}
            print(json.dumps(entry), file=notes, flush=True)


def summary(outcomes: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """Return the numbers of tried, refused and accepted inputs, and the escaped failures, in all and by kind."""
    total = Counter(outcome["outcome"] for outcome in outcomes)
    kinds: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        kinds.setdefault(outcome["kind"], Counter())[outcome["outcome"]] += 1
    return {
        "tried": len(outcomes),
        "refused": total["refused"],
        "accepted": total["accepted"],
        "tracebacks": total["escaped"],
        "seconds": seconds,
        "by_kind": {kind: dict(counts) for kind, counts in sorted(kinds.items())},
    }


if __name__ == "__main__":
    sys.exit(main())
