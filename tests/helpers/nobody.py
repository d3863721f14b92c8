"""Start a verb as a user without an entry in the list of users: `python nobody.py VERB [ARGUMENT ...]`."""

from __future__ import annotations

import pwd
import sys

from melt_ser.__main__ import main


def unknown(number: int) -> pwd.struct_passwd:
    raise KeyError(f"getpwuid(): uid not found: {number}")


if __name__ == "__main__":
    pwd.getpwuid = unknown
    sys.exit(main())
