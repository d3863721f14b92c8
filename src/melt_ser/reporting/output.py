"""Where a small report goes, and as what: text for a terminal, Markdown, or JSON. Light, since options need it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from melt_ser.core.console import say
from melt_ser.core.errors import SetupError

if TYPE_CHECKING:
    from melt_ser.reporting.sections import Section

FORMATS = ("text", "md", "json")
SUFFIXES = {".md": "md", ".json": "json", ".txt": "text", "": "text"}


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """The options `--format` and `--out`."""
    parser.add_argument("--format", choices=FORMATS, help="(default: by the suffix of --out, else text)")
    parser.add_argument("--out", type=Path, help="file to write (default: standard output)")


def write(options: argparse.Namespace, sections: Sequence[Section], values: Any) -> None:
    """Write the sections, or as JSON the values that they tell, to where `add_output_options` says."""
    from melt_ser.core import files
    from melt_ser.reporting.sections import as_markdown, as_text

    form = options.format or _format_of(options.out)
    if form == "json":
        text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    else:
        text = as_markdown(sections) if form == "md" else as_text(sections)
    if options.out is None:
        sys.stdout.write(text)
    else:
        files.write_text(options.out, text)
        say(f"written: {options.out}")


def _format_of(out: Path | None) -> str:
    suffix = out.suffix.lower() if out else ""
    if suffix not in SUFFIXES:
        raise SetupError(f"--out {out} ends in none of .txt, .md and .json; choose one of these, or give --format.")
    return SUFFIXES[suffix]
