"""The settings of `train`, `evaluate` and `prepare` as dataclasses, with their documentation.

Hydra composes a configuration and checks its types against these classes. The string under each field and each enum
member documents it: `--help` prints it and docs/settings.md holds it. This module imports nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Optional, Union

UNION = "union"  # the reader of dataset=union
AUTO = "auto"  # trainer.step_seconds: the most that fits
RELEASE_LABELS = "release"  # eval.reference: the release's own labels

RENAMED = {
    "trainer.accumulation": "trainer.gradient_accumulation",
    "trainer.clip_norm": "trainer.max_grad_norm",
    "trainer.learning_rate": "trainer.head_learning_rate",
    "trainer.tensorboard": "logger.tensorboard",
}
"""Old key: new key. An old key stops the command, which names the new one. Run ids still use the old key."""

# OmegaConf reads these annotations at run time; Optional and Union are the spelling that all its versions know (ruff's
# UP007 and UP045 are off for this file).


class Kernels(str, Enum):
    """The code that computes a backbone."""

    fast = "fast"
    """this package's faster code"""
    transformers = "transformers"
    """the forward passes of the transformers library"""


class Init(str, Enum):
    """The weights that a backbone starts from."""

    pretrained = "pretrained"
    """those of the checkpoint"""
    random = "random"
    """drawn with the seed, in the checkpoint's architecture: to see what the pretraining gains"""


class Codec(str, Enum):
    """A codec that clips are encoded and decoded with."""

    mp3 = "mp3"
    """MP3, of music and podcasts, at 16 kHz"""
    opus = "opus"
    """Opus, of calls over the internet, at 16 kHz"""
    g711 = "g711"
    """G.711 (mu-law), of landlines: 8 kHz, always at 64 kbit/s"""
    amr = "amr"
    """AMR, of mobile calls: 8 kHz, at the nearest of its rates from 4.75 to 12.2 kbit/s"""


class FigureFormat(str, Enum):
    """The format of a figure's file."""

    png = "png"
    """pixels, for the screen"""
    svg = "svg"
    """vectors, for a page or a drawing program"""
    pdf = "pdf"
    """vectors, for LaTeX"""


class Pooling(str, Enum):
    """How the head turns the frames of a clip into one vector."""

    mean = "mean"
    """the mean over time"""
    statistics = "statistics"
    """the mean and the standard deviation over time, side by side"""
    attention = "attention"
    """a mean with learned weights"""
    attentive_statistics = "attentive_statistics"
    """a mean and a standard deviation with learned weights"""


FIXED_POOLINGS = (Pooling.mean, Pooling.statistics)
"""The poolings without weights."""


class LastState(str, Enum):
    """The last hidden state, for a backbone with a norm behind its last layer."""

    before_norm = "before_norm"
    """the output of the last layer, as in transformers from version 5 on"""
    after_norm = "after_norm"
    """that output after the norm, as in SUPERB's code and in transformers 4"""


class Method(str, Enum):
    """The way to train."""

    gradient = "gradient"
    """steps along the gradient of the loss, epoch by epoch"""
    logistic_regression = "logistic_regression"
    """a probe: fit scikit-learn's logistic regression on the pooled features of the frozen backbone"""
    linear_svm = "linear_svm"
    """a probe with scikit-learn's linear support-vector machine"""


class Optimiser(str, Enum):
    """The optimiser."""

    adamw = "adamw"
    """AdamW (weight decay apart from the gradient)"""
    adam = "adam"
    """Adam"""


class Schedule(str, Enum):
    """The course of the learning rates after the warm-up."""

    linear = "linear"
    """fall in a straight line to 0"""
    cosine = "cosine"
    """fall along a half cosine to 0"""
    constant = "constant"
    """stay the same"""


class Balance(str, Enum):
    """How training makes up for classes of unequal size."""

    nothing = "nothing"
    """not at all"""
    loss = "loss"
    """the loss weighs a clip of a rare class more"""
    sampling = "sampling"
    """clips of rare classes are drawn more often"""


class Precision(str, Enum):
    """The number format of the computation."""

    auto = "auto"
    """bf16 if the GPU has it, otherwise fp16; fp32 on a CPU"""
    fp32 = "fp32"
    """32-bit floating point"""
    bf16 = "bf16"
    """mixed precision with bfloat16"""
    fp16 = "fp16"
    """mixed precision with 16-bit floating point and loss scaling"""


