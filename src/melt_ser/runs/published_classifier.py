"""Score a classifier that somebody else has trained and published, as it is, on a corpus.

    <out>/hub/<owner>--<name>/   result.json  predictions/<corpus>.csv  figures/

The result has the shape of a run's: `train.corpus` is `ELSEWHERE`, since nobody here knows all that it was trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from melt_ser.cli.own_checkpoint import name_of
from melt_ser.cli.published_classifier import HUB, yaml_name
from melt_ser.cli.quoting import shell_setting
from melt_ser.cli.sweep import command
from melt_ser.config import ClassifierConfig, EvaluateConfig, Target
from melt_ser.core import files
from melt_ser.core.console import say
from melt_ser.core.errors import SetupError, did_you_mean
from melt_ser.core.package import expanded
from melt_ser.core.places import refuse_unfit_name
from melt_ser.core.processes import is_main_process
from melt_ser.core.vocabulary import EMOTIONS, SYNONYMS, no_emotion
from melt_ser.corpora.corpus import Corpus
from melt_ser.corpora.labels import LabelSpace
from melt_ser.evaluation.evaluation_sets import EvaluationSet, make_evaluation_set
from melt_ser.evaluation.results import (
    ELSEWHERE,
    SCHEMA_VERSION,
    FoldInfo,
    Result,
    RunInfo,
    TrainInfo,
    write_result,
)
from melt_ser.models.checkpoint_files import CONFIG, DESCRIPTION
from melt_ser.models.outputs import Outputs
from melt_ser.models.published_checkpoint import PublishedCheckpoint, find_published, read_labels
from melt_ser.runs.evaluations import answers_of, evaluation_rows, with_rows
from melt_ser.runs.folder import RESULT_FILE, read_result
from melt_ser.runs.identity import plain
from melt_ser.runs.make_result import device_name, git_state, versions
from melt_ser.runs.warnings import warnings_of_scores

NOTHING_KNOWN = pd.DataFrame({"source": [], "content_hash": []}, dtype=object)  # of what it was trained on


def is_published(run: str) -> bool:
    """Return whether `run=` names a published classifier: a hub id, or the folder of a checkpoint that is not ours."""
    folder = expanded(run)
    ours = (folder / RESULT_FILE).exists() or (folder / DESCRIPTION).exists()
    return run.startswith(HUB) or ((folder / CONFIG).is_file() and not ours)


@dataclass(frozen=True)
class PublishedSystem:
    """A published classifier with its label map and the folder of its results; `space` has its classes."""

    config: EvaluateConfig
    checkpoint: PublishedCheckpoint
    space: LabelSpace
    folder: Path

    @property
    def target(self) -> Target:
        """Return the judgement that the classifier gives."""
        return Target.label

    @property
    def name(self) -> str:
        return self.config.classifier.name or name_of(self.config.run.removeprefix(HUB))

    @property
    def id(self) -> str:
        """Return the identity of the system: a hash of all that its answers depend on."""
        settings = self.config.classifier
        states = None if settings.last_state is None else settings.last_state.value
        answers = [self.checkpoint.weights, sorted(settings.label_map.items()), self.space.classes, states]
        return f"hub-{files.sha256(repr(answers))[:12]}"

    def score(self, corpus: Corpus) -> Result:
        """Score the classifier on a corpus; write and return its result, with new rows in place of old ones.

        Raises SetupError if the folder has results of other weights or another label map, InputError if no utterance of
        the corpus has a class of the classifier.
        """
        result = self._result_so_far()
        scored = make_evaluation_set(corpus, self.space, list(self.space.classes), self.config.eval, NOTHING_KNOWN)
        probabilities, result.run.device = self._predict(scored)
        if not is_main_process():
            return result
        outputs = Outputs(list(self.space.classes))
        answers = answers_of(None, scored, probabilities, outputs, None)
        with_rows(result, evaluation_rows(self.folder, [answers], outputs))
        about_it = self._warnings(result)
        for sentence in about_it:
            say(f"note: {sentence}")
        result.warnings = [*about_it, *warnings_of_scores(result)]
        result.run.command = command()
        if corpus.config.root is not None:  # a report finds the audio of errors there
            result.config["eval"]["roots"][corpus.name] = corpus.config.root
        write_result(self.folder / RESULT_FILE, result)
        return result

    def _predict(self, scored: EvaluationSet) -> tuple[np.ndarray, str]:
        """Return the probabilities, (utterances, classes), in every process, and the name of the device."""
        from melt_ser.data.datasets import WaveformDataset
        from melt_ser.models.published_classifier import load_published
        from melt_ser.runs.probabilities import predict_each
        from melt_ser.training.device import make_accelerator

        settings, accelerator = self.config.classifier, make_accelerator(self.config.device)
        labels = labels_of(settings.label_map, self.space.classes)
        model = load_published(self.checkpoint, labels, settings.last_state, accelerator.device)

        def read(scored: EvaluationSet) -> WaveformDataset:
            return WaveformDataset(scored.table, scored.corpus.root, model.classes, model.backbone.do_normalize)

        (probabilities,) = predict_each([model], [scored], read, self.config.eval.batch_size, accelerator)
        return probabilities, device_name(accelerator.device)

    def _result_so_far(self) -> Result:
        """Return the result in the folder, or one without rows; SetupError if it is of another system."""
        if not (self.folder / RESULT_FILE).exists():
            return self._empty_result()
        result = read_result(self.folder)
        if result.run.id != self.id:
            before, now = result.train.weights, self.checkpoint.weights
            other = "another classifier.label_map, classifier.classes or classifier.last_state"
            other = other if before == now else f"other weights ({before}; now {now})"
            raise SetupError(
                f"{self.folder} has results of {other}; give out=<another folder>, or delete {self.folder}."
            )
        return result

    def _empty_result(self) -> Result:
        """Return a result without rows, with the settings that a report reads."""
        settings, checkpoint = self.config.classifier, self.checkpoint
        backbone = {
            "name": self.name,
            "family": checkpoint.backbone.family,
            "checkpoint": checkpoint.backbone.checkpoint,
            "revision": checkpoint.backbone.revision,
            "pretraining": "emotion",
        }
        return Result(
            schema_version=SCHEMA_VERSION,
            run=RunInfo(id=self.id, git=git_state(), versions=versions(), precision="fp32", seed=0, seconds=0.0),
            config={
                "backbone": backbone,
                "classifier": plain(settings) | {"labels": checkpoint.labels},
                "dataset": {"name": ELSEWHERE},
                "labels": {"classes": self.space.classes},
                **{group: {} for group in ("head", "augment", "trainer")},
                "eval": plain(self.config.eval),
            },
            train=TrainInfo(
                corpus=ELSEWHERE,
                digest="",
                weights=checkpoint.weights,
                classes=list(self.space.classes),
                folds=[FoldInfo(fold=None, folder=".")],
            ),
            evals=[],
            warnings=[],
        )

    def _warnings(self, result: Result) -> list[str]:
        """Return the sentences on a classifier that was trained elsewhere, and on labels that are left out."""
        settings = self.config.classifier
        known = f" (known: {', '.join(settings.trained_on)})" if settings.trained_on else ""
        sentences = [f"'{self.name}' may have seen the test: it was trained elsewhere{known}."]
        seen = [name for name in dict.fromkeys(row.corpus for row in result.evals) if name in settings.trained_on]
        sentences += [f"'{self.name}' was trained on '{name}', so its score there says nothing." for name in seen]
        left_out = [label for label, name in settings.label_map.items() if name is None]
        if left_out:
            sentences.append(
                f"'{self.name}' has labels without a class here ({', '.join(left_out)}): their probability is left out."
            )
        return sentences


def published_system(config: EvaluateConfig) -> PublishedSystem:
    """Find the classifier that `config.run` names, and check its label map.

    Raises SetupError if there is no such classifier, or if its label map is missing or does not fit its labels.
    """
    settings, run = config.classifier, config.run
    if config.family is not None:
        raise SetupError(f"family={config.family} is for a run of a module of your own, not for {run}; leave it out.")
    if not run.startswith(HUB):
        if config.revision not in (None, settings.revision):
            sentence = f"revision={config.revision} is for run={HUB}<owner>/<name>, not for a folder; leave it out."
            raise SetupError(sentence)
        config = replace(config, revision=None)  # the commit in the YAML of the classifier is of its hub repository
    name = yaml_name(run) if run.startswith(HUB) else name_of(run)
    refuse_unfit_name("run", name)
    theirs = run.removeprefix(HUB)
    check_label_map(settings, read_labels(theirs, config.revision), run)
    space = space_of(settings)  # before the weights are downloaded
    checkpoint = find_published(theirs, config.revision, settings.allow_pickle)
    return PublishedSystem(config, checkpoint, space, expanded(config.out) / "hub" / name)


def check_label_map(settings: ClassifierConfig, labels: list[str], run: str) -> None:
    """Raise SetupError if the map lacks a label of the classifier, or has one that is not."""
    label_map = settings.label_map
    if not label_map:
        meant = {label: SYNONYMS.get(label.casefold(), "CLASS_OR_null") for label in labels}
        raise SetupError(
            f"{run} has no label map; its labels are {', '.join(labels)}: map each to a class, or to null to leave it "
            f"out, such as {shell_setting('classifier.label_map', meant)}."
        )
    for label in label_map:
        if label not in labels:
            raise SetupError(f"classifier.label_map: {run} has no label '{label}'; {did_you_mean(label, labels)}")
    missing = [label for label in labels if label not in label_map]
    if missing:
        example = shell_setting(f"classifier.label_map.{missing[0]}", None)
        raise SetupError(
            f"classifier.label_map lacks {', '.join(map(repr, missing))} of {run}; map each to a class or to null, "
            f"such as {example}."
        )


def space_of(settings: ClassifierConfig) -> LabelSpace:
    """Return the classes of a classifier with their emotions, in the order of `classes` or of the vocabulary.

    Raises SetupError if a label is mapped to no class, or a class has no label, or there is only one class.
    """
    mapped = {name for name in settings.label_map.values() if name is not None}
    classes = settings.classes or {name: [name] for name in EMOTIONS if name in mapped}
    for label, name in settings.label_map.items():
        if name is not None and name not in classes:
            claim = f"classifier.label_map maps '{label}' to '{name}'"
            fix = f"{claim}, which is not in classifier.classes; {did_you_mean(name, classes)}"
            raise SetupError(fix if settings.classes else no_emotion(claim, name))
    for name in classes:
        if name not in mapped:
            raise SetupError(f"classifier.classes has '{name}', to which no label is mapped; take it out.")
    if len(classes) < 2:
        raise SetupError("classifier.label_map names fewer than two classes; map labels to two or more.")
    return LabelSpace("published", classes)


def labels_of(label_map: Mapping[str, str | None], classes: Iterable[str]) -> dict[str, list[str]]:
    """Return the labels of each class, in the order of `classes`."""
    return {name: [label for label, mapped in label_map.items() if mapped == name] for name in classes}
