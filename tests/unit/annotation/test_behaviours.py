"""Each behaviour of a server that the documents list, and how a job of two lines ends with it."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing
from pathlib import Path

import pytest

from annotation_behaviours import KNOWN, LABEL, Known
from annotation_server import KEY, Behaviour, annotating
from checkout import CHECKOUT
from melt_ser.annotation.answering import AnnotationProgress, answer_all
from melt_ser.annotation.endpoint import Endpoint
from melt_ser.annotation.job import Job, labelled_lines
from melt_ser.annotation.journal import Journal, open_journal
from melt_ser.annotation.openai_engine import OpenAIEngine
from melt_ser.annotation.prompts import load_prompt
from melt_ser.annotation.purse import Purse
from melt_ser.core.errors import MeltSerError
from melt_ser.corpora.lines import Line

TEXTS = ("the emotion is joy", "the emotion is anger")


def run(known: Known, server: Behaviour, journal: Journal) -> list[str]:
    """Return how each line of a job ends: "label", or the reason why it has none. Raises what the job raises."""

    async def ask(address: str) -> list[str]:
        lines = [Line(f"u{n}", text, "Ross", "", "", "", n, None, "", {}) for n, text in enumerate(TEXTS)]
        asked = known.options
        job = Job(lines, {}, load_prompt("melt"), "m", asked.temperature, 1, address, asked.max_tokens, asked.shaping)
        progress = AnnotationProgress(2, 0, Purse())
        async with aclosing(Endpoint(address, timeout=known.timeout)) as endpoint:
            await answer_all(job, OpenAIEngine(endpoint, "m", asked), journal, 1, progress)
        return [line.reason or LABEL for line in labelled_lines(job, journal, {})]

    with annotating(server) as address:
        return asyncio.run(ask(address))


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_a_job_ends_as_the_behaviour_of_its_server_demands(
    known: Known, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = known.server()
    with open_journal(tmp_path / "journal.sqlite") as journal:
        if known.ends.startswith("stops: "):
            monkeypatch.setattr("melt_ser.annotation.answering.GIVE_UP", 2)  # failed calls, instead of twenty
            with pytest.raises(MeltSerError, match=known.ends.removeprefix("stops: ")) as raised:
                run(known, server, journal)
            assert KEY not in str(raised.value) and KEY[:12] not in str(raised.value)
        else:
            assert run(known, server, journal) == [known.ends] * 2
    assert known.calls is None or server.calls == known.calls
    assert KEY.encode() not in (tmp_path / "journal.sqlite").read_bytes()


def test_the_documents_list_each_behaviour() -> None:
    _, _, table = (
        (CHECKOUT / "docs" / "annotation.md").read_text(encoding="utf-8").partition("## Behaviours of servers")
    )
    listed = re.findall(r"^\| `([^`|]+)` \| ([^|]+) \| ([^|]+) \|$", table, flags=re.MULTILINE)
    assert listed == [(known.name, known.does, shown(known.ends)) for known in KNOWN]
    assert len({known.name for known in KNOWN}) == len(KNOWN) >= 50


def shown(ends: str) -> str:
    """Return how the documents tell the end of a job."""
    return "the job stops with a sentence" if ends.startswith("stops: ") else ends
