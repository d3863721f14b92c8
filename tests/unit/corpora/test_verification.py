"""Verification of a release: clips are decoded once, an interrupted one is resumed, and listed rules judge clips."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from xxhash import xxh3_64_hexdigest

from corpus_trees import emodb_tree, tone
from melt_ser.cli.compose import load_dataset
from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError
from melt_ser.corpora import verification
from melt_ser.corpora.corpus import same_audio
from melt_ser.corpora.fold_split import FoldSplit, shared_audio, shared_audio_warnings
from melt_ser.corpora.load import load_corpus
from melt_ser.corpora.table import make_table
from melt_ser.corpora.verification import RULES_VERSION, Measurements, is_clipped, judge, rules, verify


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded, in order."""
    names: list[str] = []
    genuine = verification.verify_clip

    def counting(root: Path, audio: str, *segment: float | None) -> object:
        names.append(audio)
        return genuine(root, audio, *segment)

    monkeypatch.setattr(verification, "verify_clip", counting)
    return names


def tones(root: Path, number_of_clips: int) -> pd.DataFrame:
    """Write clips that all differ, and return their table."""
    names = [f"clip{number}.wav" for number in range(number_of_clips)]
    for number, name in enumerate(names):
        tone(root / name, frequency=200 + number)
    return make_table([{"utterance": name, "source": name, "audio": name, "label": "x"} for name in names])


def test_verification_decodes_a_clip_once_while_its_file_stays_the_same(tmp_path: Path, decoded: list[str]) -> None:
    table = tones(tmp_path, 3)
    first, kept = verify(tmp_path, table)
    assert kept and len(decoded) == 3
    again, _ = verify(tmp_path, table.iloc[::-1])
    assert len(decoded) == 3
    assert again["content_hash"].tolist() == first["content_hash"].tolist()[::-1]

    tone(tmp_path / "clip1.wav", seconds=0.7)
    changed, _ = verify(tmp_path, table)
    assert decoded[3:] == ["clip1.wav"]
    assert changed["duration"].tolist() == [0.4, 0.7, 0.4]
    verify(tmp_path, table, force=True)
    assert len(decoded) == 7


def test_a_clip_with_other_samples_under_its_size_and_time_is_decoded_again(tmp_path: Path, decoded: list[str]) -> None:
    """As a tool writes that keeps time stamps, or a second copy of the corpus that moves into its place."""
    table = tones(tmp_path, 2)
    first, _ = verify(tmp_path, table)
    for number, put in enumerate((Path.write_bytes, lambda path, content: moved_onto(path, content))):
        path = tmp_path / f"clip{number}.wav"
        times = path.stat()
        content = path.read_bytes()
        put(path, content[:-2] + bytes([1, 2]))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert (path.stat().st_size, path.stat().st_mtime_ns) == (times.st_size, times.st_mtime_ns)
    again, _ = verify(tmp_path, table)
    assert decoded[2:] == ["clip0.wav", "clip1.wav"]
    assert not set(again["content_hash"]) & set(first["content_hash"])


def moved_onto(path: Path, content: bytes) -> None:
    path.with_name("other").write_bytes(content)
    path.with_name("other").rename(path)


def test_measurements_of_an_earlier_version_are_made_again(tmp_path: Path, decoded: list[str]) -> None:
    """The earlier version did not note when a file was changed last."""
    table = tones(tmp_path, 2)
    first, _ = verify(tmp_path, table)
    (file,) = Measurements(tmp_path).folder.glob("*.parquet")
    content = pd.read_parquet(file).drop(columns="changed").to_parquet(index=False)
    file.unlink()
    (file.parent / f"1-{xxh3_64_hexdigest(content)}.parquet").write_bytes(content)
    again, kept = verify(tmp_path, table)
    assert kept and len(decoded) == 4
    pd.testing.assert_frame_equal(first, again)
    assert len(Measurements(tmp_path).read()) == 2


