"""Write a number with its noun, in the singular or the plural."""

from __future__ import annotations


def counted(number: int, one: str, several: str | None = None) -> str:
    """Return a number and its noun; `several` is the plural of a noun that does not just get an s.

    >>> counted(1, "run"), counted(1200, "run"), counted(0, "corpus", "corpora")
    ('1 run', '1,200 runs', '0 corpora')
    """
    return f"{number:,} {one if number == 1 else several or one + 's'}"
