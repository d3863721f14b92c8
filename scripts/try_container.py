"""Run the lines of the Dockerfile in a chroot, where no container engine is at hand; needs root and debootstrap.

    python scripts/try_container.py [--build-arg TORCH_INDEX=https://pypi.org/simple] FOLDER train trainer=probe

FOLDER becomes Debian bookworm, unless it is there already. The words behind it are for the entry point; without
them it gets those of CMD. A chroot has the network, the devices and the kernel of the machine, so this shows that the
lines install what the program needs, and nothing about an engine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
MIRROR = "http://deb.debian.org/debian"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")  # of the machine, whose registries may have their own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("words", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    root = options.folder.absolute()
    if not (root / "etc").is_dir():
        subprocess.run(["debootstrap", "--variant=minbase", "bookworm", str(root), MIRROR], check=True)
    shutil.copy("/etc/resolv.conf", root / "etc")
    given = dict(item.split("=", 1) for item in options.build_arg)
    shutil.copy(CERTIFICATES, root / "etc")
    variables = {"PATH": f"{os.defpath}:/usr/sbin:/sbin", "HOME": "/root", "PIP_CERT": f"/etc/{CERTIFICATES.name}"}
    place, entry, command = "/", [], []
    for name, text in instructions((CHECKOUT / "Dockerfile").read_text(encoding="utf-8")):
        print(f"{name} {text}", flush=True)
        if name == "ARG":
            key, value = text.split("=", 1)
            variables[key] = given.get(key, value)
        elif name == "ENV":
            variables |= dict(item.split("=", 1) for item in shlex.split(text))
        elif name == "RUN":
            inside(root, place, variables, ["/bin/sh", "-c", text])
        elif name == "COPY":
            copy_checkout(root / text.split()[1].lstrip("/"))
        elif name == "WORKDIR":
            place = text
            (root / place.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif name == "ENTRYPOINT":
            entry = json.loads(text)
        elif name == "CMD":
            command = json.loads(text)
        elif name != "FROM":
            raise SystemExit(f"error: {name} is not known here.")
    inside(root, place, variables, [*entry, *(options.words or command)])


def instructions(text: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile with their texts."""
    without_comments = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    lines = re.sub(r"\\\n\s*", "", without_comments).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines if line.strip())]


def inside(root: Path, place: str, variables: dict[str, str], words: list[str]) -> None:
    """Run a command in the chroot; stop if it fails."""
    script = f"cd {shlex.quote(place)} && exec {shlex.join(words)}"
    chroot = shutil.which("chroot", path=f"{os.defpath}:/usr/sbin:/sbin")
    if chroot is None:
        raise SystemExit("error: chroot is not installed; on Debian it is part of coreutils.")
    subprocess.run(["mount", "-t", "proc", "proc", str(root / "proc")], check=True)
    try:
        subprocess.run([chroot, str(root), "/bin/sh", "-c", script], env=variables, check=True)
    finally:
        subprocess.run(["umount", str(root / "proc")], check=True)


def copy_checkout(target: Path) -> None:
    """Copy the files of the checkout that git knows; .dockerignore leaves little else."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (CHECKOUT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, target / name)


if __name__ == "__main__":
    main()