class ScorePrecision(str, Enum):
    """The number format in which a model answers."""

    fp32 = "fp32"
    """32-bit floating point: an answer does not depend on the batch or the device, up to 1e-5"""
    tf32 = "tf32"
    """matrix products of a CUDA GPU with 10 bits of mantissa"""
    bf16 = "bf16"
    """mixed precision with bfloat16"""


class Group(str, Enum):
    """The recordings that stay together in one of train, dev and test."""

    speaker = "speaker"
    """all recordings of a speaker"""
    session = "session"
    """all recordings of a session (in MELD: a dialogue)"""
    source = "source"
    """only the segments of one recording"""


class DevGroup(str, Enum):
    """The recordings that stay together in one of train and dev, if dev is cut from train."""

    speaker = "speaker"
    """all recordings of a speaker"""
    session = "session"
    """all recordings of a session"""
    dialogue = "dialogue"
    """all recordings of a dialogue (IEMOCAP, MELD and MELT)"""
    source = "source"
    """only the segments of one recording"""


class Target(str, Enum):
    """The judgement of each clip that a model learns."""

    vars()["class"] = "class"  # the word for settings, which read names; Python has no such name, so `label` is another
    label = "class"
    """one class for each clip, from its label"""
    distribution = "distribution"
    """the shares of the classes among the votes of several raters"""
    attributes = "attributes"
    """numbers on a scale, such as arousal and valence"""
    several = "several"
    """the class and the attributes"""


class ClassLoss(str, Enum):
    """The loss of the classes."""

    cross_entropy = "cross_entropy"
    """cross-entropy with the label, or with the shares of the votes"""
    divergence = "divergence"
    """Kullback-Leibler divergence from the shares of the votes; its gradient is that of the cross-entropy"""
    multi_label = "multi_label"
    """a binary cross-entropy for each class: it is right if its share is above 1 / classes (all-inclusive rule)"""
    focal = "focal"
    """focal loss: clips that are already right count less (Lin et al., ICCV 2017)"""
    logit_adjusted = "logit_adjusted"
    """cross-entropy with the log of each class's share added to its logit (Menon et al., ICLR 2021)"""
    vector_scaling = "vector_scaling"
    """VS loss: logits are also scaled, less for rare classes (Kini et al., NeurIPS 2021)"""


class AttributeLoss(str, Enum):
    """The loss of the attributes."""

    concordance = "concordance"
    """1 - CCC (concordance correlation coefficient) over the clips of a batch"""
    squared_error = "squared_error"
    """mean squared error, on a scale from -1 to 1"""


class Smoothing(str, Enum):
    """The classes that label smoothing spreads a part of the target over."""

    uniform = "uniform"
    """all classes alike"""
    confusability = "confusability"
    """the classes that raters choose beside a clip's own, as often as they do so in the training part"""


class RaterVote(str, Enum):
    """The label of a recording or segment that has several rows, one from each rater."""

    majority = "majority"
    """the label of most of its rows; if two labels have equally many, it is left out"""


