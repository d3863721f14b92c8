"""Licences as texts: whether they let a model that learned from the licensed work be passed on.

The text is that of a YAML or of a user: a licence with its source, such as "CC BY 4.0 by its card". It may name
several; then the strictest counts. This is no legal advice: a text that is not understood counts as no permission.
"""

from __future__ import annotations

import re

RESTRICTED = re.compile(r"\b(research|academic|agreement|request|registration|nd|no[ -]?deriv\w*)\b", re.IGNORECASE)
UNCLEAR = re.compile(r"not (clear|stated|settled|known)|unknown|no licen[cs]e|television|\bthat of\b", re.IGNORECASE)
FREE = re.compile(
    r"\b(MIT|BSD|Apache|CC0|CC[ -]BY|ODbL|ODC-By|PDDL|DbCL|L?GPL|AGPL|MPL|public domain|unlicense|ISC)\b", re.IGNORECASE
)


def objection(licence: str) -> str | None:
    """Return why a licence does not plainly let a derived model be passed on; None if it does.

    >>> objection("CC BY-NC-SA 4.0 (README of the release)")
    >>> objection("research, by a signed request to USC")
    'restricts who may have it or what may be made of it'
    >>> objection("not stated by the release")
    'does not say what is allowed'
    >>> objection("")
    'is not known'
    """
    if not licence.strip():
        return "is not known"
    if RESTRICTED.search(licence):
        return "restricts who may have it or what may be made of it"
    if UNCLEAR.search(licence):
        return "does not say what is allowed"
    return None if FREE.search(licence) else "is not one that melt_ser knows"
