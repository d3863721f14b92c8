"""Every corpus of the project states its source, its licence and its contents."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest

from checkout import CHECKOUT
from melt_ser.cli.compose import load_dataset
from melt_ser.config import DatasetConfig
from melt_ser.corpora.download.transfer import checksum
from melt_ser.corpora.download.unpack import is_archive
from melt_ser.info import names

GENERAL = {"csv", "hub", "audformat", "shards", "union"}  # they read any corpus, so only the user knows its facts
UNKNOWN_LABELS = {"asvp_esd": 1}  # one clip has label 17, and no source explains it
RELEASES = [name for name in names("dataset") if name not in GENERAL and not name.startswith("demo")]


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest) -> DatasetConfig:
    return load_dataset(request.param)


def test_every_dataset_has_its_facts(release: DatasetConfig) -> None:
    assert release.licence and release.access and release.facts and release.expected and release.protocols
    assert release.language or release.name in ("asvp_esd", "esd")  # several languages
    assert release.sampling_rate is not None
    assert release.speakers is not None or "podcast" in release.name  # not known of every clip


def test_dataset_licences_and_facts_name_their_source(release: DatasetConfig) -> None:
    assert re.search(r" by |\(|no licence|not stated|not clear|agreement|registration|request", release.licence)
    assert re.search(
        r"list|README|Readme|readme|paper|counted|page|manifest|as its users report|as commonly", release.facts
    )


def test_expected_counts_agree_with_each_other_and_with_the_label_map(release: DatasetConfig) -> None:
    assert set(release.expected_labels) <= set(release.label_map)
    if release.expected_labels:
        unknown = UNKNOWN_LABELS.get(release.name, 0)
        assert sum(release.expected_labels.values()) + unknown == sum(release.expected.values())


def test_expected_counts_of_meld_and_melt_are_those_of_the_released_files(shared_data: Path) -> None:
    for name, files, column in (
        ("meld", [f"meld/{split}_sent_emo.csv" for split in ("train", "dev", "test")], "Emotion"),
        ("melt", ["melt/meld_train.csv", "melt/meld_test.csv"], "llm_label"),
        ("melt_human", ["melt/meld_train.csv", "melt/meld_test.csv"], "Emotion"),
    ):
        table = pd.concat([pd.read_csv(shared_data / file, encoding="utf-8-sig") for file in files])
        config = load_dataset(name)
        assert table[column].value_counts().to_dict() == config.expected_labels
        assert table["Speaker"].nunique() == config.speakers
        assert len(table) == sum(config.expected.values())


def test_download_addresses_are_web_archives_with_checksums(release: DatasetConfig) -> None:
    for item in release.download:
        address = urlsplit(item.url)
        assert address.scheme in ("http", "https") and address.netloc
        assert is_archive(address.path) or address.path.endswith(".csv")
        assert item.checksum is None or re.fullmatch("sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", item.checksum)
    text = (CHECKOUT / "conf" / "dataset" / f"{release.name}.yaml").read_text(encoding="utf-8")
    assert not release.download or "ot tried where this was written" in text


def test_download_checksums_of_meld_and_melt_are_those_of_the_released_files(shared_data: Path) -> None:
    known = {}
    for name in ("meld", "meld_audio", "melt", "melt_human"):
        for item in load_dataset(name).download:
            file = shared_data / name.split("_")[0] / item.url.rpartition("/")[2]
            if file.suffix == ".csv":
                known[name, file.name] = (item.checksum, item.bytes)
                assert item.checksum == f"sha256:{checksum(file, 'sha256')}" and item.bytes == file.stat().st_size
    assert len(known) == 10


def test_the_table_of_corpora_in_the_docs_has_these_facts() -> None:
    made = subprocess.run([sys.executable, CHECKOUT / "scripts" / "corpora_table.py"], capture_output=True, text=True)
    assert made.stdout in (CHECKOUT / "docs" / "corpora.md").read_text(encoding="utf-8"), "run scripts/corpora_table.py"
