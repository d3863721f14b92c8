"""EmoDB: a name gives speaker, sentence and emotion; its two releases are told apart."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus_trees import emodb_tree, placeholder, write_text
from melt_ser.cli.compose import load_dataset
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.labels import map_labels
from melt_ser.corpora.readers import emodb2
from melt_ser.corpora.readers.emodb import ADDED, SENTENCES, SPEAKER_GENDERS, read
from melt_ser.corpora.splits import make_fold_splits
from melt_ser.corpora.table import digest, validate

CONFIG = load_dataset("emodb")
SECOND = load_dataset("emodb2")


def second_release(root: Path) -> tuple[list[str], list[str]]:
    """Write a tree in the layout of EmoDB 2.0, generated from its documentation; return old and added stems.

    Each emotion of each speaker has a clip of the first release and one that 2.0 adds, each with its laryngogram.
    """
    old = emodb_tree(root, placeholder)
    added = [f"{stem[:-1]}b" for stem in old]
    for stem in added:
        placeholder(root / "wav" / f"{stem}.wav")
    for stem in old + added:
        placeholder(root / "laryngo" / f"{stem}.wav")
    write_text(root / "db.yaml", "name: emodb\n")
    header = "file,emotion,emotion.confidence,emotion.naturalness\n"
    write_text(root / ADDED, header + "".join(f"wav/{stem}.wav,anger,0.45,0.5\n" for stem in added))
    laryngograms = header + "".join(f"laryngo/{stem}.wav,anger,0.45,0.5\n" for stem in added)
    write_text(root / "db.laryngo.emotion.categories.ambiguous.csv", laryngograms)
    return old, added


def test_emodb_name_gives_speaker_sentence_and_emotion(tmp_path: Path) -> None:
    placeholder(tmp_path / "wav" / "08b03Tc.wav")
    release = read(tmp_path, CONFIG)
    row = release.table.iloc[0]
    assert (row.utterance, row.source, row.audio) == ("08b03Tc", "emodb/08b03Tc", "wav/08b03Tc.wav")
    assert (row.speaker, row.gender, row.language, row.label, row.split) == ("08", "female", "de", "T", "")
    assert row.text == "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht."
    assert release.skipped == []


@pytest.mark.parametrize("name", ["03a01Wa.wav", "WAV/03a01Wa.WAV", "03A01WA.WAV", "03a01wa.flac", "03a01W.wav"])
def test_emodb_copies_in_other_folders_and_spellings_are_read(tmp_path: Path, name: str) -> None:
    placeholder(tmp_path / name)
    table = read(tmp_path, CONFIG).table
    assert table["audio"].tolist() == [name]
    assert table[["speaker", "label"]].to_numpy().tolist() == [["03", "W"]]
    assert table["utterance"][0] in ("03a01Wa", "03a01W")


def test_emodb_uses_a_clip_in_two_formats_once(tmp_path: Path) -> None:
    placeholder(tmp_path / "wav" / "03a01Wa.flac")
    placeholder(tmp_path / "wav" / "03a01Wa.wav")
    release = read(tmp_path, CONFIG)
    assert release.table["audio"].tolist() == ["wav/03a01Wa.wav"]
    assert [(p.audio, "03a01Wa.wav" in p.reason) for p in release.skipped] == [("wav/03a01Wa.flac", True)]


def test_emodb_lists_unknown_names_and_ignores_hidden_files(tmp_path: Path) -> None:
    for name in ("03a01Wa.wav", "99a01Wa.wav", "03a01Xa.wav", "._03a01Wa.wav", "readme.txt"):
        placeholder(tmp_path / "wav" / name)
    release = read(tmp_path, CONFIG)
    assert release.table["utterance"].tolist() == ["03a01Wa"]
    assert [item.audio for item in release.skipped] == ["wav/03a01Xa.wav", "wav/99a01Wa.wav"]


def test_emodb_without_a_release_names_the_path_and_the_fix(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"nowhere.wav.*dataset\.root=.*emodb\.bilderbar\.info"):
        read(tmp_path / "nowhere", CONFIG)


NAMES = st.tuples(
    st.sampled_from([*SPEAKER_GENDERS, "01", "99"]),
    st.sampled_from([*SENTENCES, "a03", "c01"]),
    st.sampled_from("WLEAFTNX"),
    st.sampled_from(["", "a", "b", "1"]),
).map("".join)


@settings(max_examples=30)
@given(stems=st.sets(NAMES, min_size=1, max_size=20))
def test_emodb_makes_every_file_a_row_or_skips_it(tmp_path_factory: pytest.TempPathFactory, stems: set[str]) -> None:
    root = tmp_path_factory.mktemp("emodb")
    for stem in stems:
        placeholder(root / "wav" / f"{stem}.wav")
    release = read(root, CONFIG)
    audio = release.table["audio"].tolist() + [item.audio for item in release.skipped]
    assert sorted(audio) == sorted(f"wav/{stem}.wav" for stem in stems)
    for row in release.table.itertuples():
        assert row.speaker in SPEAKER_GENDERS and row.text in SENTENCES.values() and row.label in CONFIG.label_map


def test_emodb_reads_the_whole_generated_tree(tmp_path: Path) -> None:
    stems = emodb_tree(tmp_path, placeholder)
    table = read(tmp_path, CONFIG).table
    validate(table, "emodb")
    assert table["utterance"].tolist() == sorted(stems)
    assert table.groupby("speaker")["label"].nunique().tolist() == [7] * 10


def test_emodb_release_has_the_published_counts(shared_data: Path) -> None:
    release = read(shared_data / "emodb", CONFIG)
    table = release.table
    validate(table, "emodb")
    assert release.skipped == [] and len(table) == CONFIG.expected["all"] == 535
    assert table["label"].value_counts().to_dict() == dict(W=127, L=81, N=79, F=71, A=69, T=62, E=46)
    emotions = map_labels(table["label"], CONFIG.label_map, "emodb")
    assert emotions.value_counts()["bored"] == 81 and emotions.notna().all()
    assert table["speaker"].nunique() == 10 and table["text"].nunique() == 10
    assert table.groupby("gender")["speaker"].nunique().to_dict() == {"female": 5, "male": 5}


def test_emodb_is_the_same_clips_from_both_releases(tmp_path: Path) -> None:
    stems = emodb_tree(tmp_path / "first", placeholder)
    _, added = second_release(tmp_path / "second")
    first, second = (read(tmp_path / name, CONFIG) for name in ("first", "second"))
    assert second.table["audio"].tolist() == [f"wav/{stem}.wav" for stem in sorted(stems)], "no laryngogram"
    assert digest(first.table) == digest(second.table)
    assert first.notes == []
    assert second.notes == ["release 2.0, of which the clips of the first release are used; dataset=emodb2 uses all"]
    reasons = [item.reason.split(":")[0] for item in second.skipped]
    assert reasons.count("recognised by fewer than 80 % of the listeners") == len(added)
    assert reasons.count("a laryngogram, not speech") == 2 * len(added) == len(reasons) - len(added)


def test_emodb2_has_all_clips_in_the_published_split_and_shares_sources_with_emodb(tmp_path: Path) -> None:
    old, added = second_release(tmp_path / "emodb")  # the archive has a folder
    release = emodb2.read(tmp_path, SECOND)
    table = release.table
    validate(table, "emodb2")
    assert table["utterance"].tolist() == sorted(old + added)
    assert table["audio"].str.startswith("emodb/wav/").all()
    assert set(read(tmp_path, CONFIG).table["source"]) <= set(table["source"])
    assert table.groupby("split")["speaker"].unique().map(sorted).to_dict() == {
        "train": ["03", "08", "09", "10", "11"],
        "dev": ["13"],
        "test": ["12", "14", "15", "16"],
    }
    [split] = make_fold_splits(table.assign(**{"class": table["label"]}), SECOND)
    assert (len(split.train), len(split.dev), len(split.test), split.notes) == (70, 14, 56, ())
    assert release.notes == [
        "70 of the 140 clips were recognised by fewer than 80 % of the listeners; most published figures of EmoDB are "
        "without them, as dataset=emodb is"
    ]


def test_emodb2_refuses_the_first_release(tmp_path: Path) -> None:
    emodb_tree(tmp_path, placeholder)
    with pytest.raises(
        SetupError, match=r"first release of EmoDB \(70 clips, .*: use dataset=emodb, or get release 2\.0"
    ):
        emodb2.read(tmp_path, SECOND)


def test_emodb_refuses_the_second_release_without_the_table_that_names_its_clips(tmp_path: Path) -> None:
    stems = [f"{speaker}{text}{emotion}a" for speaker in SPEAKER_GENDERS for text in SENTENCES for emotion in "WLEAFTN"]
    for stem in stems:
        placeholder(tmp_path / "wav" / f"{stem}.wav")
    with pytest.raises(
        InputError, match=rf"has 700 clips of EmoDB, so it is release 2\.0, but lacks {ADDED}, .*emodb2"
    ):
        read(tmp_path, CONFIG)
    assert len(emodb2.read(tmp_path, SECOND).table) == 700  # it needs no table


def test_the_parts_of_emodb2_have_281_clips_more_than_emodb() -> None:
    assert sum(SECOND.expected.values()) == CONFIG.expected["all"] + 281
