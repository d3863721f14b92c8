"""Figures and the terminal table: whole files, nothing outside the picture, every number readable."""

import io
import struct
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from melt_ser.core.errors import InputError
from melt_ser.evaluation.results import ONE_SPEAKER
from melt_ser.evaluation.scoring import score
from melt_ser.runs import figures
from melt_ser.runs.run_figures import title_of
from melt_ser.runs.table import evaluation_table

CLASSES = ["angry", "contemptuous", "disgusted", "fearful", "happy", "neutral", "surprised"]


def scored_run(classes, corpus_classes=None, answer_set="closed"):
    generator = np.random.default_rng(0)
    corpus_classes = corpus_classes or classes
    reference = generator.choice(corpus_classes, 200)
    probabilities = generator.dirichlet(np.ones(len(classes)), 200)
    frame = pd.DataFrame({"utterance": np.arange(200).astype(str), "reference": reference, "prediction": ""})
    frame[classes] = probabilities
    return score(frame, None, classes, corpus_classes, answer_set)


def curve(epochs):
    number = np.arange(1, epochs + 1)
    losses = {"train_loss": 2 / number, "dev_loss": 2.5 / number}
    return pd.DataFrame({"epoch": number, **losses, "dev_ua": 0.5 - 0.3 / number})


def png_size(path):
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert content.endswith(b"IEND\xaeB`\x82")
    return struct.unpack(">II", content[16:24])


@pytest.fixture
def drawn(monkeypatch):
    """Keep the figures drawn by a test, to examine their content."""
    kept = []
    new_figure = figures.new_figure
    monkeypatch.setattr(figures, "new_figure", lambda *size: kept.append(new_figure(*size)) or kept[-1])
    return kept


def text_boxes(figure):
    """Return the pixel box of each visible text."""
    from matplotlib.text import Text

    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    return [(text.get_text(), text.get_window_extent()) for text in texts]


@pytest.mark.parametrize("number", [1, 2, 4, 7])
def test_confusion_figure_texts_neither_overlap_nor_leave_the_picture(tmp_path, drawn, number):
    path = tmp_path / "figures" / "confusion.png"
    title = "wavlm_base_plus trained on MELT, tested on IEMOCAP (leave one session out), closed protocol"
    figures.confusion_figure(evaluation("x", "closed", scored_run(CLASSES[:number])), title, path)
    width, height = png_size(path)
    boxes = text_boxes(drawn[0])
    assert len(boxes) == number * number + 2 * number + 4  # cells, tick labels, two axis labels, title, subtitle
    for position, (text, box) in enumerate(boxes):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text
        for other, other_box in boxes[:position]:
            assert not box.overlaps(other_box), (text, other)
    middles = [(box.x0 + box.x1) / 2 for text, box in boxes if text.startswith(("wavlm_base", "UA "))]
    assert len(middles) == 2 and middles[0] == pytest.approx(middles[1], abs=2)  # title and subtitle have one centre
    assert [entry.name for entry in path.parent.iterdir()] == ["confusion.png"]


def test_confusion_figure_shows_the_scores_and_marks_a_class_without_reference(tmp_path, drawn):
    scored = evaluation("x", "open", scored_run(CLASSES[:4], CLASSES[:3], "open"))
    figures.confusion_figure(scored, "open", tmp_path / "confusion.png")
    texts = [text for text, _ in text_boxes(drawn[0])]
    low, high = scored.interval("ua")
    assert any(f"UA {100 * scored.value('ua'):.1f} % [{100 * low:.1f}, {100 * high:.1f}]" in text for text in texts)
    assert texts.count("no reference utterance") == 1
    assert "fearful (0)" in texts
    first_row = scored.confusion[0]
    assert f"{100 * first_row[0] / sum(first_row):.0f} %\n{first_row[0]}" in texts