@dataclass
class BackboneConfig:
    """The pretrained speech model."""

    name: str = "???"
    """Name of the backbone in tables and results."""
    family: str = "wavlm"
    """Model family of the checkpoint: wav2vec2, hubert, wavlm, data2vec, unispeech, unispeech_sat, wav2vec2_conformer,
    w2v_bert, whisper, or a module of your own; text, which reads the words in place of audio; or egemaps, measured
    features that have no checkpoint."""
    checkpoint: Optional[str] = None
    """Hugging Face hub id or local folder of the pretrained weights. null: random weights drawn from the seed."""
    revision: Optional[str] = None
    """Commit of the hub repository. null: its newest state."""
    pretraining: str = "not stated"
    """Last training of the checkpoint, for `info` and reports: self-supervised, speech recognition, emotion, none …"""
    licence: str = ""
    """Licence of the checkpoint, for the model card and `push`. Empty: not known."""
    init: Init = Init.pretrained
    """Weights to start from, if there is a checkpoint."""
    architecture: dict[str, Any] = field(default_factory=dict)
    """Sizes of a model with random weights, as keys of its transformers configuration. Empty: a tiny model."""
    learning_rate: float = 2e-5
    """Learning rate for this checkpoint: the default of trainer.backbone_learning_rate in trainer=finetune."""
    freeze: Union[int, str] = "convolution"
    """Part of this checkpoint that usually stays fixed: the default of trainer.freeze in trainer=finetune."""
    state: Union[int, str] = "last"
    """Hidden state of this checkpoint that is fine-tuned best, as head.layers: the default of head=one_layer."""
    layers: Optional[int] = None
    """Number of transformer layers that are kept, from the lowest up; the others are not computed. null: all."""
    layer_drop: float = 0.0
    """Probability of skipping a transformer layer in a training step, at least 0 and below 1."""
    pad_to_window: bool = False
    """Only for the family whisper: pad every clip to 30 s, and count the padding as frames, as transformers does."""
    text: Optional[str] = None
    """Hub id or local folder of a text encoder that reads the words (column text) beside the audio: the mean of its
    last states stands behind the pooled frames. It stays frozen. null: the audio alone."""
    text_revision: Optional[str] = None
    """Commit of the text encoder's repository. null: its newest state."""
    allow_pickle: bool = False
    """Read pytorch_model.bin, with torch's restricted loader, if the checkpoint has no safetensors file."""
    kernels: Kernels = Kernels.fast
    """Code that computes the backbone. Both give the same results up to rounding, at different speeds."""

    @property
    def is_random(self) -> bool:
        """Whether the weights are drawn with the seed; a family without weights (egemaps) draws none either."""
        return self.checkpoint is None or self.init == Init.random

    @property
    def text_encoder(self) -> BackboneConfig | None:
        """The settings of the text encoder that stands beside this backbone, as a backbone; None without one."""
        if self.text is None:
            return None
        return BackboneConfig(name="text", family="text", checkpoint=self.text, revision=self.text_revision)


@dataclass
class ProtocolConfig:
    """A named way to split a corpus."""

    group: Group = Group.speaker
    """As dataset.group."""
    folds: Any = None  # not a Union: OmegaConf 2.3 cannot merge a Union within a dict
    """As dataset.folds."""
    split_from: str = ""
    """The part of the release that states the split. If the release lacks it, a run with this protocol stops."""


@dataclass
class DownloadConfig:
    """A file of a corpus that can be downloaded freely."""

    url: str = "???"
    """Address of the file."""
    checksum: Optional[str] = None
    """sha256:<hexadecimal> or md5:<hexadecimal>. null: the checksum of the first download is kept and compared."""
    bytes: Optional[int] = None
    """Size of the file in bytes. null: not known."""
    folder: str = ""
    """Folder in the corpus's root for the file, or for the contents of the archive. Empty: the root itself."""


