"""Several processes of one run, told apart before torch is imported: one speaks and writes.

`accelerate launch --multi_gpu` or `torchrun` starts them, on a CPU (gloo) with `device=cpu`; both name them by the
variables RANK and WORLD_SIZE.
"""

from __future__ import annotations

import os


def several() -> bool:
    """Whether a launcher started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def warn_of_a_lone_process() -> str | None:
    """One sentence where `accelerate launch --cpu` was asked for several processes: without MPI it starts only one.

    It hands over that they were several (MASTER_PORT), and not how many, so they cannot be started from here.
    """
    if "ACCELERATE_USE_CPU" in os.environ and "MASTER_PORT" in os.environ and "WORLD_SIZE" not in os.environ:
        return (
            "accelerate launch --cpu has started one process; for several on a CPU: "
            "torchrun --nproc_per_node 2 -m melt_ser.train device=cpu, or "
            "accelerate launch --multi_gpu --num_processes 2 -m melt_ser.train device=cpu"
        )
    return None


def is_main_process() -> bool:
    """Whether this is the process that speaks and writes files; the only one usually is."""
    return os.environ.get("RANK", "0") == "0"
