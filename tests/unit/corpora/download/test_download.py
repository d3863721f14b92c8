"""A download gives a whole corpus, or one sentence and no file outside the target, also from bad servers."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import requests
from filelock import FileLock

from corpus_trees import emodb_tree, meld_row, meld_tree, tone
from http_server import Behaviour, serving
from melt_ser.cli.compose import compose, load_dataset
from melt_ser.config import DatasetConfig, DownloadConfig
from melt_ser.core.console import transfer_bar
from melt_ser.core.errors import InputError, MeltSerError, SetupError
from melt_ser.corpora.download import transfer as transfer_module
from melt_ser.corpora.download import unpack as unpack_module
from melt_ser.corpora.download.download import download
from melt_ser.corpora.download.transfer import size_at, transfer
from melt_ser.corpora.download.unpack import is_archive, unpack
from melt_ser.prepare import prepare

CONTENT = np.random.default_rng(0).bytes(3_000_000)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_module, "WAIT", 0.0)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def fetch(behaviour: Behaviour, path: Path, expected_bytes: int | None = None) -> bytes:
    with serving(behaviour) as address:
        transfer(f"{address}/a.bin", path, expected_bytes, transfer_bar)
    return path.read_bytes()


def test_transfer_continues_after_a_lost_connection(tmp_path: Path) -> None:
    server = Behaviour(CONTENT, drops=3)
    assert fetch(server, tmp_path / "a") == CONTENT
    assert server.requests == [None, "bytes=1500000-", "bytes=2250000-", "bytes=2625000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_transfer_continues_a_part_of_an_earlier_command(tmp_path: Path) -> None:
    server = Behaviour(CONTENT, drops=1, statuses=[])
    with serving(server) as address:
        (tmp_path / "a.part").write_bytes(CONTENT[:1000])
        (tmp_path / "a.part.mark").write_text('"v1"')
        transfer(f"{address}/a", tmp_path / "a", None, transfer_bar)
    assert server.requests[0] == "bytes=1000-" and (tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize("server", [Behaviour(CONTENT, drops=2, ranges=False), Behaviour(CONTENT, mark='"v2"')])
def test_transfer_starts_over_if_the_file_changed_or_without_ranges(server: Behaviour, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(b"older" * 1000)
    (tmp_path / "a.part.mark").write_text('"v1"')
    assert fetch(server, tmp_path / "a") == CONTENT


def test_transfer_starts_over_if_the_part_is_longer_than_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(CONTENT + b"more")
    (tmp_path / "a.part.mark").write_text('"v1"')
    assert fetch(Behaviour(CONTENT), tmp_path / "a") == CONTENT


def test_transfer_does_not_fetch_a_complete_part_again(tmp_path: Path) -> None:
    server = Behaviour(CONTENT)
    (tmp_path / "a.part").write_bytes(CONTENT)
    (tmp_path / "a.part.mark").write_text('"v1"')
    assert fetch(server, tmp_path / "a") == CONTENT
    assert server.requests == ["bytes=3000000-"]


@pytest.mark.parametrize(
    "server",
    [
        Behaviour(CONTENT, statuses=[0, 0]),  # closes the connection without an answer
        Behaviour(CONTENT, drops=2, sent=0.0),
        Behaviour(CONTENT, promised=3_000_001),  # says in the next answer that the file has no more bytes
        Behaviour(CONTENT, drops=2, mark=None),  # without an identifier of the file's state
        Behaviour(CONTENT, drops=1, wrong_ranges=1),
        Behaviour(CONTENT, length=False),
        Behaviour(CONTENT, statuses=[408, 429]),
    ],
)
def test_transfer_recovers_from_early_failures_of_the_server(server: Behaviour, tmp_path: Path) -> None:
    assert fetch(server, tmp_path / "a") == CONTENT


def test_transfer_notices_a_server_that_mixes_two_states_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(b"older" * 1000)
    (tmp_path / "a.part.mark").write_text('"v0"')
    server = Behaviour(CONTENT, compares=False)
    assert fetch(server, tmp_path / "a") == CONTENT
    assert server.requests == ["bytes=5000-", None]


def test_transfer_gives_up_if_the_server_always_sends_the_wrong_part(tmp_path: Path) -> None:
    server = Behaviour(CONTENT, drops=99, wrong_ranges=99)
    with pytest.raises(SetupError, match="sent another part"):
        fetch(server, tmp_path / "a")
    assert len(server.requests) < 15


def test_transfer_waits_as_long_as_the_server_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    server = Behaviour(CONTENT, statuses=[503, 500, 429], headers={"Retry-After": "7"})
    assert fetch(server, tmp_path / "a") == CONTENT and waits == [7, 7, 7]
    for nonsense in ("99999", "Wed, 21 Oct 2099 07:28:00 GMT", "soon"):
        fetch(Behaviour(CONTENT, statuses=[503], headers={"Retry-After": nonsense}), tmp_path / "a")
    assert waits[3:] == [120, 120, 0]


@pytest.mark.parametrize(
    ("server", "sentence"),
    [
        (Behaviour(CONTENT, statuses=[404]), "is not there (the server answers 404 Not Found)"),
        (Behaviour(CONTENT, statuses=[403]), "is not there (the server answers 403 Forbidden)"),
        (Behaviour(CONTENT, statuses=[204] * 9), "the server answers 204 No Content"),
        (Behaviour(CONTENT, statuses=[500] * 9), "cannot be downloaded (the server answers 500 Internal Server Error)"),
        (Behaviour(CONTENT, ranges=False, promised=9_000_000), "from the 3,000,000 bytes that are kept"),
        (Behaviour(CONTENT, statuses=[302] * 99, headers={"Location": "/a.bin"}), "Exceeded 30 redirects"),
        (Behaviour(CONTENT, statuses=[302], headers={"Location": "file:///etc/passwd"}), "No connection adapters"),
        (Behaviour(CONTENT, statuses=[302], headers={"Location": "http://["}), "Invalid"),
    ],
)
def test_transfer_failure_is_one_sentence(server: Behaviour, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(SetupError) as raised:
        fetch(server, tmp_path / "a")
    assert sentence in str(raised.value) and "\n" not in str(raised.value)
    assert not (tmp_path / "a").exists()


def test_transfer_follows_a_redirect_to_another_host_but_not_away_from_encryption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Behaviour(CONTENT)) as other_host:
        moved = Behaviour(b"", statuses=[302], headers={"Location": other_host.replace("127.0.0.1", "localhost")})
        assert fetch(moved, tmp_path / "a") == CONTENT
    answer = requests.Response()
    answer.status_code, answer.url, answer.raw = 200, "http://example.org/a", io.BytesIO()
    monkeypatch.setattr("requests.request", lambda *_, **__: answer)
    with pytest.raises(SetupError, match="http://example.org/a, which is not encrypted"):
        transfer("https://example.org/a", tmp_path / "b", None, transfer_bar)


def test_transfer_without_a_server_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="Connection refused"):
        transfer("http://127.0.0.1:9/a.zip", tmp_path / "a", None, transfer_bar)
    assert size_at("http://127.0.0.1:9/a.zip") is None


def test_transfer_refuses_a_file_of_the_wrong_size(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has 3,000,000 bytes, not the 5 that are expected"):
        fetch(Behaviour(CONTENT), tmp_path / "a", expected_bytes=5)
    with pytest.raises(InputError, match="has more than the 5 bytes"):
        fetch(Behaviour(CONTENT, length=False), tmp_path / "a", expected_bytes=5)
    assert fetch(Behaviour(CONTENT), tmp_path / "a", expected_bytes=len(CONTENT)) == CONTENT
    with serving(Behaviour(CONTENT)) as address:
        assert size_at(address) == len(CONTENT)


@pytest.mark.parametrize("expected", [len(CONTENT) // 2, 2 * len(CONTENT)])
def test_transfer_refuses_a_complete_part_of_the_wrong_size_each_time(expected: int, tmp_path: Path) -> None:
    server = Behaviour(CONTENT, length=False)
    with pytest.raises(InputError):  # the second request finds the part complete
        fetch(server, tmp_path / "a", expected_bytes=3 * len(CONTENT))
    for _ in range(2):
        with pytest.raises(InputError, match=f"not the {expected:,} that are expected: the file has changed; get the"):
            fetch(server, tmp_path / "a", expected_bytes=expected)


def test_transfer_does_not_begin_a_file_that_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 1000))
    with pytest.raises(SetupError, match="has 3,000,000 bytes, for which .* has no space"):
        fetch(Behaviour(CONTENT), tmp_path / "a")


# Archives


def zipped(entries: dict[str, bytes], change: Callable[[zipfile.ZipInfo], None] = lambda info: None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            change(info)
            archive.writestr(info, content)
    return buffer.getvalue()


def renamed(content: bytes, name: bytes) -> bytes:
    """Return the zip of one file `aaaa` with another name, of up to four bytes, in both of its headers."""
    at = content.index(b"PK\x01\x02")
    local, central = content[:at], content[at:]
    length = len(name).to_bytes(2, "little")
    local = local[:26] + length + local[28:].replace(b"aaaa", name, 1)
    end = central.index(b"PK\x05\x06")
    last = bytearray(central[end:])
    last[12:16] = (end + len(name) - 4).to_bytes(4, "little")  # size and place of the central headers
    last[16:20] = len(local).to_bytes(4, "little")
    return local + central[:28] + length + central[30:end].replace(b"aaaa", name, 1) + bytes(last)


def tarred(*members: tuple[str, bytes, bytes]) -> bytes:
    """Return a tar.gz of members (name, type, content); the content of a link is its target."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                info.linkname = content.decode()
                archive.addfile(info)
    return buffer.getvalue()


