"""Ctrl-C, SIGTERM and a closed terminal end a verb in good order: its `finally` blocks run, once, to their end."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from melt_ser.cli.early import release
from melt_ser.cli.stopped import Stopped, never_dropped
from melt_ser.core.errors import SetupError, first_line
from melt_ser.core.processes import several

Result = TypeVar("Result")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE = 5  # seconds for tidying up, which takes milliseconds


@contextmanager
def stopping_in_order() -> Iterator[None]:
    """Raise Stopped in the block if a signal arrives.

    Further signals within `PATIENCE` are ignored, and a later one ends the program at once; after the block, while
    Python shuts down, only SIGTERM does. Signals that are ignored already (`nohup`) stay so. Nothing changes outside
    the main thread, or if a launcher watches several processes, since it also ends those that wait for each other.
    """
    release()
    if several() or not _in_main_thread():
        yield
        return
    stopped: Stopped | None = None
    stopped_at = 0.0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped, stopped_at
        if stopped is None or stopped.dropped:
            stopped, stopped_at = Stopped(number), time.monotonic()
            raise stopped
        if time.monotonic() - stopped_at > PATIENCE:
            os._exit(128 + number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    heeded = [number for number in SIGNALS if before[number] is not signal.SIG_IGN]
    for number in heeded:
        signal.signal(number, stop)
    try:
        with never_dropped():
            yield
    finally:
        for number in heeded:
            ignored = stopped is not None and number != signal.SIGTERM
            signal.signal(number, signal.SIG_IGN if ignored else before[number])


@contextmanager
def queued_again() -> Iterator[None]:
    """Within a job of submitit, end the block in order if the job is preempted or near its time limit, then requeue it.

    submitit's own handler would act wherever the signal arrives, and its exception is one that libraries catch. Here
    the signal raises Stopped, and submitit's handler is called after the block: it queues the job again and raises
    SystemExit. The decoding processes of the job get the signal too, and ignore it. Raises SetupError if the job may
    not be queued again.
    """
    name = f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}"
    queue_again = signal.getsignal(signal.Signals[name]) if "SUBMITIT_EXECUTOR" in os.environ else None
    if not callable(queue_again) or not _in_main_thread():
        yield
        return
    number, process = signal.Signals[name], os.getpid()
    stopped: Stopped | None = None

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        if os.getpid() == process and (stopped is None or stopped.dropped):
            stopped = Stopped(number)
            raise stopped

    signal.signal(number, stop)
    try:
        with never_dropped():
            yield
    except BaseException:
        if stopped is None:
            raise
        try:
            queue_again(number, None)
        except Exception as error:
            raise SetupError(
                f"The job was stopped before its time limit and not queued again ({first_line(error)}); the same "
                "command goes on from the last epoch, and a higher hydra.launcher.timeout_min, or on Slurm "
                "hydra.launcher.max_num_timeout, lets it run longer."
            ) from None
    finally:
        signal.signal(number, queue_again)


def run_async(work: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of a coroutine within `stopping_in_order`; a signal first cancels its tasks in order.

    An exception that a signal handler raises within an event loop would reach whichever task is running.
    """
    import asyncio  # a tenth of a second of every `--help`

    arrived: list[int] = []

    async def cancellable() -> Result:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def cancel(number: int) -> None:
            if not arrived:
                arrived.append(number)
                task.cancel()

        before = {number: signal.getsignal(number) for number in SIGNALS}
        heeded = [number for number in SIGNALS if callable(before[number])] if _in_main_thread() else []
        for number in heeded:
            loop.add_signal_handler(number, cancel, number)
        try:
            return await work
        finally:
            for number in heeded:
                loop.remove_signal_handler(number)
                signal.signal(number, before[number])

    try:
        return asyncio.run(cancellable())
    except asyncio.CancelledError:
        if arrived:
            signal.raise_signal(arrived[0])  # to `stopping_in_order`
        raise


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
