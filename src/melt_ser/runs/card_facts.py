"""The parts of a model card's text that come from the result: tables and sentences, escaped for Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import yaml

from melt_ser.core.markdown import code, escaped, table
from melt_ser.core.package import STUDENTS
from melt_ser.core.vocabulary import READ_WORDS, reads_words
from melt_ser.evaluation.metrics import percent, table_metrics
from melt_ser.evaluation.rating_metrics import ATTRIBUTE_METRICS, DISTRIBUTION_METRICS
from melt_ser.evaluation.rating_scores import DISTRIBUTION
from melt_ser.evaluation.results import Evaluation, FoldInfo, Result
from melt_ser.runs.identity import without_infrastructure
from melt_ser.runs.origins import is_student, origins, starts_from_checkpoint, training_corpora
from melt_ser.runs.public_text import public_command, public_settings, without_examples
from melt_ser.runs.rating_table import ATTRIBUTES_MEANING, VOTES_MEANING, rating_legend
from melt_ser.runs.rating_table import shown as shown_rating
from melt_ser.runs.table import fold_text, interval_legend, merged, shown

VERSIONS = ("melt_ser", "torch", "transformers")  # that the card names; result.json has all
SETTLED = (
    "Whether a model is a work derived from its training data is not settled in law. If it is, each licence above "
    "holds for it too, such as its demand for a name, for the same licence, or for no commercial use."
)


def card_facts(result: Result, permission: str | None = None) -> dict[str, Any]:
    """Return the values of the card's template that follow from a result.

    permission: why the model may be passed on although a licence does not plainly say so.
    """
    dataset, backbone = result.config["dataset"], result.config["backbone"]
    words_alone, words_beside = backbone["family"] in READ_WORDS, backbone.get("text") is not None
    words = "the words of an utterance" if words_alone else "a recording of speech"
    return {
        "reads_words": reads_words(backbone),
        "reads_audio": not words_alone,
        "input": f"{words} and its words" if words_beside else words,
        "classes": [escaped(name) for name in result.train.classes],
        "attributes": [f"{escaped(name)} ({low:g} to {high:g})" for name, (low, high) in result.train.scales.items()],
        "ratings": [(escaped(meaning), _lines(lines)) for meaning, lines in _ratings(result)],
        "built": _built(result),
        "results": _lines(_results(result)),
        "legend": escaped(" ".join(interval_legend(result.whole_evals()))),
        "scope": _scope(result),
        "recalls": _lines(_recalls(result)),
        "warnings": [escaped(sentence) for sentence in dict.fromkeys(map(without_examples, result.warnings))],
        "shortest": f"{dataset.get('minimum_seconds', 0.1):g}",
        "longest": f"{dataset.get('maximum_seconds', 60.0):g}",
        "corpora": _lines(_corpora(result)),
        "split": _split(result),
        "left_out": _left_out(result),
        "label_map": _lines(_label_map(result)),
        "unmapped": _unmapped(result),
        "command": _command(result),
        "seed": result.run.seed,
        "precision": result.run.precision or "fp32",
        "versions": ", ".join(f"{name} {result.run.versions.get(name, '(not known)')}" for name in VERSIONS),
        "settings": _settings(result),
        "licences": _lines(_licences(result)),
        "terms": " ".join(_terms(result, permission)),
    }


def _lines(lines: Iterator[str]) -> str:
    return "\n".join(lines)


def _built(result: Result) -> str:
    """Return the sentences on the encoder, its weights and the kind of training."""
    backbone, trainer = result.config["backbone"], result.config["trainer"]
    encoder = code(backbone["name"])
    if starts_from_checkpoint(result):
        weights = (result.train.weights or "").partition(",")[0]  # that of a text encoder follows
        commit = f" at commit {code(weights.removeprefix('commit:'))}" if weights.startswith("commit:") else ""
        encoder += f" ({code(public_settings(backbone['checkpoint']))}{commit}, {escaped(backbone['pretraining'])})"
    elif result.train.weights:
        encoder += f" (measured features, {escaped(result.train.weights)})"
    else:
        encoder += " with random weights at the start"
    way = {
        "probe": "was not changed: a linear probe was fitted on its features",
        "everything": "was not changed: a head was trained on it",
    }
    is_probe = any(fold.chosen for fold in result.train.folds)
    how = way.get("probe" if is_probe else str(trainer.get("freeze")), "was fine-tuned, with a head on top")
    corpora = " and ".join(code(name) for name in training_corpora(result))
    version = result.run.versions.get("melt_ser", "")
    built = f"The encoder {encoder} {how}, on {corpora}, by melt_ser {version}.".replace(" .", ".")
    if backbone.get("text") is not None:
        built += (
            f" Beside it, the mean of the last states of the text encoder {code(public_settings(backbone['text']))} "
            "stands for the words; it was not changed."
        )
    return built


def _results(result: Result) -> Iterator[str]:
    """Yield the table of results: a row for each corpus, split and answer set, over all folds."""
    metrics = table_metrics()
    columns = ["corpus", "split", "answers", "utterances", "chance", *(metric.label for metric in metrics.values())]
    rows = (
        [row.corpus, row.split if row.fold is None else f"{row.split}, {fold_text(row)}", answers, f"{row.n:,}"]
        + [percent(row.chance), *(shown(row, name, metric) for name, metric in metrics.items())]
        + ["–" if row.ece is None else percent(row.ece)]
        for row, answers in merged(result.whole_evals())
    )
    yield from table([*columns, "ECE"], rows)


def _ratings(result: Result) -> Iterator[tuple[str, Iterator[str]]]:
    """Yield the meaning and the table of attributes, and those of the shares of votes, if there are rows."""
    for meaning, metrics, is_distribution in (
        (ATTRIBUTES_MEANING, ATTRIBUTE_METRICS, False),
        (VOTES_MEANING, DISTRIBUTION_METRICS, True),
    ):
        rows = [row for row in result.whole_ratings() if (row.of == DISTRIBUTION) == is_distribution]
        if rows:
            columns = ["corpus", "split", "of", "utterances", *(metric.label for metric in metrics.values())]
            cells = (
                [row.corpus, row.split, row.of, f"{row.n:,}"]
                + [shown_rating(row, name, metric) for name, metric in metrics.items()]
                for row in rows
            )
            yield " ".join([meaning, *rating_legend(rows)]), table(columns, cells)


def _scope(result: Result) -> str:
    """Return a sentence on results over several folds; "" if there is one model."""
    count = len(result.train.folds)
    if count == 1:
        return ""
    return (
        f" The run has {count} models. On its own corpus each utterance is answered by the model that did not learn "
        "from its group, and the answers are pooled; on another corpus the figures are the mean over the models."
    )


def _recalls(result: Result) -> Iterator[str]:
    """Yield a table of the recall of each class, a row for each corpus."""
    rows = result.closed_evals()
    columns = ["recall in % (utterances)", *result.train.classes]
    yield from table(columns, ([row.corpus, *(_recall(row, name) for name in result.train.classes)] for row in rows))


def _recall(row: Evaluation, name: str) -> str:
    recall = row.recall.get(name)
    if recall is None:
        return "–"
    return f"{percent(recall)} ({sum(row.confusion[row.classes.index(name)]):g})"


def _corpora(result: Result) -> Iterator[str]:
    """Yield the table of training corpora."""
    rows = []
    for name, corpus in training_corpora(result).items():
        shown_name = f"{name} ({corpus['repository']})" if corpus.get("repository") else name
        synthetic = "synthetic" if corpus.get("synthetic") else "recorded"
        labels = "a file of labels" if corpus.get("label_file") else "its table" if _is_own(corpus) else "the release"
        access = "with the person who trained" if _is_own(corpus) else corpus.get("access") or "–"
        rows.append([shown_name, corpus.get("language") or "not stated", synthetic, labels, access])
    yield from table(["corpus", "language", "speech", "labels from", "access"], rows)


def _is_own(corpus: dict[str, Any]) -> bool:
    """Return whether a corpus is data of the user's own: no release, and not on the hub."""
    return "of yours" in (corpus.get("access") or "")  # as conf/dataset/csv.yaml and shards.yaml say


