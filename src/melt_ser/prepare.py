"""`python -m melt_ser.prepare dataset=<name> dataset.root=<release>`: verify a release and report its contents."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from melt_ser.cli.launch import launch
from melt_ser.config import DatasetConfig, PrepareConfig, RecogniserConfig

if TYPE_CHECKING:
    from melt_ser.corpora.corpus import Corpus
    from melt_ser.models.recogniser import Recogniser


def prepare(composed: DictConfig) -> None:
    """Verify a corpus, downloading it first if asked to, print its summary and write the report."""
    from melt_ser.cli.compose import typed
    from melt_ser.core.console import Progress, say, verification_bar
    from melt_ser.core.errors import OutputError, SetupError
    from melt_ser.corpora.load import load_corpus
    from melt_ser.reporting.preparation import print_files, print_report, summarise, write_report

    config = typed(composed, PrepareConfig)
    if config.dataset.members:
        raise SetupError(f"'{config.dataset.name}' is several corpora; prepare each: dataset=<member>.")
    if config.asr and config.dataset.words is not None:
        raise SetupError("asr=true makes a table of words, and dataset.words names one; give one of the two.")
    if not config.asr and config.recogniser != RecogniserConfig():
        raise SetupError("The settings recogniser.* are for asr=true; give it too, or leave them out.")
    recogniser = _read_recogniser(config) if config.asr else None  # before the audio is verified
    if config.download:
        _download(config.dataset)
    corpus = load_corpus(config.dataset, force=config.force, progress=verification_bar)
    with Progress("describing the corpus"):
        summary = summarise(corpus, config.labels)
    print_report(summary)
    try:
        print_files(write_report(corpus, summary))
    except OutputError as error:
        say(f"note: the report could not be kept: {error}")
    if recogniser is not None:
        _recognise(corpus, recogniser, config.recogniser)


def _read_recogniser(config: PrepareConfig) -> Recogniser:
    """Return the recogniser on its device; raise SetupError if a setting is out of its range."""
    from melt_ser.core.errors import SetupError
    from melt_ser.models.recogniser import Recogniser, find_recogniser
    from melt_ser.training.device import make_accelerator

    settings = config.recogniser
    if settings.batch_size < 1:
        raise SetupError(f"recogniser.batch_size is at least 1, not {settings.batch_size}.")
    device = make_accelerator(config.device).device
    recogniser = Recogniser(*find_recogniser(settings.checkpoint, settings.revision), device)
    recogniser.check_language(settings.language)
    return recogniser


def _recognise(corpus: Corpus, recogniser: Recogniser, settings: RecogniserConfig) -> None:
    """Write and report the words that a recogniser hears; those that are cached are not heard again."""
    from melt_ser.core.package import expanded
    from melt_ser.evaluation.recognition import heard_words
    from melt_ser.reporting.recognised import print_recognised, summarise_words, write_recognised

    heard = heard_words(corpus, recogniser, settings.language, settings.batch_size)
    summary = summarise_words(corpus, heard, recogniser.name)
    print_recognised(summary, write_recognised(expanded(settings.out), corpus, heard, summary))


def _download(dataset: DatasetConfig) -> None:
    """Download a corpus into its root; first print its licence and size."""
    from melt_ser.core.console import say, transfer_bar
    from melt_ser.corpora.download.download import download, has_files
    from melt_ser.corpora.download.transfer import size_at
    from melt_ser.corpora.load import own_root

    if dataset.bundled or dataset.repository:
        return  # bundled, or fetched from the hub when it is read
    root = own_root(dataset)
    if has_files(root):
        say(f"note: '{dataset.name}' is already at {root}; nothing is downloaded.")
        return
    if dataset.download:
        say(f"licence of {dataset.name}: {dataset.licence}")
    for item in dataset.download:
        size = item.bytes or size_at(item.url)
        say(f"downloading {item.url} ({f'{size / 1e6:,.1f} MB' if size else 'size not known'}) into {root}")
    download(dataset, root, transfer_bar)


def main() -> int:
    return launch("prepare", prepare)


if __name__ == "__main__":
    sys.exit(main())
