"""The common part of the speed benchmarks: alternating runs, the machine's noise, medians, the table and the JSON line.

Each system runs in a process of its own and prints its figures as a JSON object in its last line. Rounds run all
systems one after the other, every second round in reverse, so that no system gains if the machine slows down.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Figures = dict[str, Any]
WITHOUT_CACHE = ("cache.features=false",)  # settings of melt_ser that compute the frozen layers each time
FAMILIES = ("wav2vec2", "hubert", "wavlm", "data2vec")


def make_parser(description: str | None, rounds: int = 3) -> argparse.ArgumentParser:
    """Return a parser with the options of all benchmarks."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"of all systems, alternating (default: {rounds})")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def add_model_options(parser: argparse.ArgumentParser, clips: int, families: Sequence[str] = FAMILIES) -> None:
    """Add the options for models, clips and settings of melt_ser."""
    parser.add_argument("--families", nargs="+", choices=families, default=list(families))
    parser.add_argument("--size", choices=("tiny", "base", "large"), default="tiny")
    parser.add_argument("--clips", type=int, default=clips, help=f"(default: {clips})")
    parser.add_argument("--lengths", type=Path, help="seconds of clips, one a line (default: see clips.py)")
    parser.add_argument("--overrides", nargs="*", default=[], help="settings of melt_ser, as typed to train")


def resolve_device(device: str) -> str:
    """Return cpu or cuda."""
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def add_precision_option(parser: argparse.ArgumentParser) -> None:
    """Add the precision of training, the same on all sides."""
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="(default: fp32 on a CPU, bf16 on a GPU)")


def resolve_precision(precision: str | None, device: str) -> str:
    """Return fp32 or bf16."""
    return precision or ("fp32" if device == "cpu" else "bf16")


def peak_memory(device: str) -> float:
    """Return the peak memory of this process in MiB: tensors on a GPU, otherwise main memory."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10  # KiB on Linux


def run_process(script: str, *arguments: object) -> Figures:
    """Run a process of this Python and return the figures of its last line; MemoryError if the system killed it."""
    command = [sys.executable, script, *(str(argument) for argument in arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == -9:
        raise MemoryError(f"{' '.join(command)} was killed, as the system does if memory runs out.")
    if done.returncode:
        sys.exit(f"error: {' '.join(command)} failed\n{done.stderr[-3000:]}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def watched(task: Callable[[], Figures]) -> Figures:
    """Return the task's figures and `others_cpu`, the share of all cores' time that other programs used meanwhile."""
    started, busy, own = time.perf_counter(), _busy_seconds(), _own_seconds()
    figures = task()
    available = (time.perf_counter() - started) * (os.cpu_count() or 1)
    others = _busy_seconds() - busy - (_own_seconds() - own)
    return {**figures, "others_cpu": round(min(max(0.0, others / available), 1.0), 3)}


def _busy_seconds() -> float:
    """Return the CPU seconds of all programs, and those that the host took away (Linux; 0 elsewhere)."""
    try:
        user, nice, system, _, _, interrupts, soft, stolen, *_ = map(int, Path("/proc/stat").read_text().split()[1:11])
    except (OSError, ValueError):
        return 0.0
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def alternate(systems: dict[str, Callable[[int], Figures]], rounds: int) -> dict[str, list[Figures]]:
    """Return each system's figures of each round; a system is called with the number of the round."""
    rounds_of: dict[str, list[Figures]] = {name: [] for name in systems}
    for number in range(rounds):
        for name in list(systems)[:: -1 if number % 2 else 1]:
            figures = systems[name](number)
            rounds_of[name].append(figures)
            print(f"  round {number + 1}/{rounds} {name}: {json.dumps(figures)}", file=sys.stderr, flush=True)
    return rounds_of


def median(rounds: Sequence[Figures], key: str, digits: int = 3) -> float:
    """Return the median of a figure over the rounds."""
    return round(statistics.median(figures[key] for figures in rounds), digits)


def spread(rounds: Sequence[Figures], key: str, digits: int = 3) -> list[float]:
    """Return the minimum and the maximum of a figure over the rounds."""
    values = [figures[key] for figures in rounds]
    return [round(min(values), digits), round(max(values), digits)]


def ratios(above: Sequence[Figures], below: Sequence[Figures], key: str) -> list[Figures]:
    """Return the ratio of a figure between two systems, round by round."""
    return [{"ratio": over[key] / under[key]} for over, under in zip(above, below, strict=True)]


def machine(device: str) -> Figures:
    """Return the machine of the figures: processor or GPU, versions, load at the end."""
    import torch
    import transformers

    names = [line.partition(":")[2].strip() for line in _cpu_lines() if line.startswith("model name")]
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else (names or [platform.processor()])[0],
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "load": os.getloadavg()[0],
    }


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []


def print_table(rows: Sequence[Figures]) -> None:
    """Print the rows as aligned columns under the keys of the first row."""
    cells = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    for line in cells:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)), flush=True)


def _cell(value: object) -> str:
    if isinstance(value, list):
        return "–".join(_cell(item) for item in value)
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 1000 else f"{value:.4g}"
    return str(value)


def print_result(name: str, device: str, rows: Sequence[Figures], **more: object) -> None:
    """Print the table, then everything as one line of JSON."""
    print_table(rows)
    print(json.dumps({"benchmark": name, **more, "rows": list(rows), "machine": machine(device)}, default=str))
