"""The whole program's input, as dataclasses: what Hydra composes is checked against these types.

This module imports nothing heavy and nothing of Hydra's: below the edge, everything is plain Python.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Optional, Union

UNION = "union"  # the reader of what is several corpora

# OmegaConf reads these annotations at run time and knows Optional and Union, not `X | None` under
# postponed evaluation, hence the older spelling (and ruff's UP007/UP045 are off for this file).


class Family(str, Enum):
    """Model families that one code path serves."""

    wav2vec2 = "wav2vec2"
    hubert = "hubert"
    wavlm = "wavlm"
    data2vec = "data2vec"


class Kernels(str, Enum):
    """The code that computes a backbone: our faster kernels, or transformers' own forward passes."""

    fast = "fast"
    transformers = "transformers"


class Pooling(str, Enum):
    mean = "mean"
    attention = "attention"
    attentive_statistics = "attentive_statistics"


class Layers(str, Enum):
    """Which hidden states the head reads: the last one, or a learned weighted sum of all."""

    last = "last"
    weighted = "weighted"


class Optimiser(str, Enum):
    adamw = "adamw"
    adam = "adam"


class Schedule(str, Enum):
    linear = "linear"
    cosine = "cosine"
    constant = "constant"


class Balance(str, Enum):
    """What is done about unequal class sizes: nothing, a weighted loss, or weighted sampling."""

    nothing = "nothing"
    loss = "loss"
    sampling = "sampling"


class Precision(str, Enum):
    auto = "auto"  # bf16 where the GPU has it, else fp16 with loss scaling; fp32 on a CPU
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


class Group(str, Enum):
    """What never crosses train, dev and test: a speaker, a session (a dialogue in MELD), or only the recording."""

    speaker = "speaker"
    session = "session"
    source = "source"


@dataclass
class BackboneConfig:
    name: str = "???"
    family: Family = Family.wavlm
    checkpoint: Optional[str] = None  # hub id or local folder; null: random weights from the seed
    revision: Optional[str] = None  # commit of the hub repository
    architecture: dict[str, Any] = field(default_factory=dict)  # overrides for random weights
    learning_rate: float = 2e-5  # the rate this checkpoint fine-tunes at
    freeze: Union[int, str] = "convolution"  # what of this checkpoint fine-tuning keeps fixed (see trainer.freeze)
    layer_drop: float = 0.0
    allow_pickle: bool = False  # read pytorch_model.bin (torch's restricted loader) where there is no safetensors
    kernels: Kernels = Kernels.fast  # fast (ours) or transformers: the same results up to rounding, at their own speed


@dataclass
class ProtocolConfig:
    """One way to split a corpus; the keys are those of the same names in DatasetConfig."""

    group: Group = Group.speaker
    folds: Any = None  # as in DatasetConfig; OmegaConf 2.3 cannot merge a Union within a dict
    split_from: str = ""  # what of the release says its split; without it a run under this protocol is refused


@dataclass
class DownloadConfig:
    url: str = "???"
    checksum: Optional[str] = None  # sha256:<hexadecimal> or md5:<hexadecimal>; null: that of the first download
    bytes: Optional[int] = None
    folder: str = ""  # in the root, where the file lies or the archive is unpacked


@dataclass
class DatasetConfig:
    name: str = "???"
    reader: str = "???"  # module of melt_ser.corpora that reads the release
    root: Optional[str] = None  # null: $MELT_SER_DATA/<name>, else data/<name>
    bundled: Optional[str] = None  # folder of melt_ser/demo that ships with the package
    table: Optional[str] = None  # the CSV of a corpus of one's own
    language: str = ""
    licence: str = ""
    access: str = ""  # how to get the release
    download: list[DownloadConfig] = field(default_factory=list)  # free direct addresses of all of it
    label_column: str = "label"  # of csv and melt
    label_file: Optional[str] = None  # a file of `annotate`, whose labels stand for those of the release
    label_map: dict[str, Optional[str]] = field(default_factory=dict)
    columns: dict[str, Optional[str]] = field(default_factory=dict)  # of csv, hub and audformat: our column: theirs
    parts: Optional[list[str]] = None  # of hub the splits, of audformat the tables to read; null: all
    repository: Optional[str] = None  # owner/name on the Hugging Face hub; null: the data set lies in the root
    revision: Optional[str] = None  # commit of the repository
    subset: Optional[str] = None  # configuration of the data set, where it has several
    protocol: Optional[str] = None  # one of the protocols; null: group and folds as they are set
    protocols: dict[str, ProtocolConfig] = field(default_factory=dict)
    group: Group = Group.speaker  # this and folds win over the protocol's, where they are set
    folds: Optional[Union[int, str]] = None  # leave_one_out, a number, emobox, or null: the release's own split
    fold: Union[int, str] = 1  # 1..folds, or all
    dev_fraction: float = 0.2  # of the training side, where the release has no dev split
    split_seed: int = 0
    emobox: Optional[str] = None  # folder of a checkout of github.com/emo-box/EmoBox, for folds=emobox
    allow_speaker_overlap: bool = False  # speakers (sessions) may be in several parts, and the result says so
    minimum_seconds: float = 0.1
    maximum_seconds: float = 60.0
    sampling_rate: Optional[int] = None  # Hz, of the release
    speakers: Optional[int] = None  # in the release
    expected: dict[str, int] = field(default_factory=dict)  # rows in the release, by split or "all"
    expected_labels: dict[str, int] = field(default_factory=dict)  # rows in the release, by raw label
    facts: str = ""  # where these numbers come from
    synthetic: bool = False
    both_labels: bool = False  # of melt: keep the rows whose label has a class by either source
    members: list[str] = field(default_factory=list)  # of union: the corpora that are trained on together
    left_out: Optional[str] = None  # of union: one of the members, which is not
    roots: dict[str, str] = field(default_factory=dict)  # of union: member: folder of its release
    member_settings: dict[str, Any] = field(default_factory=dict)  # of union: each member's own YAML, filled in


