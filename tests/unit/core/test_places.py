"""A write keeps the place that it goes to: devices, pipes, links, permissions, and the folder's rules for new files."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from melt_ser.core.errors import OutputError
from melt_ser.core.files import replacing_file, replacing_folder, write_text
from melt_ser.core.locks import exclusive_lock
from melt_ser.core.places import LONGEST_NAME, neighbour


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_new_files_and_folders_have_the_permissions_of_the_umask(umask: int, tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "a.txt", "text")
    with replacing_folder(tmp_path / "model") as folder:
        (folder / "deep").mkdir()
        save_file({"weights": torch.zeros(3)}, folder / "deep" / "model.safetensors")
        torch.save({}, folder / "state.pt")
        write_text(folder / "about.json", "{}")
    for path in tmp_path.rglob("*"):
        assert mode(path) == (0o777 if path.is_dir() else 0o666) & ~umask, path


def test_a_replaced_file_or_folder_keeps_its_permissions(tmp_path: Path) -> None:
    for place, kept in ((tmp_path / "a.txt", 0o640), (tmp_path / "model", 0o700)):
        place.mkdir() if place.name == "model" else place.touch()
        place.chmod(kept)
    write_text(tmp_path / "a.txt", "new")
    with replacing_folder(tmp_path / "model") as folder:
        write_text(folder / "b.txt", "new")
    assert (mode(tmp_path / "a.txt"), mode(tmp_path / "model")) == (0o640, 0o700)
    assert (tmp_path / "a.txt").read_text() == (tmp_path / "model" / "b.txt").read_text() == "new"


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    write_text(tmp_path / "far" / "report.md", "old")
    write_text(tmp_path / "far" / "model" / "old", "old")
    for name in ("report.md", "model", "dangling.md"):
        (tmp_path / name).symlink_to(Path("far") / name)
    (tmp_path / "chain.md").symlink_to(tmp_path / "report.md")
    write_text(tmp_path / "chain.md", "new")
    write_text(tmp_path / "dangling.md", "new")
    with replacing_folder(tmp_path / "model") as folder:
        write_text(folder / "new", "new")
    assert all((tmp_path / name).is_symlink() for name in ("report.md", "model", "dangling.md", "chain.md"))
    far = sorted(path.relative_to(tmp_path / "far").as_posix() for path in (tmp_path / "far").rglob("*"))
    assert far == ["dangling.md", "model", "model/new", "report.md"]
    assert (tmp_path / "far" / "report.md").read_text() == (tmp_path / "far" / "dangling.md").read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 5  # nothing temporary is left


def test_other_names_of_a_hard_linked_file_keep_the_old_content(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "old")
    os.link(tmp_path / "a", tmp_path / "backup")
    write_text(tmp_path / "a", "new")
    assert ((tmp_path / "a").read_text(), (tmp_path / "backup").read_text()) == ("new", "old")


def test_places_that_take_no_file_are_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "link").symlink_to("folder")
    for place, sentence in (
        ("folder", "it is a folder; give the path of a file."),
        ("link", "it is a folder; give the path of a file."),
        ("loop", "Too many levels of symbolic links; free space"),
        ("file/a", "Not a directory; free space"),
    ):
        with pytest.raises(OutputError, match=rf"^cannot write .*/{place}: {sentence}"):
            write_text(tmp_path / place, "text")
    with pytest.raises(OutputError, match="a file has this name; name a folder"), replacing_folder(tmp_path / "file"):
        pass
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder", "link", "loop"]


def test_a_read_only_file_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "a", "old")
    monkeypatch.setattr(os, "access", lambda path, kind: False)  # root may write everything
    with pytest.raises(OutputError, match="the file is read-only; make it writable"):
        write_text(tmp_path / "a", "new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_pipe_and_a_device_are_written_and_stay(tmp_path: Path) -> None:
    pipe, received = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "whole\n")
    reader.join()
    write_text(Path("/dev/null"), "text")
    assert received == ["whole\n"]
    assert stat.S_ISFIFO(pipe.stat().st_mode) and stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(ZeroDivisionError), replacing_file(Path("/dev/full")):
        raise ZeroDivisionError  # nothing was written, so the full device is not noticed
    with pytest.raises(OutputError, match=r"^cannot write /dev/full: No space left on device"):
        write_text(Path("/dev/full"), "text")


PRINTS = """
import sys
from pathlib import Path
from melt_ser.core.files import write_text
print("before")
write_text(Path(sys.argv[1]), "written\\n")
print("after")
"""


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_standard_output_by_name_is_written_behind_what_was_printed(name: str, tmp_path: Path) -> None:
    """Also if the shell appends it to a file: that file is neither replaced nor emptied."""
    (tmp_path / "link").symlink_to("/dev/stdout")
    log = tmp_path / "log"
    log.write_text("earlier\n")
    command = [sys.executable, "-c", PRINTS, str(tmp_path / name)]  # an absolute name stays as it is
    with log.open("a") as output:
        subprocess.run(command, stdout=output, check=True)
    assert log.read_text() == "earlier\nbefore\nwritten\nafter\n"
    piped = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert piped.stdout == "before\nwritten\nafter\n"
    assert os.stat("/dev/stdout") and sorted(path.name for path in tmp_path.iterdir()) == ["link", "log"]


@pytest.mark.parametrize("length", [200, 240, 241, 251, 255])
@pytest.mark.parametrize("letter", ["a", "ü", "\N{GRINNING FACE}", "\udcff"])
@pytest.mark.parametrize("suffix", [".csv", "", f".{'b' * 150}"])
def test_a_name_of_255_bytes_can_be_written_and_locked(length: int, letter: str, suffix: str, tmp_path: Path) -> None:
    number, rest = divmod(length - len(suffix), len(os.fsencode(letter)))
    for place in ("file", "folder"):
        path = tmp_path / place / f"{letter * number}{'x' * rest}{suffix}"
        assert len(os.fsencode(path.name)) == length
        for text in ("old", "new"):
            with exclusive_lock(path):
                if place == "file":
                    write_text(path, text)
                else:
                    with replacing_folder(path) as folder:
                        write_text(folder / path.name, text)
        assert (path if place == "file" else path / path.name).read_text() == "new"
        assert [file for file in path.parent.iterdir() if not file.name.endswith(".lock")] == [path]


def test_neighbours_of_long_names_differ_as_the_names_do(tmp_path: Path) -> None:
    first, second = (neighbour(tmp_path / f"{'a' * 250}{end}", ".", ".lock") for end in "xy")
    assert first != second and len(first.name) == len(second.name) == LONGEST_NAME
    assert neighbour(Path("out.csv"), "", ".unfinished") == Path("out.csv.unfinished")
    assert neighbour(Path("runs/."), ".", ".lock") == Path(".runs.lock")


@pytest.mark.parametrize("typed", [".", "..", "../run"])
def test_a_folder_has_the_same_neighbour_however_it_is_typed(
    typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    (run / "model").mkdir(parents=True)
    monkeypatch.chdir(run / "model" if typed == ".." else run)
    assert neighbour(Path(typed), ".", ".lock").resolve() == neighbour(run, ".", ".lock")
