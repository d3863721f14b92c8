"""What `annotate` can do, and the options that count for each: one that would be ignored is refused."""

from __future__ import annotations

import argparse

from melt_ser.core.errors import SetupError

READ = {"combine": {"method"}, "review": {"root", "words", "questions"}, "reviewed": {"method"}}
"""The options that count with `--combine`, `--review` and `--reviewed`; without these, all others count."""
ALWAYS = {"tables", "out", "journal", "yes", *READ}  # the journal and the consent are not needed there, and do no harm


def refuse_ignored(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Raise SetupError if an option was given that the command would ignore."""
    modes = [mode for mode in READ if getattr(options, mode)]
    if len(modes) > 1:
        raise SetupError(f"--{modes[0]} and --{modes[1]} are two commands; give one of them.")
    for name, value in vars(options).items():
        option = f"--{name.replace('_', '-')}"
        if name in ALWAYS or value == parser.get_default(name):
            continue
        if modes and name not in READ[modes[0]]:
            raise SetupError(f"{option} changes nothing with --{modes[0]}; leave it out.")
        own = [f"--{mode}" for mode, names in READ.items() if name in names]
        if not modes and own:
            raise SetupError(f"{option} is for {' and '.join(own)}; leave it out.")
