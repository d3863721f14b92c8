"""The types of a run's files: `result.json`, the marks of a started run and a finished fold, the note of a failure.

docs/results.md explains each key. Metrics, confidences and bounds of intervals are fractions in 0..1, times are
seconds, and None means not known, or does not apply. Results of schema version 1 call the answer set `protocol` and
may lack the fields that have a default here. A report reads a `ResultSummary`, without details: that is fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from melt_ser.core import files
from melt_ser.evaluation.metrics import METRICS
from melt_ser.evaluation.rating_score import INTERVAL_MARKS as INTERVAL_MARKS
from melt_ser.evaluation.rating_score import ONE_SPEAKER as ONE_SPEAKER
from melt_ser.evaluation.rating_score import Fold as Fold
from melt_ser.evaluation.rating_score import Interval as Interval
from melt_ser.evaluation.rating_score import RatingScore as RatingScore
from melt_ser.evaluation.rating_score import interval_mark

SCHEMA_VERSION = 2
RERUN_HINT = "run again with force=true"

ELSEWHERE = "elsewhere; may have seen the test"
"""`train.corpus` of a published classifier, in the place of a name: tables show it, and no corpus can be called so."""

POOLED, MEAN, ENSEMBLE = "all", "mean", "ensemble"  # over all folds; docs/results.md tells them apart
Count = int | float  # of utterances; a mean over models may be a fraction


def training_of(corpus: str) -> str:
    """Return "trained on emodb" for `train.corpus`, or "trained elsewhere; may have seen the test"."""
    return f"trained {corpus}" if corpus == ELSEWHERE else f"trained on {corpus}"


class Inputs(Struct, kw_only=True):
    """`inputs.json`: the corpus and the weights that a run started with, and its findings before the training."""

    corpus: str
    digest: str  # SHA-256 of the corpus table with the decoded audio
    weights: str | None  # the commit on the hub, or the SHA-256 of the files; the opensmile version; None: random
    step_seconds: int | None = None  # the seconds that trainer.step_seconds=auto found
    sounds: str | None = None  # SHA-256 of the noise and the impulse responses that clips are augmented with


class FoldTraining(Struct):
    """`fold.json`, the mark of a finished fold."""

    best_epoch: int | None  # None for a probe
    dev_ua: float | None  # of the best epoch, or of the chosen settings; None: the model has no classes
    seconds: float = 0.0
    chosen: dict[str, Any] = {}  # the settings of a probe that dev chose: layers, inverse_regularisation, temperature
    dev_value: float | None = None  # of the score that chose (`train.dev_metric`); None in older files: UA chose

    @property
    def score(self) -> float | None:
        """Return the score that chose; UA in the record of a fold from before other targets."""
        return self.dev_ua if self.dev_value is None else self.dev_value


class Failure(Struct):
    """`failed.json`: the reason why a run failed; deleted when the run starts again."""

    reason: str
    exit_code: int = 1
    command: str = ""
    run: str = ""


class Git(Struct):
    """The commit of the package's checkout; `clean` is false if files were changed."""

    commit: str
    clean: bool


class RunInfo(Struct, kw_only=True):
    """The run: its identity, command, versions and hardware."""

    id: str
    experiment: str | None = None
    command: str | None = None  # the overrides that were typed
    git: Git | None = None  # None for an installed wheel
    versions: dict[str, str] = {}
    device: str | None = None
    processes: int | None = None
    precision: str | None = None
    seed: int
    seconds: float  # of training, all folds together


class FoldInfo(Struct, kw_only=True):
    """A fold's model: its folder in the run folder, the sizes of its parts in utterances, and its training."""

    fold: int | None
    folder: str
    n: int | None = None
    n_dev: int | None = None
    n_test: int | None = None
    refit: bool | None = None  # whether the model learned from train and dev, after dev had chosen; None: not recorded
    best_epoch: int | None = None
    dev_ua: float | None = None
    dev_value: float | None = None
    dev_ece: float | None = None
    temperature: float | None = None  # fitted on dev
    seconds: float | None = None
    chosen: dict[str, Any] = {}  # the settings of a probe that dev chose


class TrainInfo(Inputs, kw_only=True):
    """The training: its data, its classes in the order of the model's outputs, and its folds."""

    n: int | None = None  # training utterances; with several folds, all usable utterances of the corpus
    classes: list[str]
    best_epoch: int | None = None  # None with several folds, and for a probe
    dev_ua: float | None = None  # with several folds, their mean; None: the model has no classes
    dev_metric: str = "ua"  # the score on dev that chose the epoch: ua, -kl, ccc or ua+ccc
    dev_value: float | None = None  # that score; with several folds, the mean
    target: str = "class"  # as dataset.target
    scales: dict[str, Interval] = {}  # of the attributes that were learnt
    rules: dict[str, Any] = {}
    dropped: dict[str, int] = {}  # utterances by reason
    folds: list[FoldInfo]
    padding: float | None = None  # share of padding in the computed frames
    sentences: list[str] = []  # the script of a scripted training corpus


class CalibrationPoint(Struct):
    """A bin of confidences: their mean, the share of right answers, and the number of utterances."""

    confidence: float
    accuracy: float
    n: Count


class CalibrationSummary(Struct, kw_only=True):
    """The calibration error after applying the temperature that was fitted on dev."""

    ece_with_temperature: float | None = None


class Calibration(CalibrationSummary, kw_only=True):
    """Expected calibration error, the temperature fitted on dev (the mean over folds), and the reliability curve."""

    ece: float
    temperature: float | None = None
    temperature_at_bound: bool = False  # of one fold or more: the fit found no best value
    curve: list[CalibrationPoint]


