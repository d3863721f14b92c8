"""`python -m melt_ser.evaluate <run> dataset=<name>`: score a finished run, or a published classifier, on a corpus."""

from __future__ import annotations

import sys

from omegaconf import DictConfig

from melt_ser.cli.launch import launch


def evaluate(composed: DictConfig) -> None:
    """Score every model of a run, or a published classifier, on a corpus; print the rows that its result gets."""
    from melt_ser.cli.checks import check_eval
    from melt_ser.cli.compose import typed
    from melt_ser.cli.overrides import is_chosen
    from melt_ser.config import EvaluateConfig
    from melt_ser.core.console import finish, show, verification_bar
    from melt_ser.core.device_name import check_device_name
    from melt_ser.core.errors import SetupError
    from melt_ser.core.locks import exclusive_lock
    from melt_ser.core.processes import is_main_process
    from melt_ser.corpora.load import load_corpus
    from melt_ser.runs.folder import RESULT_FILE
    from melt_ser.runs.model_card import write_card
    from melt_ser.runs.published_classifier import is_published, published_system
    from melt_ser.runs.rating_table import rating_tables
    from melt_ser.runs.rescore import finished_system
    from melt_ser.runs.run_figures import draw_figures
    from melt_ser.runs.table import evaluation_table
    from melt_ser.training.main_process import main_process_first

    if not is_chosen("dataset"):
        raise SetupError("evaluate needs a test corpus: add dataset=<name>.")
    config = typed(composed, EvaluateConfig)
    check_device_name(config.device)
    check_eval(config.eval)
    if config.eval.reference is not None:
        raise SetupError(
            "eval.reference is for train: the run's own command with it scores a finished run against those labels; "
            "evaluate reads the labels of the corpus, or dataset.label_file."
        )
    if config.eval.corpora is not None:
        raise SetupError("eval.corpora is for train; evaluate scores one corpus a command, dataset=<name>.")
    # An error of the run, or of the classifier, comes before the corpus is verified.
    system = published_system(config) if is_published(config.run) else finished_system(config)
    folder = system.folder
    name = config.dataset.name
    config.dataset.root = config.eval.roots.get(name, config.dataset.root)
    config.dataset.target = system.target
    with main_process_first(config.device):
        corpus = load_corpus(config.dataset, progress=verification_bar)
    with exclusive_lock(folder, waits=True):  # another `evaluate` may be adding its rows
        result = system.score(corpus)
        if is_main_process():
            draw_figures(folder, result, config.eval.figures, [name])
            write_card(folder, result)
    evals = [row for row in result.evals if row.corpus == name]
    if evals:
        show(evaluation_table(evals))
    for table in rating_tables([row for row in result.ratings if row.corpus == name]):
        show(table)
    finish(folder / RESULT_FILE)


def main() -> int:
    from melt_ser.cli.overrides import with_run
    from melt_ser.cli.published_classifier import with_classifier

    sys.argv[1:] = with_classifier(with_run(sys.argv[1:]))
    return launch("evaluate", evaluate)


if __name__ == "__main__":
    sys.exit(main())
