"""`python -m melt_ser.prepare dataset=<name> dataset.root=<release>`: verify a release and report its contents."""

from __future__ import annotations

import sys

from omegaconf import DictConfig

from melt_ser.cli.launch import launch
from melt_ser.config import DatasetConfig


def prepare(composed: DictConfig) -> None:
    """Verify a corpus, downloading it first if asked to, print its summary and write the report."""
    from melt_ser.cli.compose import typed
    from melt_ser.config import PrepareConfig
    from melt_ser.core.console import Progress, say, verification_bar
    from melt_ser.core.errors import OutputError, SetupError
    from melt_ser.corpora.load import load_corpus
    from melt_ser.reporting.preparation import print_files, print_report, summarise, write_report

    config = typed(composed, PrepareConfig)
    if config.dataset.members:
        raise SetupError(f"'{config.dataset.name}' is several corpora; prepare each: dataset=<member>.")
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
