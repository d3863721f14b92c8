"""The speech of the students: which files of a Debian package are taken, what is left out, and what is written."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import zipfile
from pathlib import Path

import debian_packages
import numpy as np
import pandas as pd
import pytest
import soundfile
from debian_packages import Files, Package, download, read_packages
from gather_speech import TABLE, gather

from http_server import Behaviour, serving
from make_audio import sine
from melt_ser.core.errors import InputError, SetupError

NOTICE = "Files: *\nLicense: CC-BY-3.0\n"


def wav(seconds: float, rate: int = 16_000, hertz: float = 440.0, level: float = 1.0) -> bytes:
    """Return a tone as a wav file."""
    file = io.BytesIO()
    soundfile.write(file, level * sine(rate, seconds, hertz), rate, format="WAV")
    return file.getvalue()


def deb(contents: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    """Return a Debian package with these files and links."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as tar:
        for path, content in contents.items():
            member = tarfile.TarInfo(f"./{path}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for path, target in (links or {}).items():
            member = tarfile.TarInfo(f"./{path}")
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    members = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": data.getvalue()}
    packed = b"!<arch>\n"
    for name, content in members.items():
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        packed += header + content + b"\n" * (len(content) % 2)
    return packed


def package_of(content: bytes, downloads: Path) -> Package:
    """Write a package of voices into the folder of downloads; return its row of the table."""
    downloads.mkdir()
    (downloads / "tiny_1.0_all.deb").write_bytes(content)
    return Package(
        name="tiny",
        version="1.0",
        pool="pool/main/t/tiny/tiny_1.0_all.deb",
        sha256=hashlib.sha256(content).hexdigest(),
        licence="CC-BY-3.0",
        copyright="2020 Ada",
        speech="greetings",
        files=[Files(match=r"/voices/(?P<language>[a-z]{2})/"), Files(match="/taunts/", language="en")],
        leave_out="/robot",
    )


def test_speech_is_selected_resampled_and_written_with_its_sources(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    game = io.BytesIO()
    with zipfile.ZipFile(game, "w") as archive:
        archive.writestr("taunts/", b"")  # the folder itself
        archive.writestr("taunts/ha.wav", wav(0.75, hertz=200.0))
        archive.writestr("music/theme.wav", wav(1.0, hertz=100.0))
    contents = {
        "usr/share/doc/tiny/copyright": NOTICE.encode(),
        "usr/share/tiny/data.pk3": game.getvalue(),
        "usr/share/tiny/voices/de/again.wav": wav(1.0),
        "usr/share/tiny/voices/de/hello.wav": wav(1.0),
        "usr/share/tiny/voices/cs/ahoj.wav": wav(2.0, rate=8_000),
        "usr/share/tiny/voices/cs/ah.wav": wav(0.4),
        "usr/share/tiny/voices/cs/epic.wav": wav(121.0, rate=8_000),
        "usr/share/tiny/voices/cs/nothing.wav": wav(1.0, level=0.01),
        "usr/share/tiny/voices/cs/robot.wav": wav(1.0, hertz=300.0),
        "usr/share/tiny/effects/bang.wav": wav(1.0, hertz=500.0),
    }
    content = deb(contents, links={"usr/share/tiny/voices/de/linked.wav": "hello.wav"})
    out = tmp_path / "speech"
    assert gather([package_of(content, tmp_path / "packages")], tmp_path / "packages", out) == 0

    sources = pd.read_csv(out / "sources.csv")
    assert sources.values.tolist() == [
        ["tiny", "usr/share/tiny/data.pk3/taunts/ha.wav", 0.75, "en"],
        ["tiny", "usr/share/tiny/voices/cs/ahoj.wav", 2.0, "cs"],
        ["tiny", "usr/share/tiny/voices/de/again.wav", 1.0, "de"],  # hello.wav has the same samples
    ]
    audio, lengths = np.load(out / "audio.npy"), np.load(out / "lengths.npy")
    assert lengths.tolist() == [12_000, 32_000, 16_000]
    assert audio.dtype == np.int16 and len(audio) == lengths.sum()
    np.testing.assert_allclose(audio[-16_000:] / 32_767, sine(16_000, 1.0), atol=1e-4)

    row = (out / "packages.md").read_text().splitlines()[2]
    assert row == (
        "| tiny 1.0 | CC-BY-3.0 | 2020 Ada | greetings | cs, de, en | 3 | 0.00 "
        "| 1 short, 1 long, 1 silent, 1 duplicate |"
    )
    assert (out / "copyright" / "tiny").read_text() == NOTICE


def test_an_unreadable_clip_is_named_and_the_others_are_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    voices = {"usr/share/voices/de/torn.wav": wav(1.0)[:30], "usr/share/voices/de/whole.wav": wav(1.0)}
    content = deb({"usr/share/doc/tiny/copyright": NOTICE.encode(), **voices})
    assert gather([package_of(content, tmp_path / "packages")], tmp_path / "packages", tmp_path) == 1
    assert "note: usr/share/voices/de/torn.wav of tiny: " in caplog.text
    assert len(pd.read_csv(tmp_path / "sources.csv")) == 1
    assert "| 1 unreadable |" in (tmp_path / "packages.md").read_text()


@pytest.mark.parametrize(
    ("contents", "missing"),
    [
        ({"usr/share/voices/de/a.wav": wav(1.0)}, "no copyright file"),
        ({"usr/share/doc/tiny/copyright": NOTICE.encode()}, "no file that the expressions of packages.toml find"),
    ],
)
def test_a_package_without_licence_or_speech_is_refused(
    contents: dict[str, bytes], missing: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=missing):
        gather([package_of(deb(contents), tmp_path / "packages")], tmp_path / "packages", tmp_path)


def test_a_package_comes_from_the_next_mirror_and_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = package_of(b"content", tmp_path / "packages")
    server = Behaviour(b"content", statuses=[404])
    with serving(server) as address:
        monkeypatch.setattr(debian_packages, "MIRRORS", (f"{address}/first/", f"{address}/second/"))
        path = download(package, tmp_path / "new")
        assert path.read_bytes() == b"content" and len(server.requests) == 2
        assert download(package, tmp_path / "new") == path and len(server.requests) == 2
        server.statuses += [404, 404]
        with pytest.raises(SetupError, match=re.escape(f"or put the file into {tmp_path / 'newer'} yourself.")):
            download(package, tmp_path / "newer")


def test_another_file_under_the_name_of_a_package_is_refused(tmp_path: Path) -> None:
    package = package_of(b"content", tmp_path / "packages")
    (tmp_path / "packages" / "tiny_1.0_all.deb").write_bytes(b"changed")
    with pytest.raises(InputError, match="another SHA-256"):
        download(package, tmp_path / "packages")


def test_an_expression_without_language_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "table.toml"
    row = TABLE.read_text(encoding="utf-8").split("[[package]]")[1].replace(', language = "en"', "")
    table.write_text(f"[[package]]{row}", encoding="utf-8")
    with pytest.raises(SetupError, match="has no language and no group"):
        read_packages(table)


def test_every_row_of_the_table_names_its_file_and_its_licence() -> None:
    packages = read_packages(TABLE)
    assert len({package.name for package in packages}) == len(packages)
    for package in packages:
        version = package.version.rpartition(":")[2]  # names of files leave out the epoch
        assert package.pool.endswith(f"/{package.name}_{version}_all.deb")
        assert re.fullmatch("[0-9a-f]{64}", package.sha256)
        assert package.licence and package.copyright and package.speech