@dataclass
class DatasetConfig:
    """The corpus, its labels and its split."""

    name: str = "???"
    """Name of the corpus in tables and results."""
    reader: str = "???"
    """Module that reads the release: a name in melt_ser.corpora.readers, or an importable module of your own."""
    root: Optional[str] = None
    """Folder of the release. null: $MELT_SER_DATA/<name> if that variable is set, otherwise data/<name>."""
    bundled: Optional[str] = None
    """Folder in melt_ser/demo, for a corpus that ships with the package. null: the corpus lies in the root."""
    table: Optional[str] = None
    """CSV file of your own corpus (dataset=csv)."""
    language: str = ""
    """Language code, such as en or de."""
    licence: str = ""
    """Licence of the corpus, for the model card and `push`. Empty: not known."""
    access: str = ""
    """How to get the release."""
    download: list[DownloadConfig] = field(default_factory=list)
    """Files that `prepare download=true` fetches. Empty: the corpus has no free direct address."""
    label_column: str = "label"
    """Column of the labels. Only the readers csv and melt use it."""
    label_file: Optional[str] = None
    """Table of labels, as `annotate` writes it or with a column label or emotion; they replace those of the release,
    which then needs none. null: the release's labels."""
    label_map: dict[str, Optional[str]] = field(default_factory=dict)
    """Mapping of each label of the release to an emotion. null leaves out the rows with that label."""
    words: Optional[str] = None
    """Table of the words of each utterance, as `prepare asr=true` writes it or with columns utterance and words; they
    replace the column text of the release. null: the words of the release."""
    target: Optional[Target] = None
    """Judgement of each clip to learn (docs/targets.md). null: class if the corpus has labels, otherwise attributes, or
    else the distribution of its votes."""
    attributes: dict[str, list[Any]] = field(default_factory=dict)  # numbers; OmegaConf would refuse whole ones here
    """Numeric attributes to learn, each with the lowest and highest value of its scale, such as {arousal: [1, 7]}. A
    table of your own has a column for each. Empty: those that the release has, or your columns arousal, valence and
    dominance, with the range of their values as the scale."""
    votes: dict[str, str] = field(default_factory=dict)
    """Mapping of each label to the column with the number or share of its votes. Only the reader csv uses it."""
    raters: Optional[str] = None
    """Table of single ratings, with the columns utterance (or audio), rater, and label or a column for each attribute.
    null: those of the release."""
    rater_vote: Optional[RaterVote] = None
    """How several rows of one recording or segment, one from each rater, become one. Only the readers csv, hub,
    audformat and shards use it. null: such rows stop the run."""
    columns: dict[str, Optional[str]] = field(default_factory=dict)
    """Mapping of our column names to those of the release. Only the readers csv, hub, audformat and shards use it."""
    parts: Optional[list[str]] = None
    """Splits (reader hub) or tables (reader audformat, with * for any letters) to read; null: all. [Test2] of
    msp_podcast; null: Train, Development and Test1."""
    repository: Optional[str] = None
    """Data set on the Hugging Face hub, owner/name (reader hub), or the name of a database of audb (reader audformat).
    null: the data set lies in the root."""
    revision: Optional[str] = None
    """Commit of that repository (null: its newest state), or version of the database (always needed)."""
    subset: Optional[str] = None
    """Configuration of the hub data set, if it has several; the partition of EMO-SUPERB, such as IEMOCAP/Secondary."""
    protocol: Optional[str] = None
    """Named split, one of the protocols. null: group and folds as they are set."""
    protocols: dict[str, ProtocolConfig] = field(default_factory=dict)
    """Named splits of this corpus."""
    group: Group = Group.speaker
    """Recordings that never cross train, dev and test. If set, it wins over the protocol."""
    folds: Optional[Union[int, str]] = None
    """Number of cross-validation folds, leave_one_out (each group is the test part once), release (the release's own
    folds, as EMO-SUPERB has them), or emobox (EmoBox's folds). null: the release's own split, or 5 folds if it has
    none. If set, it wins over the protocol."""
    fold: Union[int, str] = 1
    """Fold that is the test part, from 1 up, or all: train and test every fold, and pool the predictions."""
    dev_fraction: float = 0.2
    """Share of the training side that becomes the dev part, if the split has no dev part of its own."""
    dev_group: Optional[DevGroup] = None
    """Recordings that stay together if dev is cut from train. A finer group than dataset.group gives a dev part of
    speakers that are trained on, and the result says so. null: dataset.group, unless the training side has too few of
    them for dev_fraction; then dialogue if the corpus names its dialogues, otherwise source."""
    split_seed: int = 0
    """Seed of the random split, from 0 up to 4294967295. It is independent of the training seed. The result says so if
    it cannot move a part."""
    emobox: Optional[str] = None
    """Folder of a checkout of github.com/emo-box/EmoBox. It is needed for folds=emobox."""
    checkout: Optional[str] = None
    """Folder of a checkout of github.com/EMOsuperb/EMO-SUPERB-submission (dataset=emo_superb_iemocap and so on). null:
    the root is the checkout, with the audio in data/<corpus>/Audios."""
    allow_speaker_overlap: bool = False
    """Accept speakers (or sessions) in several parts, and record how many. false: such a split stops the run."""
    minimum_seconds: float = 0.1
    """Shorter clips are left out, in seconds."""
    maximum_seconds: float = 60.0
    """Longer clips are left out, in seconds."""
    sampling_rate: Optional[int] = None
    """Sampling rate of the release in Hz, for checking. null: not checked."""
    speakers: Optional[int] = None
    """Number of speakers in the release, for checking. null: not checked."""
    expected: dict[str, int] = field(default_factory=dict)
    """Number of rows in the release for each split, or for "all", for checking."""
    expected_labels: dict[str, int] = field(default_factory=dict)
    """Number of rows in the release for each of its labels, for checking."""
    facts: str = ""
    """Source of these numbers."""
    synthetic: bool = False
    """The audio is artificial, so the results say nothing about speech."""
    both_labels: bool = False
    """Keep only the rows for which the labels of both sources have a class. Only the reader melt uses it."""
    members: list[str] = field(default_factory=list)
    """Corpora to train on together (dataset=union)."""
    left_out: Optional[str] = None
    """One of the members that is not trained on (dataset=union). null: train on all."""
    roots: dict[str, str] = field(default_factory=dict)
    """Mapping of each member to the folder of its release (dataset=union)."""
    member_settings: dict[str, Any] = field(default_factory=dict)
    """Settings of each member (dataset=union). Filled in from the members' YAML files; not set by hand."""


