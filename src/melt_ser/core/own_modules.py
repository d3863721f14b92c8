"""Import a module of the user's own that a setting names, such as `dataset.reader=my_reader`."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from types import ModuleType

from melt_ser.core.errors import SetupError, did_you_mean


def import_own(key: str, name: str, kind: str, choices: Iterable[str], function: str, example: str) -> ModuleType:
    """Return the module that a setting names: a file in the current folder for `python -m`, or one on PYTHONPATH.

    Args:
        key: the setting, such as "dataset.reader".
        name: its value.
        kind: the noun for it, such as "reader".
        choices: the values that melt_ser has itself.
        function: the function that the module must have, such as "read(root, config)".
        example: the file with an example.

    Raises SetupError, one sentence with the fix, if there is no such module, its import fails, or the function is
    missing.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        raise SetupError(f"{key} '{name}' cannot name a module; {did_you_mean(name, choices)}")
    try:
        module = importlib.import_module(name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise SetupError(
                f"{key} '{name}' is neither a {kind} of melt_ser nor a module that Python finds; "
                f"{did_you_mean(name, choices)} For a {kind} of your own put its folder on PYTHONPATH."
            ) from None
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise SetupError(
            f"{key} '{name}' cannot be imported ({reason}); correct it: `python -c \"import {name}\"` shows "
            f"where it fails."
        ) from None
    if not callable(getattr(module, function.partition("(")[0], None)):
        raise SetupError(
            f"{key} '{name}' is the module {getattr(module, '__file__', None) or name}, which has no function "
            f"{function}; add it ({example} has an example). For a {kind} of melt_ser {did_you_mean(name, choices)}"
        )
    return module
