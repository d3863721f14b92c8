"""The pages of the server: the one to label recordings on, and the description of the interface."""

from __future__ import annotations

from typing import Any

from melt_ser.evaluation.calibration import BINS
from melt_ser.reporting.pages import render, script
from melt_ser.serving.answers import ModelFacts
from melt_ser.serving.stream import DEFAULT_WINDOW, ENCODINGS, END, MOST_BYTES

PACKAGE = "melt_ser.serving"
WINDOWS = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0)  # seconds to choose from
ENOUGH = 10  # answers of the test, from which their share of right ones says something


def label_page(facts: ModelFacts) -> str:
    """Return the page that records, labels and shows."""
    text, digest = script("label.js", PACKAGE)
    page = {"bins": BINS, "enough": ENOUGH, **facts.model_dump()}
    return render(
        "label.html", PACKAGE, facts=facts, page=page, windows=WINDOWS, usual=DEFAULT_WINDOW, script=text, hash=digest
    )


def interface_page(description: dict[str, Any], address: str) -> str:
    """Return the interface at an address as a page, from its OpenAPI description; it needs no network."""
    addresses = [
        (method.upper(), path, {**operation, "answers": _answers(operation)})
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]
    stream = {"window": DEFAULT_WINDOW, "encodings": list(ENCODINGS), "end": END, "bytes": MOST_BYTES}
    schemas = {name: one for name, one in description["components"]["schemas"].items() if not name.startswith("Body")}
    return render(
        "interface.html",
        PACKAGE,
        address=address,
        info=description["info"],
        addresses=addresses,
        schemas=schemas,
        stream=stream,
    )


def _answers(operation: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the status, the meaning and the type of each answer."""
    rows = []
    for status, answer in operation["responses"].items():
        schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
        rows.append((status, answer["description"], schema.get("$ref", "text").rpartition("/")[2]))
    return sorted(rows)
