"""An archive is unpacked whole, or refused with one sentence, and no file lies outside the target."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from archives import as_link, plain_tar, renamed, tarred, with_metadata, with_password, zipped
from http_server import CONTENT, Behaviour, serving
from melt_ser.config import DatasetConfig, DownloadConfig
from melt_ser.core.console import transfer_bar
from melt_ser.core.errors import InputError
from melt_ser.corpora.download import unpack as unpack_module
from melt_ser.corpora.download.download import download
from melt_ser.corpora.download.unpack import unpack

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
        corpus = DatasetConfig(name="mine", reader="csv", download=[DownloadConfig(url=f"{address}/{name}")])
        download(corpus, data / "corpus", transfer_bar)
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


def test_unpack_reads_folders_that_end_in_a_backslash(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped({"angry\\": b"", "angry\\a.wav": b"1"}))
    unpack(tmp_path / "a.zip", tmp_path / "out")
    assert (tmp_path / "out" / "angry" / "a.wav").read_bytes() == b"1"


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
