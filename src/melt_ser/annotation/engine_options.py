"""The options of `annotate` that say who answers, how the model is asked, and what that may cost."""

from __future__ import annotations

import argparse
import json
from typing import Any

from melt_ser.cli.verb import given_path, number, whole_number

PAPER_MODEL = "gpt-4o-2024-08-06"
EXAMPLE = '{"top_p": 0.9}'
KEPT = ("model", "messages", "stream", "n", "max_tokens", "max_completion_tokens")  # not for --extra-body


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add the groups `the engine` and `the cost` to a parser."""
    engine = parser.add_argument_group("the engine")
    engine.add_argument("--engine", choices=("openai", "batch", "local"), default="openai", help="(openai)")
    engine.add_argument(
        "--model", help=f"({PAPER_MODEL}, the paper's); for local: hub id, folder, GGUF file or <id>:<GGUF>"
    )
    engine.add_argument("--base-url", metavar="URL", help="a server of the OpenAI protocol (OpenAI's)")
    engine.add_argument("--moved-from", metavar="URL", help="an earlier address of this server: its answers count")
    engine.add_argument("--api-version", metavar="DATE", help="of Azure's address of a deployment, such as 2024-10-21")
    engine.add_argument(
        "--key-variable", default="OPENAI_API_KEY", metavar="NAME", help="variable with the API key (OPENAI_API_KEY)"
    )
    engine.add_argument(
        "--max-tokens", type=whole_number(1), metavar="N", help="of an answer (500; 8000 if the model thinks first)"
    )
    engine.add_argument("--reasoning-effort", metavar="WORD", help="such as low, for a model that thinks first")
    engine.add_argument("--extra-body", type=json_object, default={}, metavar="JSON", help="added to every request")
    engine.add_argument("--timeout", type=number, default=120.0, help="seconds that an answer may take (120)")
    engine.add_argument("--concurrency", type=whole_number(1), default=8, help="calls, or batches, at a time (8)")
    engine.add_argument("--requests-per-minute", type=whole_number(1), metavar="N", help="(as fast as the server)")
    engine.add_argument("--tokens-per-minute", type=whole_number(1), metavar="N", help="(as fast as the server)")
    engine.add_argument(
        "--batch-requests", type=whole_number(1), default=10_000, metavar="N", help="calls in a batch (10000)"
    )
    engine.add_argument(
        "--calibrate", type=given_path, metavar="TABLE", help="labelled lines that calibrate the engine local"
    )
    engine.add_argument("--poll", type=number, default=30.0, metavar="SECONDS", help="between looks at a batch (30)")
    cost = parser.add_argument_group("the cost")
    cost.add_argument("--dry-run", action="store_true", help="print cost and time, and ask nothing")
    cost.add_argument(
        "--limit", type=number, default=1.0, metavar="US$", help="ask you above this cost, and stop at it (1.00)"
    )
    cost.add_argument("--yes", action="store_true", help="do not ask you; stop at twice the estimate")
    cost.add_argument("--price", metavar="IN,OUT", help="US$ per million tokens of prompts and answers (as known)")
    cost.add_argument("--journal", type=given_path, help="(<out> with the suffix .journal.sqlite)")


def temperature(text: str) -> float | None:
    """Parse a temperature; None for `none`."""
    return None if text == "none" else number(text)


def json_object(text: str) -> dict[str, Any]:
    """Parse a JSON object without the keys that the command sets itself."""
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise argparse.ArgumentTypeError(f"is a JSON object such as {EXAMPLE}, not {text!r}")
    for key in KEPT:
        if key in content:
            raise argparse.ArgumentTypeError(f"must not set {key!r}, since the command does")
    return content
