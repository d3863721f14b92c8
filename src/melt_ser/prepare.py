"""`python -m melt_ser.prepare dataset=<name> dataset.root=<release>`: verify a release and say what is in it."""

from __future__ import annotations

import sys

from omegaconf import DictConfig

from melt_ser.launch import launch


def prepare(composed: DictConfig) -> None:
    from melt_ser.config import PrepareConfig
    from melt_ser.console import say, verification_bar
    from melt_ser.corpora.corpus import load_corpus
    from melt_ser.errors import OutputError
    from melt_ser.launch import typed
    from melt_ser.reporting.preparation import summarise
    from melt_ser.reporting.preparation_report import print_files, print_report, write_report

    config = typed(composed, PrepareConfig)
    corpus = load_corpus(config.dataset, force=config.force, progress=verification_bar)
    summary = summarise(corpus, config.labels)
    print_report(summary)
    try:
        print_files(write_report(corpus, summary))
    except OutputError as error:
        say(f"note: the report could not be kept: {error}")


def main() -> int:
    return launch("prepare", prepare)


if __name__ == "__main__":
    sys.exit(main())