@dataclass
class LabelsConfig:
    """The classes."""

    name: str = "native"
    """Name of the set of classes."""
    classes: Optional[dict[str, list[str]]] = None
    """Mapping of each class to its emotions. Rows with other emotions are left out. null: one class for each
    emotion of the corpus."""


LAYERS = ("last", "weighted", "all", "chosen")
"""The words for head.layers."""


@dataclass
class HeadConfig:
    """The classifier on top of the backbone."""

    name: str = "linear"
    """Name of the head."""
    pooling: Pooling = Pooling.mean
    """How the frames of a clip become one vector."""
    layers: Union[int, str] = "last"
    """Hidden states of the backbone that the head reads: last (the output of the last layer), weighted (a learned
    weighted sum of all), all (side by side), chosen (the one that is best on dev; only trainer=probe), or a number k
    (0 is the input of the first layer, k the output of layer k)."""
    last_state: LastState = LastState.before_norm
    """Last of these states, unless head.layers=last, if the backbone has a norm behind its last layer:
    do_stable_layer_norm in its config.json, as in most large models. With before_norm, plain transformers loads the
    saved model of head=weighted."""
    standardise: bool = False
    """Shift and scale each pooled feature to mean 0 and deviation 1 over the training part, before the linear layers.
    It needs a pooling without weights: mean or statistics."""
    hidden_sizes: list[int] = field(default_factory=list)
    """Sizes of the hidden layers, with ReLU between the layers. []: one linear layer; [256]: two linear layers."""
    dropout: float = 0.0
    """Dropout probability in the head, at least 0 and below 1."""


@dataclass
class ObjectiveConfig:
    """The loss, and the weights of its parts."""

    name: str = "standard"
    """Name of the objective."""
    class_loss: ClassLoss = ClassLoss.cross_entropy
    """Loss of the classes."""
    attribute_loss: AttributeLoss = AttributeLoss.concordance
    """Loss of the attributes."""
    class_weight: float = 1.0
    """Weight of the classes' loss, if dataset.target=several."""
    attribute_weight: float = 1.0
    """Weight of the attributes' loss, the mean over the attributes, if dataset.target=several."""
    learned_weights: bool = False
    """Learn both weights, as the uncertainty of each part (Kendall et al., CVPR 2018), if dataset.target=several."""
    smoothing: Smoothing = Smoothing.uniform
    """Classes that trainer.label_smoothing spreads a part of the target over."""
    focal_gamma: float = 2.0
    """Exponent of the focal loss, at least 0. 0: cross-entropy."""
    adjustment: float = 1.0
    """Factor of the log shares that logit_adjusted and vector_scaling add to the logits."""
    scaling: float = 0.15
    """Exponent of a class's relative size, by which vector_scaling multiplies its logit, at least 0."""
    prior_correction: float = 0.0
    """Power of the classes' shares in the training part that the trained model's probabilities are divided by: 1.0
    makes up for training on classes of unequal size, 0.0 changes nothing. The result says so."""