def _split(result: Result) -> str:
    """Return the sentences on the protocol and the sizes of the parts."""
    dataset, folds = result.config["dataset"], result.train.folds
    group = dataset.get("group", "speaker")
    if folds[0].fold is None:
        kind = "the split of the release"
    elif dataset.get("folds") == "leave_one_out":
        kind = f"each {group} is the test part once"
    elif dataset.get("folds") == "emobox":
        kind = "the folds of EmoBox"
    elif dataset.get("folds") == "release":
        kind = "the folds of the release"
    else:
        kind = (
            f"{dataset.get('folds') or 5} folds of whole {group}s, drawn with the seed {dataset.get('split_seed', 0)}"
        )
    named = f"Protocol `{dataset['protocol']}`: " if dataset.get("protocol") else "Protocol: "
    which = (
        "" if folds[0].fold is None else (f"; fold {folds[0].fold}" if len(folds) == 1 else f"; all {len(folds)} folds")
    )
    sizes = ", ".join(
        f"{part} {size}" for part, of in _PARTS.items() if (size := _range([of(fold) for fold in folds])) is not None
    )
    each = "" if len(folds) == 1 else " in each fold"
    refit = ""
    if any(fold.refit for fold in folds):
        chosen = "the settings" if any(fold.chosen for fold in folds) else "the number of epochs"
        refit = f" Train includes dev: dev chose {chosen}, and then the model learned from both."
    digest = f"Digest of the table: `{result.train.digest[:16]}`."
    return f"{named}{kind}{which}. Utterances{each}: {sizes}.{refit} {digest}"