def with_password(content: bytes) -> bytes:
    """Return the zip of one file with the flag for encryption set in both of its headers."""
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.index(signature) + offset
        content = content[:at] + bytes([content[at] | 1]) + content[at + 1 :]
    return content


def plain_tar(*contents: bytes) -> bytes:
    return gzip.decompress(tarred(*((f"{n}.wav", tarfile.REGTYPE, content) for n, content in enumerate(contents))))


def with_metadata(**metadata: str) -> bytes:
    """Return a tar.gz with an extended header."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a")
        info.pax_headers = metadata
        archive.addfile(info)
    return buffer.getvalue()


def as_link(info: zipfile.ZipInfo) -> None:
    info.external_attr = (stat.S_IFLNK | 0o777) << 16


MALICIOUS = {
    "parent.zip": (zipped({"../evil": b"x"}), "would lie outside"),
    "deep_parent.zip": (zipped({"a/../../evil": b"x"}), "would lie outside"),
    "absolute.zip": (zipped({"/tmp/evil": b"x"}), "would lie outside"),
    "drive.zip": (zipped({"C:/evil": b"x"}), "would lie outside"),
    "backslashes.zip": (zipped({"..\\evil": b"x"}), "would lie outside"),
    "link.zip": (zipped({"link": b"/etc/passwd"}, as_link), "is a link or a device"),
    "no_name.zip": (renamed(zipped({"aaaa": b"x"}), b""), "holds a file without a name"),
    "dot.zip": (renamed(zipped({"aaaa": b"x"}), b"."), "holds a file without a name"),
    "null_character.zip": (renamed(zipped({"aaaa": b"x"}), b"a\0b"), "with a null character"),
    "folder_with_data.zip": (renamed(zipped({"aaaa": b"x"}), b"aaa/"), "is a folder with data of its own"),
    "twice.zip": (zipped({"aaaa": b"1", "bbbb": b"2"}).replace(b"bbbb", b"aaaa"), "twice"),
    "bomb.zip": (zipped({"zeros": b"\0" * 2_000_000}), "more than 30 times its own size"),
    "bomb_in_a_bomb.zip": (zipped({"a.zip": zipped({"zeros": b"\0" * 2_000_000})}), "more than 30 times its own size"),
    "parent.tar.gz": (tarred(("../evil", tarfile.REGTYPE, b"x")), "would lie outside"),
    "absolute.tar.gz": (tarred(("/tmp/evil", tarfile.REGTYPE, b"x")), "would lie outside"),
    "link.tar.gz": (tarred(("l", tarfile.SYMTYPE, b"..")), "is a link or a device"),
    "written_through.tar.gz": (
        tarred(("l", tarfile.SYMTYPE, b".."), ("l/evil", tarfile.REGTYPE, b"x")),
        "is a link or a device",
    ),
    "hard_link.tar.gz": (tarred(("h", tarfile.LNKTYPE, b"/etc/passwd")), "is a link or a device"),
    "device.tar.gz": (tarred(("d", tarfile.CHRTYPE, b"")), "is a link or a device"),
    "pipe.tar.gz": (tarred(("p", tarfile.FIFOTYPE, b"")), "is a link or a device"),
    "no_name.tar.gz": (tarred(("", tarfile.REGTYPE, b"x")), "holds a file without a name"),
    "twice.tar.gz": (tarred(("a", tarfile.REGTYPE, b"1"), ("a", tarfile.REGTYPE, b"2")), "twice"),
    "file_in_a_file.tar.gz": (
        tarred(("a", tarfile.REGTYPE, b"1"), ("a/b", tarfile.REGTYPE, b"2")),
        "twice, or no file",
    ),
    "long_name.zip": (zipped({"a" * 300: b"x"}), "no file can have that name"),
    "password.zip": (with_password(zipped({"a": b"x"})), "is encrypted; unpack it by hand"),
    "name_that_is_no_utf8.zip": (zipped({"é": b"x"}).replace("é".encode(), b"\xff\xfe"), "cannot be unpacked"),
    "bomb_of_metadata.tar.gz": (with_metadata(comment="0" * 2_000_000), "a header has a size of 2,0"),
    "backwards.tar.gz": (with_metadata(size="-512"), ""),
    "damaged_header.tar": (plain_tar(b"1", b"2").replace(b"1.wav", b"1.WAV"), "bad checksum, where a file"),
    "torn_between_files.tar": (plain_tar(b"1", b"2")[:1024], "where a file or the end should be"),
    "wrong_sum.tar.gz": (tarred(("a", tarfile.REGTYPE, CONTENT))[:-8] + b"12345678", "CRC check failed"),
    "torn.zip": (zipped({"a": CONTENT})[:-100], "cannot be unpacked"),
    "flipped.zip": (zipped({"a": CONTENT}).replace(CONTENT[500:510], b"0123456789"), "cannot be unpacked"),
    "torn.tar.gz": (tarred(("a", tarfile.REGTYPE, CONTENT))[:-1000], "cannot be unpacked"),
    "page.zip": (b"<!DOCTYPE html><html>gone</html>", "it is a web page"),
    "empty.zip": (b"", "cannot be unpacked"),
}


@pytest.mark.parametrize("name", MALICIOUS)
def test_download_refuses_a_malicious_archive_and_leaves_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack_module, "LEAST_BUDGET", 500_000)
    content, sentence = MALICIOUS[name]
    data = tmp_path / "data"
    with serving(Behaviour(content)) as address, pytest.raises(InputError) as raised:
        download(corpus(f"{address}/{name}"), data / "corpus", transfer_bar)
    assert sentence in str(raised.value) and "\n" not in str(raised.value)
    assert not (data / "corpus").exists() and not (data / "corpus.unfinished" / "content").exists()
    outside = [path for path in tmp_path.rglob("*") if not path.is_relative_to(data / "corpus.unfinished")]
    assert outside == [data]
    assert not Path("/tmp/evil").exists()
    assert not list((data / "corpus.unfinished").glob(f"*-{name}")), "the same command fetches it anew"


def test_unpack_keeps_names_that_are_not_utf8_or_differ_only_in_case(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped({"a.wav": b"1", "A.wav": b"2"}))
    unpack(tmp_path / "a.zip", tmp_path / "zip")
    names = [("Col\udce8re/a.wav", tarfile.REGTYPE, b"1"), ("colère/b.wav", tarfile.REGTYPE, b"2")]
    (tmp_path / "a.tar.gz").write_bytes(tarred(*names))
    unpack(tmp_path / "a.tar.gz", tmp_path / "tar")
    assert len(list((tmp_path / "zip").iterdir())) == 2
    assert (tmp_path / "tar" / "Col\udce8re" / "a.wav").read_bytes() == b"1"


@pytest.mark.parametrize("mode", ["w:", "w:gz", "w:bz2", "w:xz"])
def test_unpack_refuses_a_damaged_archive_or_unpacks_all_of_it(mode: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    contents = [random.bytes(700) for _ in range(4)]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for number, content in enumerate(contents):
            info = tarfile.TarInfo(f"{number}.wav")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    whole = np.frombuffer(buffer.getvalue(), dtype=np.uint8)
    for trial in range(100):
        damaged = whole.copy()
        damaged[random.integers(len(whole))] ^= 1 << random.integers(8)
        damaged = damaged[: random.integers(len(whole))] if trial % 2 else damaged
        path, folder = tmp_path / f"a.tar.{mode[2:] or 'tar'}", tmp_path / str(trial)
        path.write_bytes(damaged.tobytes())
        try:
            unpack(path, folder)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert len(list(folder.iterdir())) == len(contents)


def test_unpack_refuses_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack_module, "MOST_FILES", 10)
    (tmp_path / "a.zip").write_bytes(zipped({str(number): b"" for number in range(11)}))
    with pytest.raises(InputError, match="more than 10 files"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


# Corpora


def corpus(*addresses: str, checksum: str | None = None) -> DatasetConfig:
    items = [DownloadConfig(url=address, checksum=checksum) for address in addresses]
    return DatasetConfig(name="mine", reader="csv", access="ask its authors", download=items)


def packed(folder: Path, name: str) -> bytes:
    path = folder.parent / name
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, arcname=".")
    return path.read_bytes()


def test_prepare_downloads_unpacks_and_verifies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    emodb_tree(tmp_path / "emodb", emotions="WF")
    entries = {path.relative_to(tmp_path / "emodb").as_posix(): path for path in (tmp_path / "emodb").rglob("*.wav")}
    server = Behaviour(zipped({name: path.read_bytes() for name, path in entries.items()}), drops=2)
    typed = ["dataset=emodb", f"dataset.root={tmp_path / 'new' / 'emodb'}", "download=true"]
    with serving(server) as address:
        typed.append(f"dataset.download=[{{url:'{address}/download.zip'}}]")
        prepare(compose(typed, "prepare"))
        output = capsys.readouterr()
        assert f"downloading {address}/download.zip ({len(server.content) / 1e6:,.1f} MB)" in output.err
        assert "licence of emodb: CC0" in output.err and "recorded, since none is known" in output.err
        assert output.err.index("licence") < output.err.index("downloading") and "20 clips verified" in output.out
        requests_before = len(server.requests)
        prepare(compose(typed, "prepare"))
        assert "is already at" in capsys.readouterr().err and len(server.requests) == requests_before
    assert not (tmp_path / "new" / "emodb.unfinished").exists()


def test_download_unpacks_archives_within_an_archive_into_their_own_folder(tmp_path: Path) -> None:
    """MELD is published in this way."""
    release = tmp_path / "release" / "MELD.Raw"
    meld_tree(release, {split: [meld_row(0, 0)] for split in ("train", "dev", "test")}, tone)
    for split, folder in (("train", "train_splits"), ("dev", "dev_splits_complete")):
        with tarfile.open(release / f"{split}.tar.gz", "w:gz") as inner:
            inner.add(release / folder, arcname=folder)
        (release / folder / "dia0_utt0.wav").unlink()
        (release / folder).rmdir()
        (release / f"._{split}.tar.gz").write_bytes(b"macOS metadata of a file")
    config = load_dataset("meld")
    with serving(Behaviour(packed(release.parent, "MELD.Raw.tar.gz"))) as address:
        config.download = [DownloadConfig(url=f"{address}/MELD.Raw.tar.gz")]
        download(config, tmp_path / "meld", transfer_bar)
    from melt_ser.corpora.readers.meld import read

    assert read(tmp_path / "meld", config).table["split"].tolist() == ["train", "dev", "test"]
    assert not [path for path in (tmp_path / "meld").rglob("*.tar.gz") if not path.name.startswith(".")]


@pytest.mark.parametrize("inner", ["", "train/"], ids=["flat", "in_a_folder"])
def test_download_of_the_audio_mirror_of_meld_is_read_with_or_without_inner_folders(inner: str, tmp_path: Path) -> None:
    meld_tree(tmp_path / "release", {split: [meld_row(0, 0)] for split in ("train", "dev", "test")}, tone)
    clip = (tmp_path / "release" / "train_splits" / "dia0_utt0.wav").read_bytes()
    config, items = load_dataset("meld_audio"), []
    with ExitStack() as servers:
        for item in config.download:
            name = item.url.rpartition("/")[2]
            if is_archive(name):
                content = tarred(
                    (f"./{inner}dia0_utt0.wav".replace("train", name.split(".")[0]), tarfile.REGTYPE, clip)
                )
            else:
                content = (tmp_path / "release" / name).read_bytes()
            address = servers.enter_context(serving(Behaviour(content)))
            items.append(DownloadConfig(url=f"{address}/{name}", folder=item.folder))
        config.download = items
        download(config, tmp_path / "meld_audio", transfer_bar)
    from melt_ser.corpora.readers.meld import read

    table = read(tmp_path / "meld_audio", config).table
    assert table["source"].tolist() == [f"meld/{split}/dia0_utt0" for split in ("train", "dev", "test")]


def test_download_checks_a_known_checksum_and_records_an_unknown_one(tmp_path: Path) -> None:
    content = zipped({"a.txt": b"1"})
    sums = {kind: f"{kind}:{hashlib.new(kind, content).hexdigest()}" for kind in ("sha256", "md5")}
    server = Behaviour(content)
    with serving(server) as address:
        for kind in sums:
            download(corpus(f"{address}/a.zip", checksum=sums[kind]), tmp_path / kind, transfer_bar)
        with pytest.raises(InputError, match="has the checksum md5:.*, not md5:0"):
            download(corpus(f"{address}/a.zip", checksum="md5:" + "0" * 32), tmp_path / "wrong", transfer_bar)
        server.promised = len(content) - 20  # a lie; the checksum of the incomplete file is not recorded
        with pytest.raises(InputError, match="cannot be unpacked"):
            download(corpus(f"{address}/b.zip"), tmp_path / "first", transfer_bar)
        server.promised = None
        download(corpus(f"{address}/b.zip"), tmp_path / "first", transfer_bar)
        server.content, server.mark = zipped({"a.txt": b"2"}), '"v2"'
        with pytest.raises(InputError, match=r"of the first download \(delete .*if the release has changed\)"):
            download(corpus(f"{address}/b.zip"), tmp_path / "second", transfer_bar)
    assert sorted(path.name for path in tmp_path.iterdir() if (path / "a.txt").exists()) == ["first", "md5", "sha256"]


def test_download_of_several_files_continues_after_the_complete_files(tmp_path: Path) -> None:
    table = Behaviour(b"audio,label\n")
    with serving(Behaviour(CONTENT, statuses=[404])) as missing, serving(table) as present:
        config = corpus(f"{present}/table.csv", f"{missing}/more.bin")
        with pytest.raises(SetupError, match="is not there"):
            download(config, tmp_path / "mine", transfer_bar)
        assert not (tmp_path / "mine").exists()
        download(config, tmp_path / "mine", transfer_bar)
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["more.bin", "table.csv"]
    assert len(table.requests) == 1


def test_download_of_a_corpus_on_request_says_where_to_ask(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"by itself; get it by hand \(request form at sail") as raised:
        prepare(compose(["dataset=iemocap", f"dataset.root={tmp_path / 'iemocap'}", "download=true"], "prepare"))
    assert raised.value.exit_code == 2


def test_download_to_a_target_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with serving(Behaviour(CONTENT)) as address, pytest.raises(MeltSerError, match="file"):
        download(corpus(f"{address}/a.bin"), tmp_path / "file" / "corpus", transfer_bar)
    with serving(Behaviour(CONTENT)) as address, pytest.raises(SetupError, match="is a file; set dataset.root"):
        download(corpus(f"{address}/a.bin"), tmp_path / "file", transfer_bar)


def test_download_to_a_full_disk_keeps_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(archive: Path, folder: Path) -> None:
        (folder / "half.wav").touch()
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / "half.wav"))

    server = Behaviour(zipped({"a.wav": b"1"}))
    with serving(server) as address:
        with monkeypatch.context() as patch, pytest.raises(SetupError, match="No space left on device; free space"):
            patch.setattr("melt_ser.corpora.download.download.unpack", full)
            download(corpus(f"{address}/a.zip"), tmp_path / "mine", transfer_bar)
        assert not (tmp_path / "mine.unfinished" / "content").exists()
        download(corpus(f"{address}/a.zip"), tmp_path / "mine", transfer_bar)
    assert (tmp_path / "mine" / "a.wav").read_bytes() == b"1" and len(server.requests) == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from melt_ser.config import DatasetConfig, DownloadConfig
from melt_ser.corpora.download import download

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def progress(blocks, present, total):
    for block in blocks:
        yield block
        if sys.argv[3] == "transfer":
            die()

def unpack(archive, folder):
    (folder / "half.wav").write_bytes(b"half")
    die()

download.unpack = unpack
config = DatasetConfig(name="mine", reader="csv", download=[DownloadConfig(url=sys.argv[1])])
download.download(config, Path(sys.argv[2]), progress)
"""


