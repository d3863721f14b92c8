"""The search space: a YAML that names settings, each with a range of numbers or a list of choices.

    trainer.head_learning_rate: {low: 1e-4, high: 1e-2, log: true}
    head: [linear, statistics, attention]

A value of a trial is a text, as one types it on the command line: `trainer.head_learning_rate=0.00123`. Numbers of a
range have three significant digits, so that a person can type them.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import typing
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from melt_ser.cli.keys import place_of
from melt_ser.cli.quoting import written
from melt_ser.config import Config, Method, TrainerConfig
from melt_ser.core.errors import SetupError, did_you_mean, first_line
from melt_ser.core.files import sha256
from melt_ser.core.package import conf_folder

if TYPE_CHECKING:
    from optuna.trial import Trial

GROUPS = ("augment", "backbone", "head", "trainer")  # the other settings decide the data, not how well a model learns
OF_RANGE = ("low", "high", "log", "step")


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`. log: their logarithms are equally likely. step: only every `step` from low up."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False

    @property
    def ends(self) -> list[str]:
        """Return the least and the greatest value, as texts."""
        return [self.text(self.low), self.text(self.greatest)]

    @property
    def greatest(self) -> float:
        """Return the greatest value: with a step that does not lead to `high`, the last one below it."""
        return self.high if self.size is None else self.values()[-1]

    @property
    def size(self) -> int | None:
        """Return the number of values; None if every number between the ends is one."""
        step = self.step or (1 if self.whole and not self.log else None)
        return None if step is None else math.floor((self.high - self.low) / step + 1e-9) + 1

    def values(self) -> list[Any]:
        """Return every value, as the study stores it; the range has a finite number of them.

        The sums are of decimal numbers: in binary ones three steps of 0.1 are more than 0.3.
        """
        low, step = (Decimal(str(number)) for number in (self.low, self.step or 1))
        return [(int if self.whole else float)(low + number * step) for number in range(self.size or 0)]

    def suggest(self, key: str, trial: Trial) -> float:
        """Return the value that the study's sampler chooses for a trial."""
        if self.whole:
            return trial.suggest_int(key, int(self.low), int(self.greatest), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(key, self.low, self.greatest, step=self.step, log=self.log)

    def text(self, value: float) -> str:
        """Return a value as one types it."""
        return str(int(value)) if self.whole else written(min(max(float(f"{value:.3g}"), self.low), self.high))


@dataclasses.dataclass(frozen=True)
class Choice:
    """A list of values, as texts; of a group, the names of its YAML files."""

    ends: list[str]

    @property
    def size(self) -> int:
        """Return the number of values."""
        return len(self.ends)

    def values(self) -> list[Any]:
        """Return every value, as the study stores it."""
        return list(self.ends)

    def suggest(self, key: str, trial: Trial) -> str:
        """Return the value that the study's sampler chooses for a trial."""
        return str(trial.suggest_categorical(key, self.ends))

    def text(self, value: str) -> str:
        """Return a value as one types it."""
        return value


@dataclasses.dataclass(frozen=True)
class Space:
    """The searched settings by their keys, and where the space is from, for messages."""

    settings: dict[str, Range | Choice]
    source: str

    @property
    def digest(self) -> str:
        """Return a hash of the settings and their values."""
        plain = {key: dataclasses.asdict(values) for key, values in self.settings.items()}
        return sha256(json.dumps(plain, sort_keys=True))

    @property
    def size(self) -> int | None:
        """Return the number of combinations; None if a setting has a range of any number."""
        sizes = [values.size for values in self.settings.values()]
        return None if None in sizes else math.prod(size for size in sizes if size is not None)

    def suggest(self, trial: Trial) -> dict[str, str]:
        """Return the text of each setting that the study's sampler chooses for a trial."""
        return self.texts({key: values.suggest(key, trial) for key, values in self.settings.items()})

    def texts(self, combination: dict[str, Any]) -> dict[str, str]:
        """Return the values of a combination as one types them."""
        return {key: self.settings[key].text(value) for key, value in combination.items()}

    def combinations(self) -> list[dict[str, Any]]:
        """Return every combination of the values, as the study stores them; the space has a finite `size`."""
        every = itertools.product(*(values.values() for values in self.settings.values()))
        return [dict(zip(self.settings, values, strict=True)) for values in every]

    def without(self, keys: Iterable[str]) -> Space:
        """Return the space without some settings; SetupError if none is left."""
        left = {key: values for key, values in self.settings.items() if key not in set(keys)}
        if not left:
            raise SetupError(f"The command sets every key of {self.source}, so nothing is left to search.")
        return Space(left, self.source)

    def corners(self) -> list[dict[str, str]]:
        """Return combinations in which each end of a range and each choice occurs at least once."""
        first = {key: values.ends[0] for key, values in self.settings.items()}
        others = [first | {key: end} for key, values in self.settings.items() for end in values.ends[1:]]
        return [first, *others]


def default_space(trainer: TrainerConfig) -> Path:
    """Return the YAML of the package for a way to train, in conf/tune."""
    if trainer.method is not Method.gradient:
        name = "probe"
    elif trainer.lora_rank > 0:
        name = "lora"
    else:
        name = "frozen" if trainer.freeze == "everything" else "finetune"
    return Path(conf_folder()) / "tune" / f"{name}.yaml"


def read_space(path: Path) -> Space:
    """Read a space; SetupError, one sentence, if the file, a key or a range is wrong."""
    try:
        read = OmegaConf.to_container(OmegaConf.create(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SetupError(f"--space {path} cannot be read: {error.strerror}; correct the path.") from None
    except (yaml.YAMLError, UnicodeDecodeError, OmegaConfBaseException, ValueError) as error:
        raise SetupError(f"{path} is not YAML in UTF-8 ({first_line(error)}); correct it.") from None
    if not isinstance(read, dict) or not read:
        raise SetupError(f"{path} has no settings; write lines such as 'trainer.batch_size: [16, 32]'.")
    return Space({str(key): _values_of(str(key), value, path) for key, value in read.items()}, str(path))


def _values_of(key: str, value: Any, path: Path) -> Range | Choice:
    kind = _kind_of(key, path)
    if isinstance(value, list):
        if not value:
            raise SetupError(f"{path}: {key} has an empty list; give it at least one value.")
        return Choice([written(item) for item in value])
    if not isinstance(value, dict):
        raise SetupError(
            f"{path}: {key} is {value!r}; give a list of choices, or a range {{low: …, high: …, log: true}}."
        )
    return _range_of(key, value, kind, path)


def _kind_of(key: str, path: Path) -> Any:
    """Return the type of a setting, or str for a group; SetupError if there is none or if it is not searched."""
    if key in GROUPS:
        return str
    try:
        place = place_of(key, Config)
    except SetupError as error:
        raise SetupError(f"{path}: {error}") from None
    if place.setting.partition(".")[0] not in GROUPS:
        raise SetupError(f"{path}: {key} is not searched, only {', '.join(GROUPS)} are; give it in the command.")
    return place.kind


def _range_of(key: str, value: dict[Any, Any], kind: Any, path: Path) -> Range:
    for name in value:
        if name not in OF_RANGE:
            raise SetupError(f"{path}: {key} has no '{name}'; {did_you_mean(str(name), OF_RANGE)}")
    members = {kind, *typing.get_args(kind)}
    if not members & {int, float, Any}:
        raise SetupError(f"{path}: {key} takes no numbers, so it has no range; give a list of choices.")
    are_whole = all(isinstance(value.get(name), int | None) for name in OF_RANGE)
    whole = float not in members and (Any not in members or are_whole)
    for name in ("low", "high", "step"):
        number = value.get(name)
        if number is None and name == "step":
            continue
        if isinstance(number, bool) or not isinstance(number, int if whole else int | float):
            wanted = "a whole number" if whole else "a number"
            raise SetupError(f"{path}: {key} needs {wanted} as '{name}', not {number!r}.")
    low, high, log, step = (value.get(name) for name in OF_RANGE)
    if not isinstance(log, bool | None):
        raise SetupError(f"{path}: {key} has log: {log!r}; give true or false.")
    assert low is not None and high is not None
    if not low < high:
        raise SetupError(f"{path}: {key} has low: {low} and high: {high}; low has to be below high.")
    if log and (low <= 0 or step is not None):
        raise SetupError(f"{path}: {key} has log: true, which needs low above 0 and no step.")
    if step is not None and step <= 0:
        raise SetupError(f"{path}: {key} has step: {step}; it has to be above 0.")
    return Range(low, high, bool(log), step, whole)
