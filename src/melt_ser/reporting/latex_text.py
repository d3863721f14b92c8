"""Turn text into LaTeX that compiles with pdfLaTeX and LuaLaTeX, and estimate its width.

A run of characters that pdfLaTeX's fonts lack (a Chinese or Urdu name, an emoji) becomes `\\otherscript`: LuaLaTeX sets
the characters if its font has them; otherwise their code points stand there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from melt_ser.core.errors import one_line

SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "{''}",
    "'": "{'}",
    "`": r"\`{}",
    "[": "{[}",  # after the end of a row a bracket would be its option, and a star its variant
    "]": "{]}",
    "*": "{*}",
    "\xa0": "~",
    "–": "--",
    "−": "$-$",
    "±": r"$\pm$",
    "†": r"$^\dagger$",
    "‡": r"$^\ddagger$",
    "ˢ": r"$^{\mathrm{s}}$",
    "ᵘ": r"$^{\mathrm{u}}$",
    "¹": "$^1$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
UNDECLARED = "\xad«»ÐÞðþĄąĐđĘęĦħĮįĸĿŀŉŊŋŦŧŲųſ"  # Latin letters that pdfLaTeX lacks without T1
PLAIN = r"\x00-\x7f\xa0-\u017f–—‘’“”…•€™−†‡ˢᵘẞȘșȚț"
OTHER = re.compile(rf"(?:[{UNDECLARED}]|[^{PLAIN}])(?: *(?:[{UNDECLARED}]|[^{PLAIN}]))*")
OTHER_SCRIPT = r"""\ifdefined\otherscript\else
\ifdefined\otherscriptfont\else\newcommand{\otherscriptfont}{}\fi
\DeclareRobustCommand{\otherscript}[4]{% direction, number of the first character, text, code points
  \ifdefined\directlua\iffontchar\font#2 {\textdir #1 #3}\else
  {\otherscriptfont\iffontchar\font#2 \textdir #1 #3\else\normalfont[U+#4]\fi}\fi\else[U+#4]\fi}
\fi
"""
FONT_SIZE = 8.0  # points: \footnotesize of a class with 10 pt
WIDTHS = {  # in em, rounded up from Computer Modern, which is wider than Times; other characters have 0.6
    0.34: "!',.:;[]_ilfjI-| ",
    0.48: "()rtscezJˢᵘ¹",
    0.54: '?$"*/0123456789^`ago~kqvxy',
    0.72: "EPFLZ†‡",
    0.84: "BCTwRAHNUVXYD&+=@GKOQ±−<>\\",
    1.1: "#%mMW",
}
WIDTH_OF = {character: width for width, characters in WIDTHS.items() for character in characters}
BOLD = 1.2  # bold text is at most so much wider


def escaped(text: object) -> str:
    """Return text, escaped for LaTeX.

    >>> print(escaped("50% of a_b"))
    50\\% of a\\_b
    """
    return "".join(_otherscript(run) if other else _special(run) for run, other in _runs(_clean(text)))


def needs_lualatex(source: str) -> list[str]:
    """Return the texts in LaTeX that pdfLaTeX shows as code points, without parts of other such texts."""
    texts = set(re.findall(r"\\otherscript\{T.T\}\{\d+\}\{(.*?)\}\{", source))
    return sorted(text for text in texts if not any(text in other for other in texts - {text}))


@lru_cache(maxsize=100_000)  # a report has the same names and similar figures again and again
def points_wide(text: object, bold: bool = False) -> float:
    """Return the width of text in points, not too small, in `\\footnotesize`."""
    ems = sum(sum(map(_em, f"[U+{_code_points(run)}]" if other else run)) for run, other in _runs(_clean(text)))
    return ems * FONT_SIZE * (BOLD if bold else 1)


def broken(text: object, width: float) -> list[str]:
    """Break text into lines of at most `width` points: at spaces, or a wider word after punctuation or anywhere.

    >>> broken("hubert_large head=attention", 60)
    ['hubert_large', 'head=', 'attention']
    """
    lines = [""]
    for word in _clean(text).split():
        pieces = [word] if points_wide(word) <= width else re.findall(r"[^=_/,;:.+-]*(?:[=_/,;:.+-]+|$)", word)
        for number, piece in enumerate(pieces):
            space = " " if lines[-1] and number == 0 else ""
            if points_wide(lines[-1] + space + piece) <= width:
                lines[-1] += space + piece
                continue
            lines.append("")
            for character in piece:
                if lines[-1] and points_wide(lines[-1] + character) > width:
                    lines.append("")
                lines[-1] += character
    return [line for line in lines if line] or [""]


def _clean(text: object) -> str:
    text = str(text)
    return text if text.isascii() and text.isprintable() else unicodedata.normalize("NFC", one_line(text))


def _runs(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the parts of a text, and whether they are of another script, with the spaces between their words."""
    begin = 0
    for match in OTHER.finditer(text):
        yield text[begin : match.start()], False
        yield match.group(), True
        begin = match.end()
    yield text[begin:], False


def _special(text: str) -> str:
    parts = re.split("(-{2,})", text)
    return "".join(
        "{}".join(part) if part.startswith("--") else "".join(SPECIAL.get(one, one) for one in part) for part in parts
    )


def _otherscript(text: str) -> str:
    """Return the macro for text in another script: right to left (TRT) or not, and the text as it is and in code."""
    direction = "TRT" if unicodedata.bidirectional(text[0]) in ("R", "AL") else "TLT"
    return rf"\otherscript{{{direction}}}{{{ord(text[0])}}}{{{text}}}{{{_code_points(text)}}}"


def _code_points(text: str) -> str:
    return " ".join(f"{ord(character):04X}" for character in text)


def _em(character: str) -> float:
    return WIDTH_OF.get(character, 0.6)
