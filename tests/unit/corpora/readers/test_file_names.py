"""Corpora with labels in file names, each tested with the same kind of cases (`naming_cases`)."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import naming_cases_english
import naming_cases_other
from corpus_trees import tone
from melt_ser.cli.compose import load_dataset
from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.labels import EMOTIONS, LabelSpace, map_labels
from melt_ser.corpora.load import load_corpus
from melt_ser.corpora.splits import make_fold_splits
from melt_ser.corpora.table import Release, validate
from naming_cases import plant

CORPORA = {**naming_cases_english.CORPORA, **naming_cases_other.CORPORA}
CONFIGS = {name: load_dataset(name) for name in CORPORA}
SAYS = [(name, path) for name, corpus in CORPORA.items() for path in corpus.says]
VARIANTS = [(name, path) for name, corpus in CORPORA.items() for path in corpus.variants]
UNUSED = [(name, path) for name, corpus in CORPORA.items() for path in corpus.unused]
each_corpus = pytest.mark.parametrize("name", CORPORA)


def read(name: str, root: Path) -> Release:
    release: Release = importlib.import_module(f"melt_ser.corpora.readers.{name}").read(root, CONFIGS[name])
    return release


def read_planted(name: str, root: Path, *paths: str) -> Release:
    plant(root, paths, CORPORA[name].files)
    return read(name, root)


@each_corpus
def test_a_naming_reads_every_label_and_speaker_of_a_whole_tree(name: str, tmp_path: Path) -> None:
    corpus, config = CORPORA[name], CONFIGS[name]
    release = read_planted(name, tmp_path, *corpus.tree)
    validate(release.table, name)
    assert release.skipped == []
    assert len(release.table) == len(corpus.tree)
    assert set(release.table["label"]) == set(config.label_map)
    assert release.table["speaker"].nunique() == config.speakers
    assert (release.table["speaker"] != "").all()


@each_corpus
def test_a_naming_fits_the_folds_of_the_yaml(name: str, tmp_path: Path) -> None:
    config = CONFIGS[name]
    table = read_planted(name, tmp_path, *CORPORA[name].tree).table
    emotions = map_labels(table["label"], config.label_map, name)
    usable = table.assign(**{"class": LabelSpace.native(emotions).classify(emotions)}).dropna(subset=["class"])
    every_fold = make_fold_splits(usable, DatasetConfig(**{**vars(config), "fold": "all"}))
    tested = [utterance for part in every_fold for utterance in part.test["utterance"]]
    assert sorted(tested) == sorted(usable["utterance"])
    for part in every_fold:
        assert part.train["class"].nunique() == part.test["class"].nunique() == usable["class"].nunique()


@pytest.mark.parametrize(("name", "path"), SAYS)
def test_a_naming_reads_the_columns_of_a_name(name: str, path: str, tmp_path: Path) -> None:
    release = read_planted(name, tmp_path, path)
    row = release.table.iloc[0]
    expected = CORPORA[name].says[path]
    assert {column: row[column] for column in expected} == expected
    assert (row["audio"], row["source"]) == (path, f"{name}/{row['utterance']}")


@pytest.mark.parametrize(("name", "path"), VARIANTS)
def test_a_naming_reads_another_copy_as_the_same_row(name: str, path: str, tmp_path: Path) -> None:
    usual = read_planted(name, tmp_path / "usual", CORPORA[name].variants[path]).table
    variant = read_planted(name, tmp_path / "variant", path).table
    assert variant["audio"].tolist() == [path]
    assert variant.drop(columns="audio").equals(usual.drop(columns="audio"))


@pytest.mark.parametrize(("name", "path"), UNUSED)
def test_a_naming_lists_a_file_that_it_does_not_use(name: str, path: str, tmp_path: Path) -> None:
    used = next(iter(CORPORA[name].says))
    release = read_planted(name, tmp_path, used, path)
    assert release.table["audio"].tolist() == [used]
    reasons = [item.reason for item in release.skipped if item.audio == path]
    assert len(reasons) == 1
    assert CORPORA[name].unused[path] in reasons[0]
    # Skipped files are counted by these words, so a file name must not be among them.
    assert Path(path).stem not in reasons[0].split(":")[0].split(" such as ")[0]


@each_corpus
def test_a_naming_uses_a_clip_in_two_places_once(name: str, tmp_path: Path) -> None:
    variant, usual = next(iter(CORPORA[name].variants.items()))
    release = read_planted(name, tmp_path, usual, variant)
    twins = [item.audio for item in release.skipped if "a second file of a clip" in item.reason]
    assert len(release.table) == len(twins) == 1
    assert {release.table["audio"].iloc[0], *twins} == {usual, variant}


def test_visible_files_reads_linked_folders_once_and_files_outside_the_root_are_refused(tmp_path: Path) -> None:
    """Some folders are links, within the root or out of it, as people make them if a disk is full."""
    root, elsewhere = tmp_path / "emovo", tmp_path / "disk"
    for path in ("moved/f1/gio-f1-b1.wav", "f2/gio-f2-b1.wav"):
        tone(root / path)
    tone(elsewhere / "gio-f3-b1.wav")
    (root / "f1").symlink_to(root / "moved" / "f1")
    (root / "a").symlink_to(root / "f2")  # before f2 in the alphabet, but the folder itself counts
    (root / "f2" / "around").symlink_to(root)
    (root / "f3").symlink_to(elsewhere)
    (tmp_path / "link").symlink_to(root)
    corpus = load_corpus(DatasetConfig(**{**vars(CONFIGS["emovo"]), "root": str(tmp_path / "link")}))
    assert corpus.table["audio"].tolist() == ["moved/f1/gio-f1-b1.wav", "f2/gio-f2-b1.wav"]
    assert corpus.dropped[["audio", "reason"]].to_numpy().tolist() == [
        [
            "f3/gio-f3-b1.wav",
            "outside the root: the path or its link leaves the corpus folder; set dataset.root to where the files are",
        ]
    ]


@each_corpus
def test_a_naming_says_how_to_get_a_missing_release(name: str, tmp_path: Path) -> None:
    for root in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(SetupError, match=rf"Corpus '{name}' is not at .*dataset\.root="):
            read(name, root)


@each_corpus
def test_the_yaml_of_a_naming_maps_to_the_vocabulary_and_states_its_facts(name: str) -> None:
    config = CONFIGS[name]
    assert set(config.label_map.values()) <= {*EMOTIONS, None}
    assert all((config.licence, config.access, config.facts, config.sampling_rate, config.expected))
    assert set(config.expected_labels) <= set(config.label_map)
    if config.expected_labels and name != "asvp_esd":  # one of its files has another label and is skipped
        assert sum(config.expected_labels.values()) == config.expected["all"]


@settings(max_examples=60)
@given(data=st.data())
def test_a_naming_makes_every_audio_file_a_row_or_skips_it(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """With names that nearly follow the scheme, no reader fails, loses a file or gives an unknown label."""
    name = data.draw(st.sampled_from(sorted(CORPORA)))
    folder, stem = data.draw(st.sampled_from(CORPORA[name].tree)).rpartition("/")[::2]
    letters = list(stem.removesuffix(".wav").removesuffix(".avi"))
    place = data.draw(st.integers(0, len(letters) - 1))
    letters[place] = data.draw(st.sampled_from(["", "0", "9", "a", "X", "_", "-", " ", "٣", "(1)"]))
    paths = {f"{folder}/{''.join(letters)}.wav".lstrip("/"), *CORPORA[name].tree[:3]}
    root = tmp_path_factory.mktemp("named")
    release = read_planted(name, root, *paths)
    listed = [item.audio for item in release.skipped if item.audio]
    assert sorted([*release.table["audio"], *listed]) == sorted(paths)
    assert set(release.table["label"]) <= set(CONFIGS[name].label_map)


def test_crema_d_notes_that_the_gender_is_not_known(tmp_path: Path) -> None:
    plant(tmp_path, ["AudioWAV/1001_DFA_ANG_XX.wav"], {})
    assert "VideoDemographics.csv" in read("crema_d", tmp_path).notes[0]
    release = read("crema_d", tmp_path / "AudioWAV")  # the demographics may also be in the folder above
    assert "VideoDemographics.csv" in release.notes[0]
    plant(tmp_path, [], CORPORA["crema_d"].files)
    assert read("crema_d", tmp_path / "AudioWAV").table["gender"].tolist() == ["male"]
    (tmp_path / "VideoDemographics.csv").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match=r"VideoDemographics\.csv is not the released CSV"):
        read("crema_d", tmp_path)


def test_esd_counts_the_clips_without_a_text(tmp_path: Path) -> None:
    release = read_planted("esd", tmp_path, "0001/Angry/0001_000351.wav", "0001/Angry/0001_000352.wav")
    assert release.notes == ["1 clips have no line of three columns in the speakers' text files"]


def test_savee_notes_that_most_sentences_belong_to_one_emotion(tmp_path: Path) -> None:
    [note] = read_planted("savee", tmp_path, "AudioData/JE/sa05.wav").notes
    assert "10 of the 15 sentences of each emotion but neutral occur with no other emotion" in note


def test_msp_improv_lists_evaluations_without_audio_and_lines_that_it_cannot_read(tmp_path: Path) -> None:
    lines = "UTD-IMPROV-S01A-F01-S-FM01.avi; A; A:1.0;\nUTD-IMPROV-S01A-F01-S-FM02.avi; N; A:1.0;\nUTD-IMPROV broken\n"
    plant(tmp_path, ["MSP-IMPROV-S01A-F01-S-FM01.wav"], {"Evalution.txt": lines.encode()})  # some copies' spelling
    release = read("msp_improv", tmp_path)
    assert release.table["label"].tolist() == ["A"]
    assert [(item.utterance, item.reason) for item in release.skipped] == [
        ("UTD-IMPROV broken", "line not understood"),
        ("MSP-IMPROV-S01A-F01-S-FM02", "no audio file"),
    ]


def test_msp_improv_without_its_evaluations_names_the_file(tmp_path: Path) -> None:
    plant(tmp_path, CORPORA["msp_improv"].tree[:1], {})
    with pytest.raises(SetupError, match=r"not at .*Evaluation\.txt"):
        read("msp_improv", tmp_path)


@pytest.mark.parametrize(
    ("name", "path", "emotion"),
    [
        ("cafe", "12-C-2-5.aiff", "angry"),
        ("ravdess", "Actor_01/03-01-08-01-01-01-01.wav", "surprised"),
        ("enterface", "subject 1/disgust/sentence 1/s1_di_1.avi", "disgusted"),
    ],
)
def test_load_corpus_decodes_real_audio_in_the_formats_of_the_releases(
    name: str, path: str, emotion: str, tmp_path: Path
) -> None:
    tone(tmp_path / path, sample_rate=48000)
    corpus = load_corpus(DatasetConfig(**{**vars(CONFIGS[name]), "root": str(tmp_path)}))
    assert corpus.table["emotion"].tolist() == [emotion]
    assert corpus.dropped.empty
    assert corpus.table["duration"].iloc[0] == pytest.approx(0.4, abs=0.1)
