"""Render self-contained HTML pages from the templates next to this module; a page makes no request.

Every text is escaped when it is put into a page. `base.html` holds the frame and the style, `charts.html` the charts.
Each report is a template that extends `base.html` and imports `charts.html`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markupsafe import Markup

PACKAGE = "melt_ser.reporting"


def render(template: str, package: str = PACKAGE, **values: Any) -> str:
    """Render a template of `package`; raise an error if a value that the template uses is missing."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(PACKAGE)]),  # the second for base and charts
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["breakable"] = breakable
    environment.filters["split_placeholders"] = lambda text: re.split(r"(\{\w+\})", text)
    environment.filters["thousands"] = lambda number: f"{number:,.1f}" if isinstance(number, float) else f"{number:,}"
    return environment.get_template(template).render(**values)


def breakable(name: str) -> Markup:
    """Return a name that a browser breaks after _, = and / rather than within a word."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"([_=/])(?=\w)", r"\1<wbr>", str(escape(name))))


def script(name: str, package: str = PACKAGE) -> tuple[str, str]:
    """Return the script of a page, and its hash for the page's policy, so that no other script runs."""
    text = files(package).joinpath("templates", name).read_text(encoding="utf-8")
    return text, base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def confusion_lines(names: Sequence[str], confusion: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
    """Return a confusion matrix for the macro `confusion`: the name, total, and counts with shares of each row.

    In a mean over models, counts may be fractions; their total is the number of utterances.
    """
    return [
        {"name": name, "total": round(sum(counts)), "cells": [(count, count / max(sum(counts), 1)) for count in counts]}
        for name, counts in zip(names, confusion, strict=True)
    ]
