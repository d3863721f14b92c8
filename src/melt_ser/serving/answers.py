"""The answers of the server, as types: FastAPI writes the description of the interface from them."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Window(BaseModel):
    """The answer to a part of a recording."""

    start: float = Field(description="seconds from the beginning")
    end: float = Field(description="seconds from the beginning")
    label: str | None = Field(description="the most probable class; null if the model has no classes")
    probabilities: dict[str, float] = Field(description="of each class, 0 to 1")
    attributes: dict[str, float] = Field(description="the number of each attribute that the model rates, on its scale")
    note: str | None = Field(None, description="why the answer means nothing, such as silence; otherwise null")


class Labelled(BaseModel):
    """The answer to a recording."""

    file: str = Field(description="the name of the upload")
    seconds: float = Field(description="length of the recording")
    label: str | None = Field(description="the most probable class of the whole recording; null without classes")
    probabilities: dict[str, float] = Field(description="of each class for the whole recording, 0 to 1")
    attributes: dict[str, float] = Field(description="of the whole recording, each on its scale")
    windows: list[Window] = Field(description="the answers over time; empty if none were asked for")
    notes: list[str] = Field(description="sentences to know before using the answer")
    peaks: list[float] = Field(description="the waveform to draw: the largest magnitude of each of equal parts, 0 to 1")


class Error(BaseModel):
    """An answer without a result."""

    error: str = Field(description="one sentence with the reason")


class Health(BaseModel):
    """Whether the server answers."""

    status: str = Field(description="ok")


class Bin(BaseModel):
    """The answers of the test whose confidence lay in a range."""

    confidence: float = Field(description="mean probability of the answer, 0 to 1")
    accuracy: float = Field(description="share of right answers, 0 to 1")
    n: float = Field(description="answers")


class Score(BaseModel):
    """The run's result on a test corpus, answered with the classes that the corpus has."""

    corpus: str
    split: str
    utterances: int
    classes: list[str]
    ua: float = Field(description="unweighted accuracy (mean recall), 0 to 1")
    ua_ci95: list[float] | None = Field(description="95 % interval")
    chance: float = Field(description="UA of guesses, 0 to 1")
    ece: float | None = Field(description="expected calibration error, 0 to 1")
    calibration: list[Bin] = Field(description="by confidence: what a probability was worth on this corpus")


class Rating(BaseModel):
    """The run's result on a test corpus for an attribute."""

    corpus: str
    split: str
    attribute: str
    utterances: int
    ccc: float | None = Field(description="concordance correlation coefficient, -1 to 1")
    ccc_ci95: list[float] | None = Field(description="95 % interval")
    rmse: float | None = Field(description="root mean squared error, on the scale of the attribute in that corpus")


class LimitFacts(BaseModel):
    """The limits of a request."""

    upload_megabytes: float
    audio_seconds: float
    stream_seconds: float
    requests: int = Field(description="labelled or waiting at once")
    timeout_seconds: float
    window_seconds: list[float] = Field(description="the shortest and the longest window")


class ModelFacts(BaseModel):
    """The model that answers, in short; its card (`model/README.md`) has all."""

    name: str
    version: str = Field(description="of melt_ser")
    classes: list[str] = Field(description="the labels, in the order of the model's outputs; empty without classes")
    attributes: dict[str, list[float]] = Field(description="lowest and highest value of each attribute")
    models: int = Field(description="whose mean is the answer")
    backbone: str | None
    trained_on: str | None
    scores: list[Score] = Field(description="of classes; empty if no result lies beside the model")
    ratings: list[Rating] = Field(description="of attributes; empty if no result lies beside the model")
    warnings: list[str]
    limits: LimitFacts