@dataclass
class LabelsConfig:
    name: str = "native"
    classes: Optional[dict[str, list[str]]] = None  # class: emotions; null: what the training corpus has


@dataclass
class HeadConfig:
    name: str = "linear"
    pooling: Pooling = Pooling.mean
    layers: Layers = Layers.last
    hidden_sizes: list[int] = field(default_factory=list)  # [256]: two linear layers, ReLU between
    dropout: float = 0.0


@dataclass
class AugmentConfig:
    name: str = "nothing"
    gain_decibels: float = 0.0
    noise_probability: float = 0.0
    noise_snr_decibels: list[float] = field(default_factory=lambda: [10.0, 30.0])
    speed_factors: list[float] = field(default_factory=lambda: [1.0])
    time_mask_probability: float = 0.0  # the model's own SpecAugment over time
    feature_mask_probability: float = 0.0


@dataclass
class TrainerConfig:
    name: str = "finetune"
    freeze: Union[int, str] = "convolution"  # nothing, convolution, everything, or k: the lowest k layers
    epochs: int = 10
    batch_size: int = 8
    gradient_accumulation: int = 1  # batches a step
    batch_seconds: Optional[float] = None  # audio with padding that is computed at once; null: a batch
    head_learning_rate: float = 1e-3
    backbone_learning_rate: float = 2e-5
    optimiser: Optimiser = Optimiser.adamw
    weight_decay: float = 0.01
    schedule: Schedule = Schedule.linear
    warmup_fraction: float = 0.1
    max_grad_norm: float = 1.0
    balance: Balance = Balance.loss
    label_smoothing: float = 0.0
    patience: Optional[int] = None  # epochs without a better dev UA before stopping
    crop_seconds: Optional[float] = 15.0  # longer training clips are cropped at random; test clips never
    pad_to_crop: bool = False  # shorter training clips are padded with zeros that count as audio
    precision: Precision = Precision.auto
    gradient_checkpointing: bool = False
    tensorboard: bool = False
    workers: Optional[int] = None  # decoding processes; null: none on a CPU, up to 8 beside a GPU


@dataclass
class EvalConfig:
    corpora: Optional[list[str]] = None  # null: the training corpus alone
    roots: dict[str, str] = field(default_factory=dict)  # corpus: folder of its release
    split: str = "test"  # of other corpora with a split of their own; those without are used whole
    batch_size: int = 32
    allow_overlap: bool = False  # score recordings that were trained on, and say so in the result


@dataclass
class CacheConfig:
    """What is kept on disk because it can be computed again, but not as fast; never changes a number."""

    folder: Optional[str] = None  # null: $MELT_SER_CACHE, else ~/.cache/melt_ser
    max_gib: float = 50.0  # of all that is kept under it; what would not fit is computed each time
    features: bool = True  # the frames of a frozen backbone
    audio: bool = True  # decoded clips at 16 kHz, where decoding them each epoch is slower


@dataclass
class Config:
    """Everything `train` reads."""

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    labels: LabelsConfig = field(default_factory=LabelsConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    experiment_name: Optional[str] = None
    seed: int = 0
    out: str = "runs"
    device: str = "auto"  # auto, cpu, cuda, cuda:1, ...
    force: bool = False  # run again although a finished run exists


@dataclass
class EvaluateConfig:
    """Everything `evaluate` reads."""

    run: str = "???"  # folder of a finished run
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    labels: LabelsConfig = field(default_factory=LabelsConfig)  # what a corpus asks for; the run keeps its own
    eval: EvalConfig = field(default_factory=EvalConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    device: str = "auto"


@dataclass
class PrepareConfig:
    """Everything `prepare` reads."""

    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    labels: LabelsConfig = field(default_factory=LabelsConfig)
    download: bool = False  # fetch the corpus first, where it has a free direct address
    force: bool = False  # verify again although nothing changed