def test_text_is_readable_on_every_colour_of_the_scale():
    from matplotlib import colormaps

    def luminance(colour):
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for share in np.linspace(0, 1, 101):
        colour = np.asarray(colormaps["Blues"](0.92 * share))
        text = 1.0 if figures._readable_on(colour) == "white" else 0.0
        lighter, darker = sorted([luminance(colour), text], reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5  # WCAG 2.2, level AA


@pytest.mark.parametrize("epochs", [1, 2, 30, 200])
def test_training_curve_marks_the_best_epoch(tmp_path, drawn, epochs):
    frame = curve(epochs)
    best = (epochs + 1) // 2
    frame.loc[frame["epoch"] == best, "dev_ua"] = 0.75
    path = tmp_path / "curve.png"
    figures.training_curve_figure([(None, frame)], path)
    png_size(path)
    assert f"best: epoch {best}, 75.0 %" in [text for text, _ in text_boxes(drawn[0])]
    drawn_inches = drawn[0].get_tightbbox()
    assert drawn_inches.x0 >= 0 and drawn_inches.y0 >= 0
    assert drawn_inches.x1 <= drawn[0].get_figwidth() and drawn_inches.y1 <= drawn[0].get_figheight()


@pytest.mark.parametrize("number", [3, 10, 24])
def test_training_curves_of_folds_are_told_apart_by_colour_marker_and_legend(tmp_path, drawn, number):
    figures.training_curve_figure(
        [(fold, curve(5 + fold % 3)) for fold in range(1, number + 1)], tmp_path / "curve.png"
    )
    loss_axes, ua_axes = drawn[0].axes
    assert [text.get_text() for text in loss_axes.get_legend().get_texts()] == ["training", "dev"]
    told = [text.get_text() for text in ua_axes.get_legend().get_texts()]
    assert told == [
        f"fold {fold}, best: epoch {5 + fold % 3}, {100 * (0.5 - 0.3 / (5 + fold % 3)):.1f} %"
        for fold in range(1, number + 1)
    ]
    lines = [line for line in ua_axes.lines if line.get_label().startswith("fold")]
    assert len({(str(line.get_color()), line.get_marker()) for line in lines}) == number
    assert len({str(line.get_color()) for line in lines}) == number
    for line in lines:  # a fold has one colour in both pictures
        assert sum(str(other.get_color()) == str(line.get_color()) for other in loss_axes.lines) == 2
    assert loss_axes.get_title() == f"Training curves of {number} folds"
    low, high = ua_axes.get_xlim()
    assert low < 1 and high > 7
    inches = drawn[0].get_tightbbox()
    assert inches.x0 >= 0 and inches.y0 >= 0
    assert inches.x1 <= drawn[0].get_figwidth() and inches.y1 <= drawn[0].get_figheight()


@pytest.mark.parametrize(("suffix", "begin"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_suffix_is_the_format(tmp_path, suffix, begin):
    figures.training_curve_figure([(None, curve(3))], tmp_path / f"curve.{suffix}")
    figures.confusion_figure(evaluation("x", "closed", scored_run(CLASSES)), "title", tmp_path / f"confusion.{suffix}")
    for path in tmp_path.iterdir():
        assert path.read_bytes().startswith(begin)
        assert b"/Type3" not in path.read_bytes()


@pytest.mark.parametrize(
    ("fold", "title"),
    [
        (None, "urdu, test; answer set closed; n = 200"),
        (2, "urdu, test, fold 2; answer set closed; n = 200"),
        ("all", "urdu, test, all folds; answer set closed; n = 200"),
    ],
)
def test_the_title_of_a_confusion_says_corpus_fold_answer_set_and_number(fold, title):
    assert title_of(evaluation("urdu", "closed", scored_run(CLASSES), fold)) == title


def test_a_confusion_without_interval_says_only_the_score_and_the_chance(tmp_path, drawn):
    row = evaluation("x", "closed", scored_run(CLASSES[:4]))
    row.ua_ci95 = row.wa_ci95 = row.macro_f1_ci95 = None
    figures.confusion_figure(row, "x", tmp_path / "confusion.png")
    [summary] = [text for text, _ in text_boxes(drawn[0]) if text.startswith("UA")]
    assert "[" not in summary and "interval" not in summary and "chance of UA 25.0 %" in summary


def test_training_curve_names_the_missing_column(tmp_path):
    with pytest.raises(InputError, match="missing: dev_ua"):
        figures.training_curve_figure([(1, curve(3)), (2, curve(3).drop(columns="dev_ua"))], tmp_path / "curve.png")
    with pytest.raises(InputError, match="at least one epoch"):
        figures.training_curve_figure([(None, curve(0))], tmp_path / "curve.png")
    assert not list(tmp_path.iterdir())


def test_importing_evaluation_and_reporting_loads_neither_torch_nor_matplotlib():
    code = (
        "import sys, melt_ser.evaluation.scoring, melt_ser.runs.figures, melt_ser.runs.table;"
        "print(sorted({'torch', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def evaluation(corpus, answer_set, scores, fold=None):
    context = {"split": "test", "dropped": {"too long": 1, "silent": 2}}
    return scores.as_evaluation(corpus=corpus, fold=fold, answer_set=answer_set, **context)


def render(evals, width):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(evaluation_table(evals))
    return console.export_text()


def test_table_shows_equal_answer_sets_once_and_different_ones_apart():
    same, closed, opened = (
        scored_run(CLASSES[:4]),
        scored_run(CLASSES[:4], CLASSES[:2], "closed"),
        scored_run(CLASSES[:4], CLASSES[:2], "open"),
    )
    evals = [
        evaluation("emodb", "closed", same, fold=0),
        evaluation("emodb", "open", same, fold=0),
        evaluation("emodb", "closed", same, fold="all"),
        evaluation("urdu", "closed", closed),
        evaluation("urdu", "open", opened),
    ]
    rows = [line.split() for line in render(evals, 120).splitlines() if line.strip().startswith(("emodb", "urdu"))]
    assert [rows[0][:6], rows[1][:5]] == [
        ["emodb", "0", "closed", "=", "open", "200"],
        ["emodb", "all", "closed", "200", "25.0"],
    ]
    assert [row[:4] for row in rows[2:]] == [
        ["urdu", "closed", "200", "50.0"],
        ["urdu", "open", "200", "25.0"],
    ]


def test_table_loses_no_number_in_a_narrow_terminal():
    scored = scored_run(CLASSES)
    text = render([evaluation("emodb", "closed", scored), evaluation("emodb", "open", scored)], 80)
    bounds = [*scored.intervals.of["ua"], *scored.intervals.of["wa"]]
    for value in (*(scored.values[name] for name in ("ua", "wa", "macro_f1")), *bounds):
        assert f"{100 * value:.1f}" in text
    for heading in ("corpus", "fold", "answers", "dropped", "chance", "UA", "WA", "macro-F1"):
        assert heading in text


def test_table_of_means_over_folds_on_another_corpus_has_a_line_for_each_row_in_100_columns():
    closed, opened = (scored_run(CLASSES[:4], CLASSES[:2], name) for name in ("closed", "open"))
    evals = []
    for fold in ("mean", "ensemble", *range(1, 6)):
        for name, scores in (("closed", closed), ("open", opened)):
            row = evaluation("urdu", name, scores, fold=fold)
            row.ci_unit, row.spread = "speaker", {"ua": 0.104, "wa": 0.039} if fold == "mean" else {}
            evals.append(row)
    text = render(evals, 100)
    assert text.count("urdu") == sum(line.strip().startswith("urdu ") for line in text.splitlines()) == len(evals)
    assert all(line.count("]") == 2 for line in text.splitlines() if line.strip().startswith("urdu "))
    assert "In each row: dropped 3." in text and "chance" in text


def test_table_says_what_its_intervals_are_over_and_why_one_is_missing():
    row = evaluation("emodb", "closed", scored_run(CLASSES))
    text = render([row], 120)
    assert "Intervals: ᵘ over utterances, taken as independent." in text and "]ᵘ" in text
    row.interval_note = ONE_SPEAKER
    assert "¹ over the utterances of one speaker, says nothing about others." in render([row], 120)
    row.ci_unit, row.interval_note, row.ua_ci95 = "speaker", "No interval of UA: a reason.", None
    text = render([row], 120)
    assert "[–] on emodb: no interval, since a reason." in text and " [–]" in text and "]ˢ" in text
