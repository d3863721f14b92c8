"""The journal: it never loses an answer that has arrived, and no such answer is asked for again."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melt_ser.annotation.journal import Entry, Journal, Settings, call_name, open_journal
from melt_ser.core.errors import InputError, OutputError, SetupError

ENTRY = Entry("c1", "dia0_utt0", 0, "gpt-4o", "melt", "1-abc", 1.0, "{}", None, 1, 300, 100, None, 0.5, "now")
SETTINGS = Settings("gpt-4o", "1-abc", 1.0)


def test_the_journal_returns_an_answer_unchanged(tmp_path: Path) -> None:
    scored = ENTRY._replace(call="c2", text='{"emotion": "joy"}\n☃', problem="wrong", probabilities={"joy": 0.75})
    with open_journal(tmp_path / "deep" / "journal.sqlite") as journal:
        journal.record(ENTRY)
        journal.record(scored)
    with open_journal(tmp_path / "deep" / "journal.sqlite") as journal:
        assert journal.find("c1") == ENTRY
        assert journal.find("c2") == scored
        assert journal.find("c3") is None


def test_a_repaired_answer_replaces_the_unreadable_one_in_the_journal(tmp_path: Path) -> None:
    with open_journal(tmp_path / "journal.sqlite") as journal:
        journal.record(ENTRY._replace(problem="no JSON"))
        journal.record(ENTRY._replace(rounds=2))
        assert journal.find("c1") == ENTRY._replace(rounds=2)
        assert journal.spent("gpt-4o", "1-abc") == (1, 300, 100, 0.5)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500), st.none() | st.floats(0, 9)), max_size=8))
def test_the_journal_sums_up_tokens_and_seconds(rows: list[tuple[int, int, float | None]]) -> None:
    journal = Journal(sqlite3.connect(":memory:"))
    journal.begin()
    for number, (prompt, completion, seconds) in enumerate(rows):
        row = ENTRY._replace(call=str(number), prompt_tokens=prompt, completion_tokens=completion, seconds=seconds)
        journal.record(row)
        journal.record(row._replace(call=f"other {number}", model="another"))
    known = [seconds for *_, seconds in rows if seconds is not None]
    spent = journal.spent("gpt-4o", "1-abc")
    assert spent[:3] == (len(rows), sum(row[0] for row in rows), sum(row[1] for row in rows))
    assert spent.seconds == (pytest.approx(sum(known) / len(known)) if known else None)


def test_call_name_changes_with_everything_in_the_question() -> None:
    names = {
        call_name("u", 0, ["model", 1.0, "text"]),
        call_name("u", 1, ["model", 1.0, "text"]),
        call_name("v", 0, ["model", 1.0, "text"]),
        call_name("u", 0, ["other", 1.0, "text"]),
        call_name("u", 0, ["model", 0.0, "text"]),
        call_name("u", 0, ["model", 1.0, "other text"]),
    }
    assert len(names) == 6
    assert call_name("u", 0, {"a": 1, "b": 2}) == call_name("u", 0, {"b": 2, "a": 1})


def test_the_journal_keeps_the_answers_of_a_killed_process(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from melt_ser.annotation.journal import Entry, open_journal\n"
        "with open_journal(Path(sys.argv[1])) as journal:\n"
        "    for number in range(100):\n"
        "        journal.record(Entry(str(number), 'u', 0, 'm', 'p', 'v', 1.0, 'text', None, 1, 1, 1))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "j.sqlite")], env=os.environ)
    assert done.returncode == -signal.SIGKILL
    with open_journal(tmp_path / "j.sqlite") as journal:
        assert journal.spent("m", "v").answers == 100


def test_a_submitted_call_is_open_again_once_its_batch_is_done(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j.sqlite") as journal:
        journal.plan_batch("b1", SETTINGS, [("c1", "dia0_utt0", 0), ("c2", "dia0_utt1", 0)], 500)
        assert journal.batches(SETTINGS) == [("b1", None, 500)]
        assert journal.batches(SETTINGS._replace(model="another")) == []
        journal.batch_submitted("b1", "batch_abc")
        assert journal.batches(SETTINGS) == [("b1", "batch_abc", 500)]
        journal.record(ENTRY)
        assert journal.submitted("c2", "b1") == ("c2", "dia0_utt1", 0)
        journal.rename([("c2", "c3")])
        assert journal.submitted("c2", "b1") == ("c3", "dia0_utt1", 0), "the server knows the name that was sent"
        journal.rename([("c3", "c2")])
        assert not journal.is_submitted("c1") and journal.is_submitted("c2")
        journal.batch_done("b1")
        assert not journal.is_submitted("c2") and journal.batches(SETTINGS) == []


def test_a_journal_has_one_writer(tmp_path: Path) -> None:
    with (
        open_journal(tmp_path / "j.sqlite"),
        pytest.raises(
            SetupError,
            match=r"Another process is at work in .*j\.sqlite \(it holds .*\.lock\); wait until it has ended",
        ),
        open_journal(tmp_path / "j.sqlite"),
    ):
        pass


def test_a_file_that_is_no_journal_is_refused_and_left_unchanged(tmp_path: Path) -> None:
    text, other = tmp_path / "text.sqlite", tmp_path / "other.sqlite"
    text.write_text("utterance,label\n" * 50)
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE mine (a)")
    connection.commit()
    connection.close()
    for path, problem in ((text, "is no journal"), (other, "is another SQLite file")):
        before = path.read_bytes()
        with pytest.raises(InputError, match=f"{path} {problem}.*--journal"), open_journal(path):
            pass
        assert path.read_bytes() == before


def test_a_journal_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"), open_journal(tmp_path / "file" / "j.sqlite"):
        pass
    (tmp_path / "folder").mkdir()
    with pytest.raises(SetupError, match="cannot be written"), open_journal(tmp_path / "folder"):
        pass
