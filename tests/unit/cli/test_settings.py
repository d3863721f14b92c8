"""Settings: each is documented, old keys name the new ones, and run ids outlive renamed and new settings."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from enum import Enum
from pathlib import Path
from types import ModuleType

import hydra
import pytest

import melt_ser.config
from melt_ser.cli.compose import load_config
from melt_ser.cli.failures import failure_of
from melt_ser.cli.help import VERBS, groups_of, help_text, print_help, strings_under_names
from melt_ser.config import RENAMED, Config
from melt_ser.core.errors import SetupError
from melt_ser.core.package import conf_folder
from melt_ser.runs import identity as identity_module
from melt_ser.runs.identity import identity, plain, settings_of, without_infrastructure

ROOT = Path(__file__).parents[3]
FIRST_RECIPE = (
    "head=linear augment=nothing trainer.epochs=10 trainer.batch_size=8 trainer.label_smoothing=0 trainer.refit=false"
)
FIRST_BACKBONE = "backbone=wavlm_tiny_random backbone.name=wavlm_tiny"  # the default before the package had students
FOLD_3_OF_EMODB = "dataset=emodb dataset.fold=3 backbone=hubert_tiny_random backbone.name=hubert_tiny"
UNION = "dataset=union dataset.members=[demo,emodb]"
IEMOCAP = "dataset=iemocap dataset.protocol=speakers"
PINNED = {
    f"{FIRST_RECIPE} {FIRST_BACKBONE}": "seed0-2b68c09edfc7",
    f"{FIRST_RECIPE} {FIRST_BACKBONE} trainer.balance=nothing": "seed0-2657148b273b",
    f"{FIRST_RECIPE} backbone=wav2vec2_asr backbone.name=wav2vec2 trainer.balance=nothing": "seed0-2b8a82bb321e",
    f"{FIRST_RECIPE} backbone=wavlm": "seed0-08a8e95b19e6",
    f"{FIRST_RECIPE} dataset=meld backbone=wavlm trainer.balance=nothing": "seed0-058a995d83fd",
    f"{FIRST_RECIPE} {FOLD_3_OF_EMODB} seed=4": "seed4-a8d89c99485f",
    f"{IEMOCAP} trainer=frozen_constant trainer.refit=false head=weighted backbone=wav2vec2": "seed0-b97e1c55a2a7",
    f"{FIRST_RECIPE} {FIRST_BACKBONE} {UNION} labels=four augment=light": "seed0-1d20d5436a36",
    "trainer=paper head=paper backbone=hubert_large dataset=melt labels=four trainer.label_smoothing=0.1": (
        "seed0-6550c8ca5339"
    ),
}
BEFORE = {
    f"{FIRST_RECIPE} {FIRST_BACKBONE}": "seed0-6c568ce781bf",
    f"{FIRST_RECIPE} backbone=wavlm": "seed0-715ce78d17c0",
    f"{FIRST_RECIPE} {FOLD_3_OF_EMODB} seed=4": "seed4-be4b837f0eca",
    f"{FIRST_RECIPE} {FIRST_BACKBONE} {UNION} labels=four augment=light": "seed0-71848d8ee3d0",
}


def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("settings_page", ROOT / "scripts" / "settings_page.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_every_setting_and_enum_member_is_documented() -> None:
    texts = strings_under_names()
    for name, node in vars(melt_ser.config).items():
        if dataclasses.is_dataclass(node):
            fields = [field.name for field in dataclasses.fields(node)]
            groups = [field.name for field in dataclasses.fields(node) if str(field.type).endswith("Config")]
            assert set(texts[name]) == set(fields) - set(groups), name
        elif isinstance(node, type) and issubclass(node, Enum) and node is not Enum:
            assert {node[word] for word in texts[name]} == set(node), name  # one name of each, where there are two


def test_the_settings_page_is_up_to_date() -> None:
    fix = "docs/settings.md is stale; run: python scripts/settings_page.py"
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == script().page(), fix


@pytest.mark.parametrize(("config_name", "verb"), VERBS.items())
def test_help_shows_a_sweep_that_the_verb_takes(config_name: str, verb: str) -> None:
    groups = groups_of(config_name, [])
    shown = " ".join(help_text(verb, groups, 100).split())
    swept = re.search(r"with commas \((\w+)=", shown)
    assert swept is not None and swept[1] in {group.name for group in groups if group.choices}
    assert (f"melt_ser.{verb} RUN dataset=NAME [GROUP" in shown) == (verb == "evaluate")


def test_help_shows_the_composed_values_within_the_width() -> None:
    text = help_text("train", groups_of("config", ["backbone=wavlm"]), 100)
    assert "backbone.checkpoint=microsoft/wavlm-base-plus" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "prompt" not in text


@pytest.mark.parametrize("verb", ["evaluate", "prepare"])
def test_each_user_of_a_machine_has_a_folder_for_sweeps(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = set()
    for user in ("ada", "grace"):
        monkeypatch.setenv("USER", user)
        with hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):
            folders.add(hydra.compose(verb, return_hydra_config=True).hydra.sweep.dir)
    assert len(folders) == 2


def test_help_of_a_sweep_shows_the_first_job(capsys: pytest.CaptureFixture[str]) -> None:
    print_help("config", ["--multirun", "seed=3,4", "trainer=probe,frozen"])
    shown = capsys.readouterr().out
    assert "\n  seed=3\n" in shown and "\n  trainer.name=probe\n" in shown


@pytest.mark.parametrize("old", RENAMED)
@pytest.mark.parametrize("sign", ["", "+", "++", "~"])
def test_an_old_key_on_the_command_line_names_the_new_key(sign: str, old: str) -> None:
    with pytest.raises(Exception) as caught:
        load_config(f"{sign}{old}" + ("" if sign == "~" else "=1"))
    failure = failure_of(caught.value, Config)
    assert failure.exit_code == 2
    assert failure.sentence == f"{old} is called {RENAMED[old]} now; use the new key (docs/migration.md)."


def test_an_old_key_in_a_users_yaml_names_the_new_key(tmp_path: Path) -> None:
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "mine.yaml").write_text("name: mine\nclip_norm: 1.0\n")
    with pytest.raises(Exception) as caught:
        groups_of("config", ["trainer=mine"], tmp_path)
    failure = failure_of(caught.value, Config)
    assert failure.sentence.startswith("trainer.clip_norm is called trainer.max_grad_norm now")
    assert failure.exit_code == 2


@pytest.mark.parametrize("typed", PINNED)
def test_run_ids_stay_as_they_were(typed: str) -> None:
    assert identity(load_config(*typed.split())) == PINNED[typed]


@pytest.mark.parametrize("typed", BEFORE)
def test_without_the_computations_that_have_changed_the_ids_are_older_ones(
    typed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity_module, "COMPUTATIONS", {})
    assert identity(load_config(*typed.split())) == BEFORE[typed]


@pytest.mark.parametrize("typed", ["dataset=meld backbone=wavlm", "dataset=emodb2 seed=3"])
def test_a_run_on_a_release_with_its_own_dev_part_draws_none(typed: str) -> None:
    assert "drawn_split" not in settings_of(load_config(*typed.split()))["computation"]
    assert settings_of(load_config(*typed.split(), "dataset.folds=5"))["computation"]["drawn_split"] == 2
    union = load_config("dataset=union", "dataset.members=[meld,emodb]", "labels=four")
    assert settings_of(union)["computation"]["drawn_split"] == 2


def test_a_computation_with_new_numbers_changes_the_ids_of_the_runs_that_use_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weighted, plainly = load_config("dataset=meld"), load_config("dataset=meld", "trainer.balance=nothing")
    now = identity(weighted), identity(plainly)
    monkeypatch.setattr(identity_module, "COMPUTATIONS", {})
    assert identity(weighted) != now[0]
    assert identity(plainly) == now[1]


def test_a_stored_result_says_which_computations_with_new_numbers_it_used() -> None:
    stored = without_infrastructure(settings_of(load_config()))
    assert stored["computation"] == {"balanced_loss": 2, "drawn_split": 2}
    assert "computation" not in settings_of(load_config("dataset=meld", "trainer.balance=nothing"))


def test_a_stored_configuration_with_old_keys_gives_the_same_settings() -> None:
    new = plain(load_config())
    stored = plain(load_config())
    for old, renamed in RENAMED.items():
        (old_group, old_key), (group, key) = old.split("."), renamed.split(".")
        stored[old_group][old_key] = stored[group].pop(key)
    assert stored != new
    assert without_infrastructure(stored) == without_infrastructure(new)
    assert "head_learning_rate" in without_infrastructure(stored)["trainer"], "reports name settings as one types them"


@pytest.mark.parametrize(("typed", "choice"), [("+trainer.epochz=3", "epochs"), ("++dataset.rot=x", "root")])
def test_an_unknown_key_behind_a_plus_is_refused(typed: str, choice: str) -> None:
    with pytest.raises(SetupError, match=f"There is no key .*did you mean '{choice}'"):
        load_config(typed)


def test_a_new_setting_is_hashed_only_if_it_differs_from_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity_module, "AS_BEFORE", {"trainer": {"novel": None}})
    settings = plain(load_config())
    before = without_infrastructure(settings)
    settings["trainer"]["novel"] = None
    assert without_infrastructure(settings) == before
    settings["trainer"]["novel"] = 1
    assert without_infrastructure(settings) != before


def test_a_torchaudio_of_another_build_than_torch_is_told_with_the_command_that_mends_it() -> None:
    error = OSError("Could not load this library: /venv/lib/python3.11/site-packages/torchaudio/lib/_torchaudio.so")
    failure = failure_of(error, Config)
    assert failure.known and failure.exit_code == 2
    assert "pip install torch torchaudio --index-url https://download.pytorch.org/whl/cpu" in failure.sentence