@pytest.mark.parametrize("moment", ["transfer", "unpacking"])
def test_download_continues_with_the_same_command_after_a_kill(moment: str, tmp_path: Path) -> None:
    root = tmp_path / "mine"
    server = Behaviour(zipped({"a.wav": CONTENT}))
    with serving(server) as address:
        killed = subprocess.run([sys.executable, "-c", KILLED, f"{address}/a.zip", root, moment], capture_output=True)
        assert killed.returncode == -signal.SIGKILL and not root.exists()
        download(corpus(f"{address}/a.zip"), root, transfer_bar)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert [path.name for path in root.iterdir()] == ["a.wav"] and (root / "a.wav").read_bytes() == CONTENT
    assert len(server.requests) == 1 or server.requests[-1] != server.requests[0]  # no byte is fetched twice


def test_download_refuses_a_second_process_and_keeps_the_first(tmp_path: Path) -> None:
    server = Behaviour(zipped({"a.wav": b"1"}))
    with serving(server) as address:
        config, unfinished = corpus(f"{address}/a.zip"), tmp_path / "mine.unfinished"
        unfinished.mkdir()
        with FileLock(unfinished / "lock"), pytest.raises(SetupError, match="Another process downloads 'mine'"):
            download(config, tmp_path / "mine", transfer_bar)
        download(config, tmp_path / "mine", transfer_bar)
        download(config, tmp_path / "mine", transfer_bar)
    assert len(server.requests) == 1 and [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_download_never_touches_files_at_the_root(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    server = Behaviour(zipped({"notes.txt": b"theirs"}))
    with serving(server) as address:
        download(corpus(f"{address}/a.zip"), tmp_path / "mine", transfer_bar)
    assert not server.requests and (tmp_path / "mine" / "notes.txt").read_text() == "mine"


def test_download_accepts_a_root_that_is_a_link_to_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "disk" / "corpora").mkdir(parents=True)
    (tmp_path / "mine").symlink_to(tmp_path / "disk" / "corpora")
    with serving(Behaviour(zipped({"a.wav": b"1"}))) as address:
        download(corpus(f"{address}/a.zip"), tmp_path / "mine", transfer_bar)
    assert (tmp_path / "mine").is_symlink() and (tmp_path / "disk" / "corpora" / "a.wav").is_file()


def test_download_refuses_a_web_page_instead_of_a_table(tmp_path: Path) -> None:
    with serving(Behaviour(b"<html>log in</html>")) as address, pytest.raises(InputError, match="is a web page"):
        download(corpus(f"{address}/table.csv"), tmp_path / "mine", transfer_bar)


@pytest.mark.parametrize("name", ["a.rar", "a.7z", "a.wav.gz"])
def test_download_does_not_fetch_an_archive_for_other_programs(name: str, tmp_path: Path) -> None:
    server = Behaviour(b"Rar!")
    with serving(server) as address, pytest.raises(SetupError, match="cannot be unpacked here, or get it by hand"):
        download(corpus(f"{address}/{name}"), tmp_path / "mine", transfer_bar)
    assert not server.requests


def test_download_succeeds_without_a_record_if_the_cache_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache").touch()
    monkeypatch.setenv("MELT_SER_CACHE", str(tmp_path / "cache"))
    with serving(Behaviour(zipped({"a.wav": b"1"}))) as address:
        download(corpus(f"{address}/a.zip"), tmp_path / "mine", transfer_bar)
    assert (tmp_path / "mine" / "a.wav").is_file() and "could not be recorded" in capsys.readouterr().err


def test_prepare_with_download_prepares_a_corpus_that_needs_none(capsys: pytest.CaptureFixture[str]) -> None:
    prepare(compose(["dataset=demo", "download=true"], "prepare"))
    assert "clips verified" in capsys.readouterr().out