class Slice(Struct):
    """The scores of the utterances with one value of a column, such as one speaker; `value` None: all others."""

    by: str
    value: str | None
    n: int
    ua: float
    wa: float


class Unscored(Struct):
    """A test corpus that could not be read, and the reason."""

    corpus: str
    reason: str


class EvaluationFields(Struct, kw_only=True):
    """A row of `evals`: the model of one fold, or those of all folds, on one corpus with one answer set.

    The metrics are fields too, by the names of `METRICS`, with their intervals as `<name>_ci95`.
    """

    corpus: str
    split: str  # train, dev, test, or all if the corpus is used whole
    fold: Fold
    answer_set: str = ""  # closed: the model answers with the classes that the corpus has; open: with all of its own
    protocol: str | UnsetType = UNSET  # the name of `answer_set` in schema version 1
    digest: str = ""
    n: int
    dropped: dict[str, int]
    classes: list[str]
    ece: float | None = None
    calibration: CalibrationSummary | None = None
    ci_unit: str = "utterance"  # unit of resampling of the intervals: speaker or utterance
    models: int = 1  # that answered each utterance
    precision: str = "fp32"  # of the computation: fp32, tf32 or bf16
    spread: dict[str, float] = {}  # if the row is a mean: standard deviation over models, by metric
    interval_note: str = ""  # why there is no interval, or what limits it
    overlap: int = 0  # recordings that the model was trained on
    predictions: str = ""  # CSV in the run folder
    groups: str | UnsetType | None = UNSET  # CSV of an older result: the unit of resampling of each utterance

    def __post_init__(self) -> None:
        if isinstance(self.protocol, str):
            self.answer_set, self.protocol = self.protocol, UNSET
        if not self.answer_set:
            raise ValueError("Object missing required field `answer_set`")

    def value(self, metric: str) -> float | None:
        """Return a metric of METRICS by its name; None in a result that is older than the metric."""
        value: float | None = getattr(self, metric)
        return value

    def known_value(self, metric: str) -> float:
        """Return a metric that every result has."""
        value = self.value(metric)
        assert value is not None, metric
        return value

    def interval(self, metric: str) -> list[float] | None:
        """Return the 95 % interval [low, high] of a metric; None if it has none."""
        bounds: list[float] | None = getattr(self, f"{metric}_ci95", None)
        return bounds

    @property
    def interval_mark(self) -> str:
        """Return the one of INTERVAL_MARKS that says what the intervals are over."""
        return interval_mark(self.ci_unit, self.interval_note)

    @property
    def chance(self) -> float:
        """Return the UA of guesses among the classes that may be answered, each as likely as the others."""
        return 1 / max(len(self.classes), 1)


def _metric_fields() -> list[tuple[str, Any] | tuple[str, Any, Any]]:
    """Return the fields that METRICS adds to a row; results of schema version 1 lack the optional ones."""
    values = [(name, float) if metric.required else (name, float | None, None) for name, metric in METRICS.items()]
    intervals = [(f"{name}_ci95", Interval | None, None) for name, metric in METRICS.items() if metric.has_interval]
    return [*values, *intervals]


if TYPE_CHECKING:
    EvaluationSummary = EvaluationFields
else:
    EvaluationSummary = msgspec.defstruct(
        "EvaluationSummary", _metric_fields(), bases=(EvaluationFields,), kw_only=True, module=__name__
    )


class Evaluation(EvaluationSummary, kw_only=True):
    """A row of `evals` with all its details."""

    confusion: list[list[Count]]  # rows are references, columns answers, in the order of `classes`
    calibration: Calibration | None = None  # the summary has a part of it
    ci95_over_utterances: dict[str, Interval] = msgspec.field(default_factory=dict)
    recall: dict[str, float | None] = msgspec.field(default_factory=dict)  # by class; None if it does not occur
    predicted: dict[str, Count] = msgspec.field(default_factory=dict)  # number of answers by class
    slices: list[Slice] | None = None
    warnings: list[str] = msgspec.field(default_factory=list)


Row = TypeVar("Row", bound=EvaluationFields)


class _Result(Struct, Generic[Row], kw_only=True):
    """`result.json`. `config` is the resolved configuration, in the shape of `melt_ser.config.Config`."""

    schema_version: int
    run: RunInfo
    config: dict[str, Any]
    train: TrainInfo
    evals: list[Row]
    ratings: list[RatingScore] = []
    one_rater: list[RatingScore] = []  # one rater against the others on the same utterances
    unscored: list[Unscored] = []
    warnings: list[str]

    @property
    def is_published(self) -> bool:
        """Return whether the result is of a published classifier, which was not trained here."""
        return self.train.corpus == ELSEWHERE

    def whole_evals(self) -> list[Row]:
        """Return all rows; in a run with several folds, those over all folds, without the ensemble."""
        return [row for row in self.evals if len(self.train.folds) == 1 or row.fold in (POOLED, MEAN)]

    def whole_ratings(self) -> list[RatingScore]:
        """Return all rows of ratings; in a run with several folds, those over all folds, without the ensemble."""
        return [row for row in self.ratings if len(self.train.folds) == 1 or row.fold in (POOLED, MEAN)]

    def closed_evals(self) -> list[Row]:
        """Return those of `whole_evals` in which the model answers with the classes that the test corpus has."""
        return [row for row in self.whole_evals() if row.answer_set == "closed"]


Result = _Result[Evaluation]
ResultSummary = _Result[EvaluationSummary]


def write_result(path: Path, result: Result) -> None:
    """Write `result.json` in the current schema version."""
    result.schema_version = SCHEMA_VERSION
    files.write_json(path, msgspec.to_builtins(result))
