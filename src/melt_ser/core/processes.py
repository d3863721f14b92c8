"""Tell the processes of one run apart before torch is imported: only the main process speaks and writes.

`accelerate launch --multi_gpu` or `torchrun` starts them (on a CPU with `device=cpu`, over gloo). Both set the
environment variables RANK and WORLD_SIZE.
"""

from __future__ import annotations

import os


def several() -> bool:
    """Return whether a launcher started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_main_process() -> bool:
    """Return whether this process speaks and writes files; a process without a launcher always does."""
    return os.environ.get("RANK", "0") == "0"


def cores() -> int:
    """Return the number of processor cores that this process may use: a job of a cluster has a part of a machine's."""
    if hasattr(os, "sched_getaffinity"):  # macOS lacks it
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def warn_of_a_lone_process() -> str | None:
    """Return a warning if `accelerate launch --cpu` was asked for several processes and, without MPI, started one.

    accelerate then sets MASTER_PORT but not the number of processes, so the others cannot be started from here.
    """
    if "ACCELERATE_USE_CPU" in os.environ and "MASTER_PORT" in os.environ and "WORLD_SIZE" not in os.environ:
        return (
            "accelerate launch --cpu has started one process; for several on a CPU: "
            "torchrun --nproc_per_node 2 -m melt_ser.train device=cpu, or "
            "accelerate launch --multi_gpu --num_processes 2 -m melt_ser.train device=cpu"
        )
    return None
