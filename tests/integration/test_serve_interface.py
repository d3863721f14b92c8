"""Generated requests to every address of `serve`: each answer is one that the interface describes, none is a 500."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
pytest.importorskip("schemathesis", reason="schemathesis is not installed")
import schemathesis

from serving import Served, serving, small_run

described = schemathesis.pytest.from_fixture("interface")


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(small_run()) as one:
        yield one


@pytest.fixture(scope="module")
def interface(served: Served) -> Any:
    return schemathesis.openapi.from_url(f"{served.address}/openapi.json")


@described.parametrize()
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_the_interface_describes_it(case: Any) -> None:
    case.call_and_validate()


def test_the_model_still_answers(served: Served) -> None:
    assert served.get("/health") == (200, {"status": "ok"})
