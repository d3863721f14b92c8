"""Recordings in tar and parquet files are decoded as if they lay there as files."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from melt_ser.audio import shard_index
from melt_ser.audio.contents import contents_of
from melt_ser.audio.decode import read_audio, read_native, stream_audio
from melt_ser.audio.shard_index import index_of
from melt_ser.audio.shards import is_recording, place_of, shard_of
from melt_ser.audio.verify import verify_clip
from melt_ser.core.errors import InputError
from melt_ser.core.package import cache_folder
from shard_files import recording, write_parquet, write_tar

FORMATS = ("wav", "flac", "ogg", "mp3", "aiff", "au")


def test_every_format_is_decoded_in_a_tar_as_in_a_file(tmp_path: Path) -> None:
    contents = {suffix: recording(300, suffix, rate=16000) for suffix in FORMATS}
    shard = write_tar(tmp_path / "a.tar", [{"__key__": f"c/{suffix}", suffix: contents[suffix]} for suffix in FORMATS])
    for suffix, content in contents.items():
        file = tmp_path / f"{suffix}.{suffix}"
        file.write_bytes(content)
        inside = shard / "c" / f"{suffix}.{suffix}"
        assert is_recording(str(inside)) and shard_of(str(inside)) == str(shard)
        assert contents_of(inside) == contents_of(file)
        assert np.array_equal(read_audio(inside), read_audio(file))
        assert np.array_equal(read_audio(inside, 0.1, 0.2), read_audio(file, 0.1, 0.2))
        assert np.array_equal(np.concatenate(list(stream_audio(inside))), np.concatenate(list(stream_audio(file))))
        assert verify_clip(tmp_path, f"a.tar/c/{suffix}.{suffix}") == verify_clip(tmp_path, file.name)


def test_a_recording_that_ends_early_or_goes_on_is_judged_within_its_member(tmp_path: Path) -> None:
    whole = recording(300)
    zero_length = bytearray(whole)
    zero_length[40:44] = bytes(4)  # as a program writes it that streams
    samples = [{"__key__": "cut", "wav": whole[:-6000]}, {"__key__": "open", "wav": bytes(zero_length)}]
    shard = write_tar(tmp_path / "a.tar", [*samples, {"__key__": "joined", "wav": whole + whole}])
    with pytest.raises(InputError, match=r"a\.tar/cut\.wav: is cut off \(.* bytes are there\); download it again"):
        read_audio(shard / "cut.wav")
    assert len(read_audio(shard / "open.wav")) == 4800
    assert len(read_audio(shard / "joined.wav")) == 9600
    with pytest.raises(InputError, match=r"other\.wav: there is no such file"):
        read_audio(shard / "other.wav")


def test_rows_of_a_parquet_file_are_decoded_in_any_order(tmp_path: Path) -> None:
    rows = [{"audio": {"bytes": recording(200 + 40 * row, "flac"), "path": f"c{row}.flac"}} for row in range(8)]
    shard = write_parquet(tmp_path / "a.parquet", rows)
    for row in (7, 0, 3, 5, 1):
        (tmp_path / "one.flac").write_bytes(rows[row]["audio"]["bytes"])
        assert np.array_equal(read_audio(shard / f"c{row}.flac"), read_audio(tmp_path / "one.flac"))
    assert index_of(shard)["key"].to_pylist() == [f"a/c{row}" for row in range(8)]


def test_an_index_is_made_once_and_again_if_the_shard_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = write_tar(tmp_path / "a.tar", [{"__key__": "x", "wav": recording(300)}])
    scanned: list[Path] = []
    scan = shard_index._scan_tar
    monkeypatch.setattr(shard_index, "_scan_tar", lambda path: scanned.append(path) or scan(path))
    first = index_of(shard)
    assert index_of(shard) == first and len(scanned) == 1
    longer = recording(300, seconds=0.5)
    write_tar(shard, [{"__key__": "w", "wav": recording(200)}, {"__key__": "x", "wav": longer}])
    assert len(read_native(shard / "x.wav")[0]) == 8000
    assert len(scanned) == 2
    kept = list((cache_folder() / "shards").glob("*.parquet"))
    assert sum(path.stem in str(kept) for path in kept) == len(kept)
    assert index_of(shard)["member"].to_pylist() == ["w.wav", "x.wav"]


def test_a_link_to_a_shard_outside_the_root_is_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "out.tar", [{"__key__": "x", "wav": recording(300)}])
    root = tmp_path / "root"
    root.mkdir()
    os.symlink(tmp_path / "out.tar", root / "in.tar")
    assert (verify_clip(root, "in.tar/x.wav").reason or "").startswith("outside the root")


def add(tar: tarfile.TarFile, name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(content), kind, "a.wav" if kind != tarfile.REGTYPE else ""
    tar.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ([("../x.wav", b"1")], r"the member '\.\./x\.wav' has a name that leads out of the shard; rename it"),
        ([("/etc/x.wav", b"1")], "leads out of the shard"),
        ([("a\\x.wav", b"1")], "leads out of the shard"),
        ([("a.wav", b"1"), ("a.wav", b"2")], r"has two members 'a\.wav'; keep one"),
        ([("./a.wav", b"1"), ("a.wav", b"2")], r"has two members 'a\.wav'; keep one"),
        ([("a.1.wav", b"1"), ("a.2.wav", b"2")], r"two recordings of the key 'a', a\.1\.wav and a\.2\.wav; a key ends"),
        ([("a.json", b"[1]")], r"a\.json is no JSON object \(no object\)"),
        ([("a.json", b"{")], r"a\.json is no JSON object"),
        ([("a.txt", b"\xff")], r"a\.txt is not UTF-8"),
        ([("a.json", bytes(2**20 + 1))], r"a\.json has 1,048,577 bytes, too many for data"),
        ([("b.wav", b"", tarfile.SYMTYPE)], r"the member 'b\.wav' is a link"),
    ],
)
def test_a_shard_with_unsound_members_is_refused_in_one_sentence(
    members: list[tuple[str, bytes]], sentence: str, tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for member in members:
            add(tar, *member)
    with pytest.raises(InputError, match=sentence) as raised:
        index_of(tmp_path / "a.tar")
    assert str(raised.value).startswith(f"{tmp_path / 'a.tar'}: ") and "\n" not in str(raised.value)


def test_a_tar_that_is_cut_off_anywhere_or_damaged_is_refused(tmp_path: Path) -> None:
    samples = [{"__key__": f"x{number}", "wav": recording(300), "json": {"label": "sad"}} for number in range(3)]
    shard = write_tar(tmp_path / "a.tar", samples)
    whole = shard.read_bytes()
    size = index_of(shard)["first"].to_pylist()[-1]
    ends = [0, 100, 512, 700, len(recording(300)) + 512, size, size + 512, size + 10_000, size - 512]
    for end in ends:
        shard.write_bytes(whole[:end])
        with pytest.raises(InputError, match="cut off"):
            index_of(shard)
    place = place_of(write_tar(tmp_path / "b.tar", samples) / "x1.wav")
    damaged = bytearray(whole)
    damaged[place.first - 500 : place.first - 400] = bytes(100)
    shard.write_bytes(damaged)
    with pytest.raises(InputError, match=r"damaged \(bad checksum\); decompress it, or write or download it again"):
        index_of(shard)
    for name, content in (("c.tar", b"no tar at all" * 100), ("c.parquet", whole), ("d.parquet", b"PAR1")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=r"is no (tar|parquet) file,"):
            index_of(tmp_path / name)


def test_a_parquet_file_without_audio_is_refused(tmp_path: Path) -> None:
    import pandas as pd

    pd.DataFrame({"label": ["sad"]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet: has no column of audio \(bytes and path\)"):
        index_of(tmp_path / "a.parquet")
