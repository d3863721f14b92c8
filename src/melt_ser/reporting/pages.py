"""Pages for people: self-contained HTML from the templates beside this module, without a request to anywhere.

Every text is escaped where it is put into a page. `base.html` holds the frame and the style, `charts.html` the charts;
a report is one more template that extends the first and imports the second.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

PACKAGE = "melt_ser.reporting"


def render(template: str, package: str = PACKAGE, **values: Any) -> str:
    """The page of a template of `package`; a name that the template knows and the caller did not give is an error."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(PACKAGE)]),  # the second for base and charts
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["thousands"] = lambda number: f"{number:,}"
    return environment.get_template(template).render(**values)


def script(name: str, package: str = PACKAGE) -> tuple[str, str]:
    """A script that a page holds, and the hash of it that the page's policy names: no other one runs."""
    text = files(package).joinpath("templates", name).read_text(encoding="utf-8")
    return text, base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def confusion_lines(names: Sequence[str], confusion: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """A confusion matrix as the macro `confusion` shows it: each row's name, total, and counts with their shares."""
    return [
        {"name": name, "total": sum(counts), "cells": [(count, count / max(sum(counts), 1)) for count in counts]}
        for name, counts in zip(names, confusion, strict=True)
    ]
