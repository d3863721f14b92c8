"""`python -m melt_ser.train [GROUP=NAME] [KEY=VALUE]`: fine-tune a backbone, evaluate it, write the run folder."""

from __future__ import annotations

import sys

from omegaconf import DictConfig

from melt_ser.launch import launch


def train(composed: DictConfig) -> None:
    from melt_ser.training.run import run  # heavy, and not needed for --help or --cfg job

    run(composed)


def main() -> int:
    return launch("config", train)


if __name__ == "__main__":
    sys.exit(main())
