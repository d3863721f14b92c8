"""Keep transformers and the client of the hub quiet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from melt_ser.core.console import shows_bars


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' progress bars and its report on missing and unused weights within the block.

    The caller checks for missing weights itself.
    """
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def quiet_hub() -> None:
    """Switch the progress bars of the hub's client off where ours are."""
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not shows_bars():
        disable_progress_bars()
