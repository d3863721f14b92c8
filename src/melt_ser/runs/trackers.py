"""The experiment trackers: what a run sends to each, through accelerate's classes.

Each tracker's package is imported when it starts. Its methods raise that package's own errors.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pandas as pd
from accelerate.tracking import GeneralTracker, MLflowTracker, TensorBoardTracker, TrackioTracker, WandBTracker

from melt_ser.core.markdown import raw_table

Scalars = dict[str, float]

DESCRIPTION_TAG = "mlflow.note.content"  # the tag that MLflow's page of a run shows as its description, in Markdown
LONGEST_TAG = 5000  # characters; older servers take no more


class Description(NamedTuple):
    """A run as a tracker shows it.

    project: the name that it stands under. name: the run id. group: the name that reports group runs by, if it has one.
    settings: each setting by its full name; lists and mappings as text. folder: the run folder.
    """

    project: str
    name: str
    group: str | None
    settings: dict[str, str | float]
    folder: Path


class Outcome(NamedTuple):
    """The result of a run as a tracker gets it; see `tracked_values.py`.

    scores: by name. table: a row for each evaluation. facts: what the numbers rest on, by name. warnings: the sentences
    that limit them. figures: PNG files.
    """

    scores: Scalars
    table: pd.DataFrame
    facts: dict[str, str]
    warnings: list[str]
    figures: Sequence[Path] = ()

    @property
    def warnings_text(self) -> str:
        """Return the warnings as a list in Markdown."""
        return "\n".join(f"- {sentence}" for sentence in self.warnings)

    @property
    def facts_table(self) -> pd.DataFrame:
        """Return a row for each fact and each warning, for trackers without a place for them."""
        rows = [*self.facts.items(), *(("warning", sentence) for sentence in self.warnings)]
        return pd.DataFrame(rows, columns=["fact", "value"])


class Tracker(ABC):
    """One tracker's copy of a run."""

    def __init__(self, run: Description, identifier: str | None) -> None:
        """Begin a copy, or continue the one with the `identifier` that an earlier command began."""
        self.run = run
        self.own: Any = self.make(identifier)
        self.own.start()
        if identifier is not None and self.identifier != identifier:
            raise LookupError(f"it has no run {identifier}")
        if identifier is None:
            self.send_settings()

    @abstractmethod
    def make(self, identifier: str | None) -> GeneralTracker:
        """Return accelerate's tracker, not started yet."""

    @property
    @abstractmethod
    def identifier(self) -> str:
        """Return the name by which the tracker finds this copy again."""

    @property
    @abstractmethod
    def place(self) -> str:
        """Return the place of the copy, for a person."""

    def send_settings(self) -> None:
        """Send the settings of a copy that has just begun."""
        self.own.store_init_configuration(self.run.settings)

    def send_epoch(self, values: Scalars, epoch: int, training: str) -> None:
        """Send the metrics of an epoch. training: the part before the names, "" or one that ends with "/"."""
        self.own.log(values, step=epoch)

    @abstractmethod
    def send_result(self, outcome: Outcome) -> None:
        """Send the scores, the table of all evaluations, the facts and warnings, and the figures."""

    def finish(self, complete: bool) -> None:
        """End the copy. complete: False if the run failed or was stopped."""
        self.own.finish()


class TensorBoard(Tracker):
    """Event files in the folder `tensorboard` of the run folder."""

    FOLDER: ClassVar[str] = "tensorboard"

    def make(self, identifier: str | None) -> GeneralTracker:
        if identifier is not None and not (self.run.folder / identifier).is_dir():
            raise LookupError(f"it has no folder {self.run.folder / identifier}")
        return TensorBoardTracker(self.FOLDER, self.run.folder)

    @property
    def identifier(self) -> str:
        return self.FOLDER

    @property
    def place(self) -> str:
        return f"tensorboard --logdir {self.run.folder}"

    def send_settings(self) -> None:
        """Write the settings as text; accelerate would write them to event files in folders of their own."""
        rows = pd.DataFrame({"setting": self.run.settings.keys(), "value": self.run.settings.values()})
        self.own.log({"settings": markdown(rows)}, step=0)

    def send_result(self, outcome: Outcome) -> None:
        from matplotlib.image import imread
        from torch.utils.tensorboard.summary import hparams

        own_page = hparams(self.run.settings, outcome.scores)  # type: ignore[no-untyped-call]
        for summary in own_page:  # so that the page HPARAMS compares runs by their scores
            self.own.writer.file_writer.add_summary(summary)
        texts = {"results": markdown(outcome.table), "facts": markdown(outcome.facts_table)}
        self.own.log({**outcome.scores, **texts}, step=0)
        images = {f"figures/{path.stem}": imread(path)[None, ..., :3] for path in outcome.figures}
        self.own.log_images(images, step=0, dataformats="NHWC")


