"""Named protocols: the same split whether it is reached by its name or by its keys."""

from __future__ import annotations

import pytest

from melt_ser.cli.compose import compose, load_config
from melt_ser.config import Group
from melt_ser.core.errors import SetupError
from melt_ser.info import names
from melt_ser.runs.identity import identity


def split_of(*overrides: str) -> tuple[str | None, str, object]:
    dataset = load_config(*overrides).dataset
    return dataset.protocol, dataset.group.value, dataset.folds


def test_a_corpus_has_a_protocol_of_its_own_and_others_by_name() -> None:
    assert split_of("dataset=iemocap") == ("sessions", "session", "leave_one_out")
    assert split_of("dataset=iemocap", "dataset.protocol=speakers") == ("speakers", "speaker", "leave_one_out")
    assert split_of("dataset=meld") == ("official", "session", None)
    assert split_of("dataset=emodb") == ("speakers", "speaker", "leave_one_out")


def test_a_key_wins_over_the_protocol_and_the_name_follows_what_results() -> None:
    assert split_of("dataset=iemocap", "dataset.group=speaker") == ("speakers", "speaker", "leave_one_out")
    assert split_of("dataset=emodb", "dataset.protocol=speakers", "dataset.folds=5")[0] == "speaker_folds"
    assert split_of("dataset=emodb", "dataset.folds=3") == (None, "speaker", 3)
    assert split_of("dataset=emodb", "dataset.folds=null") == (None, "speaker", None)
    assert split_of("dataset=csv", "dataset.group=session") == (None, "session", None)


def test_the_run_id_depends_on_the_split_and_not_on_how_it_was_typed() -> None:
    named = identity(load_config("dataset=iemocap", "dataset.protocol=speakers"))
    assert named == identity(load_config("dataset=iemocap", "dataset.group=speaker"))
    assert named != identity(load_config("dataset=iemocap"))
    allowed = ("dataset=iemocap", "dataset.protocol=speakers", "dataset.allow_speaker_overlap=true")
    assert named == identity(load_config(*allowed))


def test_a_wrong_name_is_told_with_the_right_ones() -> None:
    with pytest.raises(SetupError, match="Corpus 'iemocap' has no protocol 'speakrs'; did you mean 'speakers'?"):
        load_config("dataset=iemocap", "dataset.protocol=speakrs")
    with pytest.raises(SetupError, match="'meld' has no protocol 'x'; choose from: official."):
        load_config("dataset=meld", "dataset.protocol=x")


@pytest.mark.parametrize("name", names("dataset"))
def test_a_shipped_corpus_leaves_its_split_to_its_protocols(name: str) -> None:
    composed = compose([f"dataset={name}"]).dataset
    assert set(composed) >= {"protocol", "protocols"}
    for protocol in composed.protocols:
        chosen = load_config(f"dataset={name}", f"dataset.protocol={protocol}").dataset
        assert chosen.protocol == protocol  # no two are the same, and no key of the YAML overrules them
        assert isinstance(chosen.group, Group)
