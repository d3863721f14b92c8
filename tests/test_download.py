"""Downloads: a whole corpus, or one sentence and nothing outside the target, whatever server and archive do."""

from __future__ import annotations

import hashlib
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from corpus_trees import emodb_tree, meld_row, meld_tree, tone
from melt_ser.config import DatasetConfig, DownloadConfig
from melt_ser.console import transfer_bar
from melt_ser.corpora import transfer as transfer_module
from melt_ser.corpora import unpack as unpack_module
from melt_ser.corpora.download import download
from melt_ser.corpora.transfer import size_at, transfer
from melt_ser.corpora.unpack import unpack
from melt_ser.errors import InputError, MeltSerError, SetupError
from melt_ser.launch import compose, load_dataset
from melt_ser.prepare import prepare
from servers import Behaviour, serving

CONTENT = np.random.default_rng(0).bytes(3_000_000)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_module, "WAIT", 0.0)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def fetched(behaviour: Behaviour, path: Path, expected_bytes: int | None = None) -> bytes:
    with serving(behaviour) as address:
        transfer(f"{address}/a.bin", path, expected_bytes, transfer_bar)
    return path.read_bytes()


def test_a_lost_connection_goes_on_where_it_was(tmp_path: Path) -> None:
    server = Behaviour(CONTENT, drops=3)
    assert fetched(server, tmp_path / "a") == CONTENT
    assert server.requests == [None, "bytes=1500000-", "bytes=2250000-", "bytes=2625000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_stopped_download_goes_on_with_the_next_command(tmp_path: Path) -> None:
    server = Behaviour(CONTENT, drops=1, statuses=[])
    with serving(server) as address:
        (tmp_path / "a.part").write_bytes(CONTENT[:1000])
        (tmp_path / "a.part.mark").write_text('"v1"')
        transfer(f"{address}/a", tmp_path / "a", None, transfer_bar)
    assert server.requests[0] == "bytes=1000-" and (tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize("server", [Behaviour(CONTENT, drops=2, ranges=False), Behaviour(CONTENT, mark='"v2"')])
def test_a_part_of_another_state_or_without_ranges_starts_over(server: Behaviour, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(b"older" * 1000)
    (tmp_path / "a.part.mark").write_text('"v1"')
    assert fetched(server, tmp_path / "a") == CONTENT


def test_a_part_longer_than_the_file_starts_over(tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(CONTENT + b"more")
    (tmp_path / "a.part.mark").write_text('"v1"')
    assert fetched(Behaviour(CONTENT), tmp_path / "a") == CONTENT


def test_a_server_that_recovers_is_waited_for(tmp_path: Path) -> None:
    assert fetched(Behaviour(CONTENT, statuses=[503, 500, 429]), tmp_path / "a") == CONTENT


@pytest.mark.parametrize(
    ("server", "sentence"),
    [
        (Behaviour(CONTENT, statuses=[404]), "is not there (the server answers 404 Not Found)"),
        (Behaviour(CONTENT, statuses=[500] * 9), "cannot be downloaded (the server answers 500 Internal Server Error)"),
        (Behaviour(CONTENT, ranges=False, promised=9_000_000), "3,000,000 bytes are kept"),
    ],
)
def test_what_a_server_does_not_give_is_one_sentence(server: Behaviour, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(SetupError) as told:
        fetched(server, tmp_path / "a")
    assert sentence in str(told.value) and "\n" not in str(told.value)
    assert not (tmp_path / "a").exists()


def test_a_server_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="Connection refused"):
        transfer("http://127.0.0.1:9/a.zip", tmp_path / "a", None, transfer_bar)
    assert size_at("http://127.0.0.1:9/a.zip") is None


def test_another_size_than_the_known_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has 3,000,000 bytes, not the 5 that are expected"):
        fetched(Behaviour(CONTENT), tmp_path / "a", expected_bytes=5)
    assert fetched(Behaviour(CONTENT), tmp_path / "a", expected_bytes=len(CONTENT)) == CONTENT
    with serving(Behaviour(CONTENT)) as address:
        assert size_at(address) == len(CONTENT)


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


def tarred(*members: tuple[str, bytes, bytes]) -> bytes:
    """Members of (name, type, content; where a link leads)."""
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


def as_link(info: zipfile.ZipInfo) -> None:
    info.external_attr = (stat.S_IFLNK | 0o777) << 16


MALICIOUS = {
    "parent.zip": (zipped({"../evil": b"x"}), "would lie outside"),
    "deep_parent.zip": (zipped({"a/../../evil": b"x"}), "would lie outside"),
    "absolute.zip": (zipped({"/tmp/evil": b"x"}), "would lie outside"),
    "drive.zip": (zipped({"C:/evil": b"x"}), "would lie outside"),
    "backslashes.zip": (zipped({"..\\evil": b"x"}), "would lie outside"),
    "link.zip": (zipped({"link": b"/etc/passwd"}, as_link), "is a link or a device"),
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
    "twice.tar.gz": (tarred(("a", tarfile.REGTYPE, b"1"), ("a", tarfile.REGTYPE, b"2")), "twice"),
    "torn.zip": (zipped({"a": CONTENT})[:-100], "cannot be unpacked"),
    "flipped.zip": (zipped({"a": CONTENT}).replace(CONTENT[500:510], b"0123456789"), "cannot be unpacked"),
    "torn.tar.gz": (tarred(("a", tarfile.REGTYPE, CONTENT))[:-1000], "cannot be unpacked"),
    "page.zip": (b"<!DOCTYPE html><html>gone</html>", "it is a web page"),
    "empty.zip": (b"", "cannot be unpacked"),
}


@pytest.mark.parametrize("name", MALICIOUS)
def test_a_malicious_archive_is_refused_and_leaves_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack_module, "LEAST_BUDGET", 500_000)
    content, sentence = MALICIOUS[name]
    data = tmp_path / "data"
    with serving(Behaviour(content)) as address, pytest.raises(InputError) as told:
        download(corpus(f"{address}/{name}"), data / "corpus", transfer_bar)
    assert sentence in str(told.value) and "\n" not in str(told.value)
    assert not (data / "corpus").exists()
    outside = [path for path in tmp_path.rglob("*") if not path.is_relative_to(data / "corpus.unfinished")]
    assert outside == [data]
    assert not Path("/tmp/evil").exists()
    assert not list((data / "corpus.unfinished").glob(f"*-{name}")), "the same command fetches it anew"


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_prepare_fetches_unpacks_and_verifies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    emodb_tree(tmp_path / "emodb", emotions="WF")
    entries = {path.relative_to(tmp_path / "emodb").as_posix(): path for path in (tmp_path / "emodb").rglob("*.wav")}
    server = Behaviour(zipped({name: path.read_bytes() for name, path in entries.items()}), drops=2)
    typed = ["dataset=emodb", f"dataset.root={tmp_path / 'new' / 'emodb'}", "download=true"]
    with serving(server) as address:
        typed.append(f"dataset.download=[{{url:'{address}/download.zip'}}]")
        prepare(compose(typed, "prepare"))
        told = capsys.readouterr()
        assert f"downloading {address}/download.zip ({len(server.content) / 1e6:,.1f} MB)" in told.err
        assert "licence: CC0" in told.err and "20 clips verified" in told.out
        asked = len(server.requests)
        prepare(compose(typed, "prepare"))
        assert "is already at" in capsys.readouterr().err and len(server.requests) == asked
    assert not (tmp_path / "new" / "emodb.unfinished").exists()


def test_archives_within_an_archive_are_unpacked_beside_themselves(tmp_path: Path) -> None:
    """The way MELD is published."""
    release = tmp_path / "release" / "MELD.Raw"
    meld_tree(release, {split: [meld_row(0, 0)] for split in ("train", "dev", "test")}, tone)
    for split, folder in (("train", "train_splits"), ("dev", "dev_splits_complete")):
        with tarfile.open(release / f"{split}.tar.gz", "w:gz") as inner:
            inner.add(release / folder, arcname=folder)
        (release / folder / "dia0_utt0.wav").unlink()
        (release / folder).rmdir()
    config = load_dataset("meld")
    with serving(Behaviour(packed(release.parent, "MELD.Raw.tar.gz"))) as address:
        config.download = [DownloadConfig(url=f"{address}/MELD.Raw.tar.gz")]
        download(config, tmp_path / "meld", transfer_bar)
    from melt_ser.corpora.meld import read

    assert read(tmp_path / "meld", config).table["split"].tolist() == ["train", "dev", "test"]
    assert not list((tmp_path / "meld").rglob("*.tar.gz"))


def test_a_known_checksum_is_held_to_and_an_unknown_one_is_kept(tmp_path: Path) -> None:
    content = zipped({"a.txt": b"1"})
    sums = {kind: f"{kind}:{hashlib.new(kind, content).hexdigest()}" for kind in ("sha256", "md5")}
    server = Behaviour(content)
    with serving(server) as address:
        for kind in sums:
            download(corpus(f"{address}/a.zip", checksum=sums[kind]), tmp_path / kind, transfer_bar)
        with pytest.raises(InputError, match="has the checksum md5:.*, not md5:0"):
            download(corpus(f"{address}/a.zip", checksum="md5:" + "0" * 32), tmp_path / "wrong", transfer_bar)
        server.promised = len(content) - 20  # a lie; what came is not remembered as the right one
        with pytest.raises(InputError, match="cannot be unpacked"):
            download(corpus(f"{address}/b.zip"), tmp_path / "first", transfer_bar)
        server.promised = None
        download(corpus(f"{address}/b.zip"), tmp_path / "first", transfer_bar)
        server.content, server.mark = zipped({"a.txt": b"2"}), '"v2"'
        with pytest.raises(InputError, match=r"of the first download \(delete .*if the release has changed\)"):
            download(corpus(f"{address}/b.zip"), tmp_path / "second", transfer_bar)
    assert sorted(path.name for path in tmp_path.iterdir() if (path / "a.txt").exists()) == ["first", "md5", "sha256"]


def test_a_corpus_of_several_files_goes_on_after_those_that_are_there(tmp_path: Path) -> None:
    table = Behaviour(b"audio,label\n")
    with serving(Behaviour(CONTENT, statuses=[404])) as gone, serving(table) as there:
        config = corpus(f"{there}/table.csv", f"{gone}/more.bin")
        with pytest.raises(SetupError, match="is not there"):
            download(config, tmp_path / "mine", transfer_bar)
        assert not (tmp_path / "mine").exists()
        download(config, tmp_path / "mine", transfer_bar)
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["more.bin", "table.csv"]
    assert len(table.requests) == 1


def test_a_corpus_on_request_says_where_to_ask(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be downloaded by itself: request form at sail") as told:
        prepare(compose(["dataset=iemocap", f"dataset.root={tmp_path / 'iemocap'}", "download=true"], "prepare"))
    assert told.value.exit_code == 2


def test_a_target_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with serving(Behaviour(CONTENT)) as address, pytest.raises(MeltSerError, match="file"):
        download(corpus(f"{address}/a.bin"), tmp_path / "file" / "corpus", transfer_bar)