def test_an_interrupted_verification_is_resumed(
    tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "CHUNK", 4)
    table = tones(tmp_path, 10)

    class Killed(BaseException):
        pass

    def killed_at_the_sixth(outcomes: Iterator[object], total: int) -> Iterator[object]:
        yield from islice(outcomes, 6)
        raise Killed

    with pytest.raises(Killed):
        verify(tmp_path, table, progress=killed_at_the_sixth)
    known = Measurements(tmp_path)
    assert sorted(known.read()["audio"]) == ["clip0.wav", "clip1.wav", "clip2.wav", "clip3.wav"]

    decoded.clear()
    totals: list[int] = []

    def counted(outcomes: Iterator[object], total: int) -> Iterator[object]:
        totals.append(total)
        return outcomes

    verify(tmp_path, table, progress=counted)
    assert totals == [6] and sorted(decoded) == [f"clip{number}.wav" for number in range(4, 10)]
    assert len(list(known.folder.glob("*.parquet"))) == 1


def test_a_damaged_file_of_measurements_only_costs_time(tmp_path: Path, decoded: list[str]) -> None:
    table = tones(tmp_path, 2)
    first, _ = verify(tmp_path, table)
    (file,) = Measurements(tmp_path).folder.glob("*.parquet")
    file.write_bytes(file.read_bytes()[:100])
    again, kept = verify(tmp_path, table)
    assert kept and len(decoded) == 4
    pd.testing.assert_frame_equal(first, again)


