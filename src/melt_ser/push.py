"""`python -m melt_ser.push RUN OWNER/NAME`: share the model of a finished run on the Hugging Face hub."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from melt_ser.cli.verb import given_path, run, whole_number
from melt_ser.core.console import say, show
from melt_ser.core.counting import counted
from melt_ser.core.errors import SetupError

if TYPE_CHECKING:
    from rich.table import Table

    from melt_ser.runs.upload import Upload

INCLUDED = ("predictions", "splits")


def main(arguments: list[str] | None = None) -> int:
    """Show what would be uploaded, ask, and upload it; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="melt-ser push",
        description="Share the model of a finished run on the Hugging Face hub, with its card. It needs a token of "
        "yours: `hf auth login`, or the variable HF_TOKEN. No audio and no text of a corpus is uploaded.",
    )
    parser.add_argument("run", type=given_path, help="folder of a finished run")
    parser.add_argument("repository", metavar="owner/name", help="on the hub; it is created if it is not there")
    parser.add_argument("--public", action="store_true", help="anybody may read it (default: private)")
    parser.add_argument("--fold", type=whole_number(0), help="the model of one fold (default: those of all folds)")
    parser.add_argument(
        "--include",
        action="append",
        choices=INCLUDED,
        default=[],
        help="upload predictions/ or splits.csv too: they name recordings and speakers of the corpora",
    )
    parser.add_argument("--licence", metavar="ID", help="the licence that you give the model, such as cc-by-4.0")
    parser.add_argument(
        "--permission",
        metavar="SENTENCE",
        help="why you may share it, if the licence of a corpus or of the checkpoint does not plainly allow that; the "
        "card shows the sentence",
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would be uploaded, and stop")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    return run(lambda: push(parser.parse_args(arguments)))


def push(options: argparse.Namespace) -> int:
    """Share a run as the options say, and return the exit code."""
    from melt_ser.runs.folder import read_result
    from melt_ser.runs.upload import Wishes, check_licences, uploads

    result = read_result(options.run)
    check_licences(result, options.permission)
    wishes = Wishes(options.repository, options.fold, options.include, options.licence, options.permission)
    files = uploads(options.run, result, wishes)
    show(_table(files, options.repository, options.public))
    for name in dict.fromkeys(options.include):
        say(
            f"note: {name} name recordings and speakers of the corpora, with labels: their licences have to allow that."
        )
    if not options.include:
        say("not uploaded: predictions/ and splits.csv, which name recordings and speakers, and result.json")
    if options.dry_run:
        return 0
    from melt_ser.runs.hub_client import HubClient

    client = HubClient(options.repository, options.public)
    replaced, removed = client.check([file.path for file in files])
    if replaced:
        say(f"note: {options.repository} is there already; {', '.join(replaced)} will be replaced.")
    if removed:
        say(f"note: {options.repository} has files of another model, which will be removed: {', '.join(removed)}.")
    if not (options.yes or _consents(options.repository, options.public)):
        say("nothing was uploaded.")
        return 0
    print(f"result: {client.upload(files, removed)}", flush=True)
    return 0


def _consents(repository: str, public: bool) -> bool:
    """Ask a person for consent; SetupError if nobody can be asked."""
    if not sys.stdin.isatty():
        raise SetupError("Nobody can be asked for consent here; look at --dry-run, then add --yes.")
    readers = "anybody" if public else "you and those whom you let in"
    print(f"Upload these files to {repository}, where {readers} may read them? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _table(files: Sequence[Upload], repository: str, public: bool) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=f"To upload to {repository} ({'public' if public else 'private'})", box=SIMPLE_HEAD)
    table.add_column("file", overflow="fold")
    table.add_column("size", justify="right")
    for file in files:
        table.add_row(file.path, size_text(file.size))
    table.add_row(counted(len(files), "file"), size_text(sum(file.size for file in files)))
    return table


def size_text(size: int) -> str:
    """Return a number of bytes as people read it.

    >>> size_text(900), size_text(12_345), size_text(370_000_000)
    ('900 B', '12.3 kB', '370.0 MB')
    """
    if size < 1000:
        return f"{size} B"
    return f"{size / 1e3:.1f} kB" if size < 1e6 else f"{size / 1e6:.1f} MB"


if __name__ == "__main__":
    sys.exit(main())