@dataclass
class AugmentConfig:
    """Random changes to the training clips; several: augment=[room,noise] (docs/augmentation.md)."""

    name: str = "nothing"
    """Name of the augmentation."""
    gain_decibels: float = 0.0
    """Largest random change of level, up or down, in dB. 0: none."""
    noise_probability: float = 0.0
    """Probability of adding noise to a clip, from 0 to 1."""
    noise_snr_decibels: list[float] = field(default_factory=lambda: [10.0, 30.0])
    """Lowest and highest signal-to-noise ratio of that noise, in dB."""
    noise_folder: Optional[str] = None
    """Folder that is searched for recordings of noise; a random part of one is added. null: white noise."""
    speed_factors: list[float] = field(default_factory=lambda: [1.0])
    """Playing speeds to choose from, each from 0.5 to 2. [1.0]: unchanged."""
    pitch_probability: float = 0.0
    """Probability of shifting the pitch of a clip, from 0 to 1; its length stays."""
    pitch_semitones: float = 2.0
    """Largest shift of pitch, up or down, in semitones, above 0 and up to 12."""
    room_probability: float = 0.0
    """Probability of placing a clip in a room, from 0 to 1."""
    room_folder: Optional[str] = None
    """Folder that is searched for impulse responses of rooms; a clip is convolved with a random one."""
    band_limit_probability: float = 0.0
    """Probability of limiting the frequencies of a clip, from 0 to 1."""
    band_limit_hertz: list[float] = field(default_factory=lambda: [300.0, 3400.0])
    """Lowest and highest frequency that remains, in Hz; the default is the band of a telephone."""
    codec_probability: float = 0.0
    """Probability of encoding and decoding a clip, from 0 to 1."""
    codecs: list[Codec] = field(default_factory=lambda: [Codec.mp3, Codec.opus, Codec.g711])
    """Codecs to choose from."""
    codec_kilobits: list[float] = field(default_factory=lambda: [12.0, 48.0])
    """Lowest and highest bit rate, in kbit/s, each from 6 to 160."""
    mixup_probability: float = 0.0
    """Probability of mixing a clip with another training clip, and their labels by the same shares, from 0 to 1."""
    mixup_alpha: float = 0.4
    """Both parameters of the beta distribution of the shares, above 0. Below 1, one of the clips dominates."""
    time_mask_probability: float = 0.0
    """Probability of SpecAugment's masks over time, inside the backbone, from 0 to 1. 0: none."""
    feature_mask_probability: float = 0.0
    """Probability of SpecAugment's masks over features, inside the backbone, from 0 to 1. 0: none."""

    @property
    def masks_input(self) -> bool:
        """Whether the input of the backbone's layers is masked at random."""
        return max(self.time_mask_probability, self.feature_mask_probability) > 0