def test_a_clip_that_cannot_be_decoded_is_verified_again(tmp_path: Path) -> None:
    table = tones(tmp_path, 2)
    good = (tmp_path / "clip0.wav").read_bytes()
    times = (tmp_path / "clip0.wav").stat()
    (tmp_path / "clip0.wav").write_bytes(b"\0" * len(good))
    os.utime(tmp_path / "clip0.wav", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert verify(tmp_path, table)[0]["reason"][0].startswith("unreadable")
    (tmp_path / "clip0.wav").write_bytes(good)
    os.utime(tmp_path / "clip0.wav", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert verify(tmp_path, table)[0]["reason"].tolist() == [None, None]


def test_verification_measures_each_segment_of_a_file(tmp_path: Path, decoded: list[str]) -> None:
    tone(tmp_path / "long.wav", seconds=2.0)
    rows = [{"audio": "long.wav", "start": start, "end": end} for start, end in ((0.0, 0.5), (0.5, 1.5), (1.5, None))]
    for _ in range(2):
        assert verify(tmp_path, make_table(rows))[0]["duration"].tolist() == [0.5, 1.0, 0.5]
    assert len(decoded) == 3


def test_a_verification_cache_that_cannot_be_written_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emodb_tree(tmp_path / "emodb", emotions="WF")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MELT_SER_CACHE", str(tmp_path / "file"))
    corpus = load_corpus(dataset("emodb", tmp_path / "emodb"))
    assert len(corpus.table) == 20
    assert any("could not be kept" in note for note in corpus.notes)


def dataset(name: str, root: Path) -> DatasetConfig:
    config = load_dataset(name)
    config.root = str(root)
    return config


def measured(**columns: list[object]) -> pd.DataFrame:
    usual = {"duration": 1.0, "sample_rate": 16_000, "peak": 0.5, "clipped": 0.0, "reason": None}
    rows = len(next(iter(columns.values())))
    return pd.DataFrame({**{name: [value] * rows for name, value in usual.items()}, **columns})


def test_rules_refuse_with_a_reason_and_their_limits() -> None:
    config = DatasetConfig(minimum_seconds=0.5, maximum_seconds=2.0)
    assert judge(measured(duration=[0.5, 0.49, 2.0, 2.1]), config).tolist() == [
        None,
        "too short: 0.490 s is under dataset.minimum_seconds=0.5",
        None,
        "too long: 2.1 s is over dataset.maximum_seconds=2.0",
    ]
    assert judge(measured(peak=[9e-5, 1.1e-4]), config).tolist() == ["silent: no sample above -80 dBFS", None]
    loud = measured(clipped=[0.0009, 0.001, 0.19, 0.2])
    assert is_clipped(loud).tolist() == [False, True, True, True]
    assert judge(loud, config).tolist() == [None, None, None, "clipped: 20 % of the samples are at full scale"]
    unread = measured(reason=["unreadable: x"], duration=[float("nan")], peak=[float("nan")])
    assert judge(unread, config).tolist() == ["unreadable: x"]


def test_every_reason_of_verification_is_one_of_the_listed_rules(tmp_path: Path) -> None:
    """A result counts clips by the words before the colon of their reasons."""
    table = tones(tmp_path, 8)
    wave = np.sin(np.arange(8000.0))
    soundfile.write(tmp_path / "clip6.wav", np.stack([wave, -wave], axis=1), 16_000)
    soundfile.write(tmp_path / "clip7.wav", 9000 * wave, 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "clip1.wav", np.zeros(8000), 16_000)
    soundfile.write(tmp_path / "clip2.wav", np.sign(np.sin(np.arange(8000.0) + 0.5)), 16_000)
    (tmp_path / "clip3.wav").write_bytes(b"RIFF")
    tone(tmp_path / "clip4.wav", seconds=0.05)
    (tmp_path / "clip5.wav").unlink()
    config = DatasetConfig(maximum_seconds=0.45)
    tone(tmp_path / "clip0.wav", seconds=0.5)
    reasons = [reason.split(":")[0] for reason in judge(verify(tmp_path, table)[0], config)]
    others = ["unreadable", "too short", "unreadable", "channels cancel", "integer scale"]
    assert reasons == ["too long", "silent", "clipped", *others]
    assert set(reasons) < set(rules(config)) and rules(config)["version"] == RULES_VERSION


def test_a_corpus_notes_the_files_that_differ_from_their_headers(tmp_path: Path) -> None:
    stems = emodb_tree(tmp_path, emotions="WF")
    config = dataset("emodb", tmp_path)
    assert not any("headers" in note for note in load_corpus(config).notes)
    path = tmp_path / "wav" / f"{stems[0]}.wav"
    path.write_bytes(2 * path.read_bytes())
    for _ in range(2):  # the second time from the cache
        corpus = load_corpus(config)
        found = f"wav/{path.name} holds 2 recordings one after the other, and all were read as one"
        assert f"files that are damaged or differ from their headers: 1; the first: {found}" in corpus.notes
    assert corpus.table.set_index("utterance").loc[stems[0], "duration"] == 0.8


def test_a_changed_limit_of_a_rule_needs_no_second_decoding(tmp_path: Path, decoded: list[str]) -> None:
    emodb_tree(tmp_path, emotions="WF")
    config = dataset("emodb", tmp_path)
    assert len(load_corpus(config).table) == len(decoded) == 20
    config.minimum_seconds = 1.0
    with pytest.raises(InputError, match=r"No clip of 'emodb'.*too short: 0\.400 s"):
        load_corpus(config)
    assert len(decoded) == 20


def split_of(table: pd.DataFrame) -> FoldSplit:
    return FoldSplit(None, *(table[table["split"] == part] for part in ("train", "dev", "test")))


def test_shared_audio_finds_identical_audio_across_the_parts_of_a_split() -> None:
    rows = [("a", "s1", "h1", "train"), ("b", "s2", "h1", "test"), ("c", "s3", "h2", "dev"), ("d", "s3", "h2", "dev")]
    table = pd.DataFrame(rows, columns=["utterance", "source", "content_hash", "split"])
    assert same_audio(table)["utterance"].tolist() == ["a", "b"], "c and d are declared to be one recording"
    assert shared_audio(split_of(table)).to_numpy().tolist() == [["train", "a", "test", "b"]]
    (sentence,) = shared_audio_warnings("mine", split_of(table))
    assert sentence.startswith("'mine' has 1 pair of identical audio")
    assert "a (train) and b (test)" in sentence
    assert shared_audio_warnings("mine", split_of(table.iloc[:1])) == []


def test_copies_in_a_release_are_the_corpus_duplicates(tmp_path: Path) -> None:
    frequencies = count(200)
    stems = emodb_tree(tmp_path, lambda path: tone(path, frequency=next(frequencies)), emotions="WF")
    copy = tmp_path / "wav" / f"{stems[0][:-1]}b.wav"
    copy.write_bytes((tmp_path / "wav" / f"{stems[0]}.wav").read_bytes())
    assert load_corpus(dataset("emodb", tmp_path)).duplicates["utterance"].tolist() == [stems[0], copy.stem]


def test_real_corpora_have_no_duplicates(shared_data: Path) -> None:
    for name, rate in (("emodb", 22_050), ("urdu", 44_100)):
        corpus = load_corpus(dataset(name, shared_data / name))
        assert corpus.dropped.empty and corpus.duplicates.empty
        assert set(corpus.clips["sample_rate"]) == {rate}
