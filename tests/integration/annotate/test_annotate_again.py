"""`annotate` again: nothing is asked twice, after a stop, a kill, a batch under way or a move of the server."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from annotate_runs import command, start
from annotation_server import Behaviour, annotating
from checkout import CHECKOUT
from heeding import heeding

SCRIPT = CHECKOUT / "scripts" / "soak_annotation.py"


def test_annotate_asks_nothing_twice(server: Behaviour, table: Path) -> None:
    assert start(server, table) == start(server, table) == 0
    assert server.calls == 12
    assert start(server, table, "--samples", "2") == 0
    assert server.calls == 24


def test_annotate_goes_on_after_it_was_stopped(table: Path) -> None:
    server = Behaviour(seconds=1.0)  # on a busy machine, a faster job would end before the signal
    with annotating(server) as address:
        process = subprocess.Popen(
            command(address, table, "--concurrency", "2"), stderr=subprocess.PIPE, text=True,
            preexec_fn=heeding,
        )  # fmt: skip
        while not server.answered:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        shown = process.communicate()[1]
        assert process.returncode == 130 and shown.endswith(
            "stopped; the same command goes on from what is answered.\n"
        )
        assert not table.with_name("labels.csv").exists()
        server.seconds = 0.0
        assert subprocess.run(command(address, table), capture_output=True).returncode == 0
    assert len(server.answered) == 12 and sum(server.answered.values()) <= 14


def test_annotate_makes_batches(server: Behaviour, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(server, table, "--engine", "batch", "--batch-requests", "5", "--poll", "0.01") == 0
    assert len(server.batches) == 3 and len(pd.read_csv(table.with_name("labels.csv"))) == 12
    submitted = re.findall(r"batch batch-\d is submitted with (\d) calls?", capsys.readouterr().err)
    assert sorted(submitted) == ["2", "5", "5"]  # in any order, since they run at the same time


def test_a_batch_under_way_is_left_to_its_engine_and_its_lines_are_told(
    server: Behaviour, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A labels file without labels once ended in 0, since all calls were in the batch of a killed command."""
    server.poll_status = 418
    batch = ("--engine", "batch", "--poll", "0.01")
    assert start(server, table, *batch) == 2
    assert start(server, table) == 1
    shown = capsys.readouterr().err
    assert "12 of 12 calls have no readable answer (12 in a batch): u0 (--engine batch collects it); u1" in shown
    assert f"{table.with_name('labels.csv')} has no label at all" in shown
    assert set(pd.read_csv(table.with_name("labels.csv"))["reason"]) == {"in a batch"} and server.calls == 0
    server.poll_status = None
    assert start(server, table, *batch) == 0 and len(server.batches) == 1
    assert pd.read_csv(table.with_name("labels.csv"))["reason"].isna().all()


def test_annotate_asks_another_server_anew_unless_it_has_moved(
    server: Behaviour, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(server, table) == 0
    former, moved = f"http://127.0.0.1:{server.port}/v1", Behaviour()
    assert start(moved, table, "--moved-from", former) == 0 and moved.calls == 0
    assert start(moved, table) == 0 and moved.calls == 0  # it is said once
    another = Behaviour()
    assert start(another, table) == 0 and another.calls == 12
    assert (
        f"note: 12 answers are from {former}; if that is the same server, give --moved-from" in capsys.readouterr().err
    )


@pytest.mark.slow
def test_annotate_answers_each_line_once_after_kills(shared_data: Path) -> None:
    """Run the soak script on 300 lines of MELD with three kills; one call in five fails."""
    import json

    given = ["--first", "300", "--kills", "3", "--rate", "200", "--meld", str(shared_data / "meld")]
    done = subprocess.run([sys.executable, str(SCRIPT), *given], capture_output=True, text=True)
    result = json.loads(done.stdout)
    assert done.returncode == 0 and result["sound"], done.stderr
    assert result["lines"] == result["answered"] == result["different"] == result["rows"] == 300
    assert result["failed"] >= 60 and result["asked_again"] <= 3 * 16