class WandB(Tracker):
    """Weights & Biases."""

    def __init__(self, run: Description, identifier: str | None) -> None:
        self.has_axis: set[str] = set()  # metrics whose axis wandb knows
        super().__init__(run, identifier)

    def make(self, identifier: str | None) -> GeneralTracker:
        import wandb

        # console: wandb would replace sys.stdout and send all that is printed
        settings = wandb.Settings(console="off", quiet=True)
        known = {} if identifier is None else {"id": identifier, "resume": "must"}
        return WandBTracker(
            self.run.project,
            name=self.run.name,
            group=self.run.group,
            dir=str(self.run.folder),
            settings=settings,
            **known,
        )

    @property
    def identifier(self) -> str:
        return str(self.own.run.id)

    @property
    def place(self) -> str:
        return f"wandb sync {Path(self.own.run.dir).parent}" if self.own.run.offline else str(self.own.run.url)

    def send_epoch(self, values: Scalars, epoch: int, training: str) -> None:
        """Send an epoch with an axis of its own: the steps of wandb only rise, but each fold begins with epoch 1."""
        axis = f"{training}epoch"
        for name in values.keys() - self.has_axis:
            self.own.run.define_metric(name, step_metric=axis)
        self.has_axis |= values.keys()
        self.own.log({axis: epoch, **values})

    def send_result(self, outcome: Outcome) -> None:
        self.own.run.config.update(outcome.facts, allow_val_change=True)
        self.own.run.notes = outcome.warnings_text
        self.own.log(outcome.scores)
        self.own.log_table("results", dataframe=outcome.table)
        self.own.log_images({f"figures/{path.stem}": [str(path)] for path in outcome.figures})

    def finish(self, complete: bool) -> None:
        self.own.run.finish(exit_code=0 if complete else 1)


class MLflow(Tracker):
    """MLflow."""

    def make(self, identifier: str | None) -> GeneralTracker:
        return MLflowTracker(self.run.project, run_id=identifier, run_name=self.run.name)

    @property
    def identifier(self) -> str:
        return str(self.own.active_run.info.run_id)

    @property
    def place(self) -> str:
        import mlflow

        return f"run {self.identifier} in {mlflow.get_tracking_uri()}"

    def send_settings(self) -> None:
        super().send_settings()
        self.own.log_artifact(str(self.run.folder / "config.yaml"))  # a parameter has at most 6,000 characters

    def send_result(self, outcome: Outcome) -> None:
        import mlflow

        tags = {name: cut(value) for name, value in outcome.facts.items()}
        mlflow.set_tags({**tags, DESCRIPTION_TAG: cut(outcome.warnings_text)})
        self.own.log(outcome.scores)
        mlflow.log_text(outcome.table.to_csv(index=False), "results.csv")
        for path in outcome.figures:
            self.own.log_artifact(str(path), "figures")

    def finish(self, complete: bool) -> None:
        import mlflow

        mlflow.end_run("FINISHED" if complete else "FAILED")


class Trackio(Tracker):
    """Trackio."""

    def make(self, identifier: str | None) -> GeneralTracker:
        return TrackioTracker(
            self.run.project,
            name=self.run.name,
            group=self.run.group,
            config=self.run.settings,
            resume="never" if identifier is None else "must",
            embed=False,
            private=True,  # a space of the hub would be public
        )

    @property
    def identifier(self) -> str:
        return str(self.own.run.id)

    @property
    def place(self) -> str:
        return f"trackio show --project {self.run.project}"

    def send_settings(self) -> None:
        """Nothing is left to send: trackio takes the settings at its start, and again when it continues."""

    def send_result(self, outcome: Outcome) -> None:
        import trackio

        images = {f"figures/{path.stem}": trackio.Image(path) for path in outcome.figures}
        tables = {"results": outcome.table, "facts": outcome.facts_table}
        shown = {name: trackio.Table(dataframe=table) for name, table in tables.items()}
        self.own.log({**outcome.scores, **shown, **images})

    def finish(self, complete: bool) -> None:
        import trackio

        trackio.finish()  # unlike accelerate's, it also tells trackio not to finish the run again at the exit


TRACKERS: dict[str, type[Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
    "mlflow": MLflow,
    "trackio": Trackio,
}
"""By the name of the setting in the group `logger`, of the package, and of the extra that brings it."""


def cut(text: str) -> str:
    """Return a text as a tag of MLflow takes it."""
    return text if len(text) <= LONGEST_TAG else f"{text[: LONGEST_TAG - 1]}…"


def markdown(table: pd.DataFrame) -> str:
    """Return a table in Markdown, as TensorBoard shows texts; numbers have four digits."""

    def text(cell: object) -> str:
        if isinstance(cell, float):
            return "" if math.isnan(cell) else f"{cell:.4g}"
        return str(cell).replace("|", "\\|")

    rows = ([text(cell) for cell in row] for row in table.itertuples(index=False))
    return "\n".join(raw_table([text(name) for name in table.columns], rows))