@dataclass
class TrainerConfig:
    """Training."""

    name: str = "finetune"
    """Name of the training recipe."""
    method: Method = Method.gradient
    """How to train. A probe takes no steps: the settings of steps and epochs do not apply to it."""
    inverse_regularisation: list[float] = field(default_factory=lambda: [1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    """Values of C (scikit-learn) for a probe; dev chooses one. A lower value regularises more."""
    freeze: Union[int, str] = "convolution"
    """Part of the backbone that stays fixed: nothing, convolution (the convolutional encoder), everything, or a
    number k (the convolutional encoder, the projection, the positions and the lowest k transformer layers; -k: all
    but the top k layers). In trainer=finetune it is backbone.freeze unless you set it here."""
    epochs: int = 10
    """Largest number of passes over the training part."""
    batch_size: int = 8
    """Clips in a batch."""
    gradient_accumulation: int = 1
    """Batches in one optimiser step. 1: a step for each batch."""
    batch_seconds: Optional[float] = None
    """Most audio to compute at once, in seconds with padding; larger batches go in pieces. null: a whole batch."""
    step_seconds: Optional[Union[int, str]] = None
    """Steps by audio instead of clips: a step has as many clips of similar length as fit into this many seconds, with
    padding. auto: the most that fits on the GPU, found before the training and kept by the run. The learning rates are
    then multiplied by the square root of the mean clips in a step over batch_size (docs/training.md). null: steps of
    batch_size clips."""
    head_learning_rate: float = 1e-3
    """Learning rate of the head."""
    backbone_learning_rate: float = 2e-5
    """Learning rate of the backbone. trainer=finetune takes it from backbone.learning_rate unless you set it here."""
    lora_rank: int = 0
    """Rank of the adapters of LoRA. They learn in place of the backbone's own weights, with its learning rate, in the
    transformer layers that trainer.freeze leaves, and are merged into the model when the training ends. 0: none."""
    lora_alpha: float = 16.0
    """Scale of the adapters: their output counts lora_alpha / lora_rank times."""
    lora_dropout: float = 0.0
    """Dropout probability of the adapters' input, at least 0 and below 1."""
    lora_targets: list[str] = field(default_factory=list)
    """Linear layers with an adapter, such as [q_proj,v_proj]. []: those of attention and of the feed-forward part."""
    layer_decay: float = 1.0
    """Factor of the backbone's learning rate from each layer to the one below it, above 0 and at most 1. The top layer
    has the full rate; the parts below the layers have the lowest. 1.0: one rate for all."""
    optimiser: Optimiser = Optimiser.adamw
    """Optimiser."""
    weight_decay: float = 0.01
    """Weight decay. 0: none."""
    schedule: Schedule = Schedule.linear
    """Course of the learning rates after the warm-up."""
    warmup_fraction: float = 0.1
    """Share of the steps in which the learning rates rise from 0; at least 0 and below 1."""
    max_grad_norm: float = 1.0
    """Largest norm of the gradient; a larger gradient is scaled down to it. 0: no limit."""
    average: float = 0.0
    """Decay per step of an exponential moving average of the weights that learn, at least 0 and below 1. Dev is scored
    with the average, and it is the model that is kept. In the first steps the decay is lower. 0: no average."""
    balance: Balance = Balance.loss
    """How training makes up for classes of unequal size."""
    label_smoothing: float = 0.0
    """Share of the target that is spread over all classes, at least 0 and below 1."""
    patience: Optional[int] = None
    """Stop after this number of epochs without a better dev score: UA (unweighted accuracy), or that of another target;
    of equal scores the one with the lower loss is better. null: train all epochs."""
    crop_seconds: Optional[float] = 15.0
    """Longer training clips are cut at random to this length, in seconds. Test clips are never cut. null: no cut."""
    crop_places: Optional[int] = None
    """Cut the audio, before the frozen layers, at one of this number of evenly spaced places, at least 2. null: cut at
    any place, and behind the frozen layers, which have then heard the whole clip."""
    pad_to_crop: bool = False
    """Pad shorter training clips to crop_seconds with zeros, after they are normalised. The zeros count as audio."""
    precision: Precision = Precision.auto
    """Number format of the computation."""
    gradient_checkpointing: bool = False
    """Save memory: compute the backbone's intermediate results again in the backward pass."""
    cuda_graphs: bool = False
    """Compute loss and gradients by recorded CUDA graphs, for batches padded to a few shapes. For a GPU and frozen
    convolutions; a training that cannot use them says why. It has not been run on a GPU yet (docs/speed.md)."""
    refit: Union[bool, str] = False
    """When dev has chosen the best epoch, train anew on train and dev for that number of epochs, in which the learning
    rates run through their whole schedule; that model is scored. It takes up to twice the time, and there is no
    temperature. A probe is fitted anew likewise, with the C and the layer that dev has chosen. false: never; true:
    always; cut_dev: only if dev was cut from train, so that a dev part of the release is never trained on, as in
    publications."""
    workers: Optional[int] = None
    """Processes that decode audio. null: none on a CPU, up to 8 with a GPU."""


@dataclass
class EvalConfig:
    """Test corpora."""

    corpora: Optional[list[str]] = None
    """Corpora to test on, such as [emodb,urdu]; only of train. null: the training corpus alone."""
    roots: dict[str, str] = field(default_factory=dict)
    """Mapping of each corpus to the folder of its release."""
    reference: Optional[str] = None
    """Labels that the test part of the training corpus is scored against: a labels file, or release for the release's
    own, so that runs with other labels (dataset.label_file) have one test; only of train. null: the labels that it is
    trained on."""
    split: str = "test"
    """Part of another corpus to test on, if it has a split of its own: train, dev or test. Others are used whole."""
    batch_size: int = 32
    """Clips in a batch of a test."""
    precision: ScorePrecision = ScorePrecision.fp32
    """Number format in which a test is computed; each score in the result says it. Cached features are float32."""
    allow_overlap: bool = False
    """Also score recordings that were trained on; the result records how many."""
    figures: FigureFormat = FigureFormat.png
    """Format of the figures of a run. The same command with another format draws those of a finished run."""


@dataclass
class CacheConfig:
    """Intermediate results on disk, to save time. Kept features are rounded (docs/scale.md)."""

    folder: Optional[str] = None
    """Folder of the cache. null: $MELT_SER_CACHE if that variable is set, otherwise melt_ser in $XDG_CACHE_HOME or
    ~/.cache."""
    max_gib: float = 50.0
    """Largest size of decoded clips and features in the cache, in GiB. What does not fit is computed each time."""
    features: bool = True
    """Keep the output of a frozen backbone."""
    audio: bool = True
    """Keep decoded clips at 16 kHz, if decoding them in each epoch is slower."""


@dataclass
class LoggerConfig:
    """Experiment trackers of a run; several: logger=[mlflow,wandb] (docs/tracking.md)."""

    project: str = "melt_ser"
    """Name that a tracker shows the runs under: the project, in MLflow the experiment."""
    tensorboard: bool = False
    """TensorBoard: event files in the folder tensorboard of the run folder."""
    wandb: bool = False
    """Weights & Biases: its server, or with WANDB_MODE=offline the folder wandb of the run folder."""
    mlflow: bool = False
    """MLflow: the server of MLFLOW_TRACKING_URI, or else mlflow.db in the current folder."""
    trackio: bool = False
    """Trackio: the server of TRACKIO_SERVER_URL, the space of TRACKIO_SPACE_ID, or else a store on this machine."""


@dataclass
class Config:
    """Everything that `train` reads."""

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    labels: LabelsConfig = field(default_factory=LabelsConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    experiment_name: Optional[str] = None
    """Name that reports group runs by. null: none."""
    seed: int = 0
    """Seed of all random numbers of the training, from 0 up to 4294967295."""
    out: str = "runs"
    """Folder that holds the run folders."""
    device: str = "auto"
    """Device to compute on: auto (a GPU if the machine has one), cpu, cuda, cuda:1 …"""
    force: bool = False
    """Run again, even if the run is finished."""


@dataclass
class ClassifierConfig:
    """A published classifier: its labels and our classes. run=hub:<owner>/<name> chooses <owner>--<name> by itself."""

    name: Optional[str] = None
    """Name in tables and results. null: the last part of the hub id or of the folder."""
    label_map: dict[str, Optional[str]] = field(default_factory=dict)
    """Mapping of each label of the classifier to a class. null leaves a label out: the other probabilities are scaled
    to the sum 1. The probabilities of labels with the same class are added."""
    classes: Optional[dict[str, list[str]]] = None
    """Mapping of each class to the emotions of a corpus that count as it. null: a class is the emotion of its name."""
    last_state: Optional[LastState] = None
    """Last hidden state of a weighted layer sum, as head.last_state. null: as the installed transformers does."""
    revision: Optional[str] = None
    """Commit of the hub repository: the default of the key revision."""
    allow_pickle: bool = False
    """Read pytorch_model.bin, with torch's restricted loader, if the checkpoint has no safetensors file."""
    trained_on: list[str] = field(default_factory=list)
    """Corpora that it was trained on, as far as its authors say. Results on them say so."""
    licence: str = ""
    """Licence of the weights."""
    source: str = ""
    """Source of these statements."""


@dataclass
class EvaluateConfig:
    """Everything that `evaluate` reads."""

    run: str = "???"
    """Folder of the finished run; or a published classifier: hub:<owner>/<name>, or the folder of its checkpoint. It
    has to be given."""
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    revision: Optional[str] = None
    """Commit of the hub repository of a published classifier; classifier.revision unless you set it here. null: its
    newest state."""
    out: str = "runs"
    """Folder for the results of a published classifier, in hub/<owner>--<name>. A run keeps its own folder."""
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    labels: LabelsConfig = field(default_factory=LabelsConfig)  # here because a corpus may ask for a set of classes
    eval: EvalConfig = field(default_factory=EvalConfig)
    device: str = "auto"
    """Device to compute on: auto (a GPU if the machine has one), cpu, cuda, cuda:1 …"""
    family: Optional[str] = None
    """Module of your own that is the family of the run's backbone; it is imported. null: a family of melt_ser."""


@dataclass
class RecogniserConfig:
    """The recogniser that writes down the words of a corpus (prepare asr=true)."""

    checkpoint: str = "openai/whisper-small"
    """Whisper with its decoder and tokenizer: hub id or local folder."""
    revision: Optional[str] = None
    """Commit of the hub repository. null: its newest state; the table of words names the one that was read."""
    language: Optional[str] = None
    """Code of the language that is spoken, such as en. null: that of the corpus, or else what the recogniser hears."""
    batch_size: int = 16
    """Clips in a batch, each padded to 30 s."""
    out: str = "words"
    """Folder for the table of words, <corpus>_<checkpoint>.csv, and its report."""


@dataclass
class PrepareConfig:
    """Everything that `prepare` reads."""

    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    labels: LabelsConfig = field(default_factory=LabelsConfig)
    download: bool = False
    """First download the corpus, if it has a free direct address."""
    force: bool = False
    """Verify the corpus again, even if nothing has changed."""
    asr: bool = False
    """Write a table of the words that a recogniser hears in each utterance, for dataset.words (docs/text.md)."""
    recogniser: RecogniserConfig = field(default_factory=RecogniserConfig)
    device: str = "auto"
    """Device of the recogniser: auto (a GPU if the machine has one), cpu, cuda, cuda:1 …"""
