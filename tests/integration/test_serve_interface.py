"""Generated requests to every address of `serve`: each answer is one that the interface describes, none is a 500."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
pytest.importorskip("schemathesis", reason="schemathesis is not installed")
import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance

from serving import serving, small_run

EXAMPLES = 25  # of requests to an address


@pytest.mark.slow
def test_every_answer_is_as_the_interface_describes_it() -> None:
    with serving(small_run()) as served:
        described = schemathesis.openapi.from_url(f"{served.address}/openapi.json")
        operations = [operation.ok() for operation in described.get_all_operations()]
        assert {operation.path for operation in operations} == {"/label", "/model", "/health", "/metrics"}
        for operation in operations:

            @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
            @given(operation.as_strategy())
            def answered(case: Any) -> None:
                case.call_and_validate(excluded_checks=[positive_data_acceptance])  # most uploads are no audio

            answered()
        assert served.get("/health") == (200, {"status": "ok"})
