"""`python -m melt_ser.train [GROUP=NAME] [KEY=VALUE]`: fine-tune a backbone, evaluate it, write the run folder."""

from __future__ import annotations

import sys

from omegaconf import DictConfig

from melt_ser.cli.launch import launch
from melt_ser.cli.sweep import Ended


def train(composed: DictConfig) -> Ended:
    """Train, or skip a finished run; return how it ended, for a sweep's summary."""
    from melt_ser.runs.run import run_or_skip  # slow to import, and --help and --cfg job do not need it

    _, skipped, ua = run_or_skip(composed)
    return Ended("skipped" if skipped else "finished", ua)


def main() -> int:
    return launch("config", train)


if __name__ == "__main__":
    sys.exit(main())
