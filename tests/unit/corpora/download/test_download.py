"""A download gives a whole corpus, or one sentence and no file outside the target."""

from __future__ import annotations

import errno
import hashlib
import signal
import subprocess
import sys
import tarfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from filelock import FileLock

from archives import tarred, zipped
from corpus_trees import emodb_tree, meld_row, meld_tree, tone
from http_server import CONTENT, Behaviour, serving
from melt_ser.cli.compose import compose, load_dataset
from melt_ser.config import DatasetConfig, DownloadConfig
from melt_ser.core.console import transfer_bar
from melt_ser.core.errors import InputError, MeltSerError, SetupError
from melt_ser.corpora.download.download import download
from melt_ser.corpora.download.unpack import is_archive
from melt_ser.prepare import prepare


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
        with (
            FileLock(unfinished / "lock"),
            pytest.raises(SetupError, match="Another process downloads 'mine'.*it holds"),
        ):
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