_PARTS: dict[str, Callable[[FoldInfo], int | None]] = {
    "train": lambda fold: fold.n,
    "dev": lambda fold: fold.n_dev,
    "test": lambda fold: fold.n_test,
}


def _range(sizes: list[int | None]) -> str | None:
    """Return "10" or "8 to 12"; None if a size is not known."""
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes):
        return None
    low, high = min(known), max(known)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _left_out(result: Result) -> str:
    dropped = result.train.dropped
    if not dropped:
        return "No utterance was left out."
    return "Left out: " + "; ".join(f"{count:,} ({escaped(reason)})" for reason, count in dropped.items()) + "."


def _classes(result: Result) -> dict[str, list[str]]:
    """Return the emotions of each class that the model answers."""
    classes: dict[str, list[str]] = result.config["labels"].get("classes") or {}
    return {name: classes.get(name, [name]) for name in result.train.classes}


def _label_map(result: Result) -> Iterator[str]:
    """Yield the table from classes to emotions, and to the labels of each corpus that has a map."""
    corpora = {name: corpus for name, corpus in training_corpora(result).items() if corpus.get("label_map")}
    rows = []
    for name, emotions in _classes(result).items():
        of_corpora = []
        for corpus in corpora.values():
            labels = [label for label, emotion in (corpus.get("label_map") or {}).items() if emotion in emotions]
            of_corpora.append(", ".join(labels) or "–")
        rows.append([name, ", ".join(emotions), *of_corpora])
    yield from table(["class", "emotions", *(f"labels of {name}" for name in corpora)], rows)


def _unmapped(result: Result) -> str:
    """Return the sentences on corpora without a label map, and on the labels that have no class."""
    own_words = [code(name) for name, corpus in training_corpora(result).items() if not corpus.get("label_map")]
    said = f"Without a label map, by common words for the emotions: {' and '.join(own_words)}." if own_words else ""
    if len(own_words) == len(training_corpora(result)):
        return said
    known = {emotion for emotions in _classes(result).values() for emotion in emotions}
    left = [
        f"{label} ({name})"
        for name, corpus in training_corpora(result).items()
        for label, emotion in (corpus.get("label_map") or {}).items()
        if emotion not in known
    ]
    told = f"Labels without a class: {escaped(', '.join(left))}." if left else "Every label of the map has a class."
    return f"{told} {said}".rstrip()


def _command(result: Result) -> str:
    words = public_command(result.run.command or "")
    return f"python -m melt_ser.train {words}" if words else ""


def _settings(result: Result) -> str:
    """Return the settings that the numbers depend on, as YAML."""
    settings = public_settings(without_infrastructure(result.config))
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).strip()


def _licences(result: Result) -> Iterator[str]:
    rows = [
        [origin.kind, public_settings(origin.name), origin.licence or "not known", _objected(origin.objection)]
        for origin in origins(result)
    ]
    yield from table(["from", "name", "licence", "remark"], rows)


def _objected(objection: str | None) -> str:
    return f"the licence {objection}" if objection else "–"


def _terms(result: Result, permission: str | None) -> Iterator[str]:
    """Yield the sentences below the table of licences."""
    yield SETTLED
    if is_student(result):
        name = result.config["backbone"]["checkpoint"].removeprefix(STUDENTS)
        yield f"`{name}` is a student of the package melt_ser; its card, with the makers of its speech, goes with it."
    if permission:
        yield f"The person who shared this model says why it may be shared: {escaped(permission)}"
