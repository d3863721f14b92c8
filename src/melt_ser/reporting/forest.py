"""The intervals of all scores as a forest plot: every test set on one scale, with chance and published figures."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from melt_ser.evaluation.metrics import percent
from melt_ser.evaluation.results import training_of
from melt_ser.reporting.headline import TestSet
from melt_ser.reporting.published import Published
from melt_ser.reporting.scores import METRIC, chance, interval, seeds, tested_part, with_interval

Place = Callable[[float], float]  # from a UA to its place on the scale

COLOURS, SHAPES = 8, 4  # a method has one of 32 combinations
STEP = 0.1  # of the gridlines


@dataclass(frozen=True)
class Mark:
    """A score in the plot; positions are fractions of the scale. `runs` are the seeds or folds of a mean."""

    system: str
    training: str
    data: str
    text: str
    at: float
    bounds: tuple[float, float] | None
    runs: list[float]
    style: str
    best: bool
    sign: str  # † or ‡


@dataclass(frozen=True)
class PublishedMark:
    """A published UA next to a score of a panel, and whether its protocol differs from all of our scores there."""

    at: float
    text: str
    differs: bool


@dataclass(frozen=True)
class Panel:
    """The scores on one test set, the best first."""

    test_set: TestSet
    chance: float | None
    chance_text: str
    marks: list[Mark]
    left_out: int
    published: list[PublishedMark] = field(default_factory=list)
    published_range: str = ""


@dataclass(frozen=True)
class Forest:
    """Panels on one scale: `ticks` has the position and the text of each gridline."""

    panels: list[Panel]
    ticks: list[tuple[float, str]]


def styles(methods: list[str]) -> dict[str, str]:
    """Return the style (colour and shape) of each method, the same all over the page."""
    return {
        name: f"c{number % COLOURS} s{number // COLOURS % SHAPES}" for number, name in enumerate(sorted(set(methods)))
    }


def forest(sets: list[TestSet], styles_of: dict[str, str], published: list[Published], most: int) -> Forest:
    """Return the plot of these test sets with at most `most` scores each; `styles_of` has the style of each system."""
    theirs = [_of(one, published) for one in sets]
    low, high = _scale(sets, theirs)

    def place(value: float) -> float:
        return (value - low) / (high - low)

    panels = []
    for one, figures in zip(sets, theirs, strict=True):
        level = chance(one.best.score.rows[0])
        panels.append(
            Panel(
                one,
                None if level is None else place(level),
                "" if level is None else percent(level),
                [_mark(one, number, place, styles_of) for number in range(min(len(one.cells), most))],
                max(len(one.cells) - most, 0),
                _published_marks(figures, place),
                _range([value for _, value in figures]),
            )
        )
    count = round((high - low) / STEP)
    ticks = [(number / count, f"{100 * (low + number * STEP):.0f}") for number in range(count + 1)]
    return Forest(panels, ticks)


def _mark(one: TestSet, number: int, place: Place, styles_of: dict[str, str]) -> Mark:
    cell = one.cells[number]
    score = cell.score
    bounds, part = interval(score), tested_part(score)
    values = [row.known_value(METRIC) for row in score.rows]
    return Mark(
        system=score.system,
        training=training_of(score.train) if one.several_trainings or score.is_published else "",
        data=", ".join(filter(None, [part if part != one.part else "", seeds(score)])),
        text=with_interval(score),
        at=place(score.summary.mean[METRIC]),
        bounds=None if bounds is None else (place(bounds[0]), place(bounds[1])),
        runs=[place(value) for value in values] if len(values) > 1 else [],
        style=styles_of[score.key],
        best=cell.best,
        sign=cell.mark,
    )


def _of(one: TestSet, published: list[Published]) -> list[tuple[Published, float]]:
    """Return the published UAs next to scores of a test set."""
    ours = {cell.score for cell in one.cells}
    found = []
    for figure in published:
        theirs = figure.figures.get(METRIC, (0.0, None))[1]
        if theirs is not None and figure.score in ours:
            found.append((figure, theirs))
    return found


def _published_marks(figures: list[tuple[Published, float]], place: Place) -> list[PublishedMark]:
    differs: dict[tuple[str, float], bool] = {}
    for figure, theirs in figures:
        key = (f"{figure.model} {percent(theirs)} ({figure.source})", theirs)
        differs[key] = differs.get(key, True) and bool(figure.differs)
    return [
        PublishedMark(place(value), text, other)
        for (text, value), other in sorted(differs.items(), key=lambda x: x[0][1])
    ]


def _range(values: list[float]) -> str:
    return " to ".join(dict.fromkeys([percent(min(values)), percent(max(values))])) if values else ""


def _scale(sets: list[TestSet], published: list[list[tuple[Published, float]]]) -> tuple[float, float]:
    """Return the ends of the scale, multiples of STEP around every interval, chance level and published figure."""
    values = [theirs for figures in published for _, theirs in figures]
    for one in sets:
        level = chance(one.best.score.rows[0])
        values += [] if level is None else [level]
        for cell in one.cells:
            values += [*(interval(cell.score) or ()), *(row.known_value(METRIC) for row in cell.score.rows)]
    if not values:
        return 0.0, 1.0
    low = min(math.floor(min(values) / STEP + 1e-9) * STEP, 1.0 - STEP)  # all may be 100 %: tests of one class
    high = math.ceil(max(values) / STEP - 1e-9) * STEP
    return max(low, 0.0), min(max(high, low + STEP), 1.0)
