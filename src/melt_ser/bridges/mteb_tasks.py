"""Corpora as tasks of mteb, in the protocol of its emotion task CREMA_D and with unseen speakers.

    import melt_ser, mteb
    from melt_ser.bridges.mteb import encoder_of_backbone
    from melt_ser.bridges.mteb_tasks import RandomFolds, UnseenSpeakers

    corpus = melt_ser.load_corpus("emodb", "/data/emodb", folds=5)
    mteb.evaluate(encoder_of_backbone("wavlm_tiny"), tasks=[RandomFolds(corpus), UnseenSpeakers(corpus)])

mteb fits a logistic regression to eight clips of each class, and reports the accuracy. In CREMA_D it draws them from
four of five random folds and tests on the fifth, so that the speakers of the test part are in the training part too.
`RandomFolds` does the same; its figures say nothing about speakers that are not trained on.
Source: `mteb/tasks/classification/eng/cremad.py` and `mteb/abstasks/classification.py` of mteb 2.26.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import pandas as pd

from melt_ser.audio import SAMPLE_RATE
from melt_ser.bridges.mteb import needs_mteb
from melt_ser.core.console import say
from melt_ser.data.datasets import WaveformDataset
from melt_ser.runs.labelled_corpus import LabelledCorpus

with needs_mteb():
    from mteb.abstasks.classification import AbsTaskClassification
    from mteb.abstasks.task_metadata import TaskMetadata


UNWRITTEN = ("zxx-Zxxx",)


class _CorpusTask(AbsTaskClassification):  # type: ignore[misc]
    """A task over the clips of a corpus that have a class, decoded to 16 kHz."""

    input_column_name = "audio"
    label_column_name = "label"

    protocol: str  # of the name
    description: str
    eval_split: str

    def __init__(self, corpus: LabelledCorpus) -> None:
        """Prepare the task `<corpus>_<protocol>`; the audio is decoded when mteb asks for it."""
        self.corpus = corpus
        super().__init__()

    @cached_property  # mteb deletes the metadata of an instance with its data
    def metadata(self) -> Any:
        """Return the description that mteb needs; audio has no script (Zxxx), and the language does not matter."""
        return TaskMetadata(
            name=f"{self.corpus.name}_{self.protocol}",
            description=self.description,
            dataset={"path": f"melt_ser/{self.corpus.name}", "revision": self.corpus.release.digest},
            type="AudioClassification",
            category="a2c",
            modalities=["audio"],
            eval_splits=[self.eval_split],
            eval_langs=self._languages(),
            main_score="accuracy",
            task_subtypes=["Emotion classification"],
            is_public=False,
        )

    def _languages(self) -> list[str] | dict[str, list[str]]:
        return list(UNWRITTEN)

    def _dataset(self, table: pd.DataFrame) -> Any:
        """Return rows of the corpus table as a data set of mteb: decoded audio, and the number of the class."""
        import datasets

        clips = WaveformDataset(table, self.corpus.root, self.corpus.classes, do_normalize=False)
        audio = {"array": datasets.List(datasets.Value("float32")), "sampling_rate": datasets.Value("int32")}
        features = datasets.Features({"audio": audio, "label": datasets.Value("int64")})
        rows = (clips[row] for row in range(len(clips)))
        columns = [({"array": waveform.numpy(), "sampling_rate": SAMPLE_RATE}, label) for waveform, label, _ in rows]
        audios, labels = zip(*columns, strict=True)
        return datasets.Dataset.from_dict({"audio": list(audios), "label": list(labels)}, features).with_format("numpy")


class RandomFolds(_CorpusTask):
    """mteb's protocol of CREMA_D: five random folds, which share speakers."""

    is_cross_validation = True
    protocol = "random_folds"
    description = "Emotions by five random folds, which share speakers: no speaker of the test is new."
    eval_split = "train"

    def load_data(self, **_: Any) -> None:
        """Decode the corpus, and say that its folds share speakers."""
        say(f"note: {self.metadata.name}: random folds share speakers; the score is not that of unseen speakers.")
        self.dataset = {"train": self._dataset(self.corpus.table)}
        self.data_loaded = True


class UnseenSpeakers(_CorpusTask):
    """The folds of the corpus, by speaker: ten draws of eight clips of each class from train, in each fold."""

    protocol = "unseen_speakers"
    description = "Emotions of speakers that are not trained on; dev belongs to train."
    eval_split = "test"

    def _languages(self) -> dict[str, list[str]]:
        """Return a subset of mteb's for each fold."""
        return {f"fold{number}": list(UNWRITTEN) for number in range(1, len(self.corpus.folds) + 1)}

    def load_data(self, **_: Any) -> None:
        """Decode the corpus, for each fold."""
        self.dataset = {
            name: {"train": self._dataset(pd.concat([split.train, split.dev])), "test": self._dataset(split.test)}
            for name, split in zip(self.hf_subsets, self.corpus.folds, strict=True)
        }
        self.data_loaded = True
