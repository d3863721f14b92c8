"""Run a study from its command to its report: interrupt it, complete it, and compare the formats of the report.

    python tests/helpers/study.py FOLDER DATA [OVERRIDE ...]    experiment=small_study; DATA holds emodb and urdu

It prints the time in seconds after each step, and the paths of the compiled tables and the screenshots.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pandas as pd

from browser import BROWSER, Seen, chromium
from heeding import heeding

SUFFIXES = ("md", "csv", "tex", "html")
Cells = dict[tuple[str, str, str], str]  # the cell of a matrix, by system, training corpus and test corpus


@contextmanager
def started(typed: list[str], data: Path | None, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start the study as a user does, and yield its process; its standard error goes to `log`."""
    environment = {**os.environ, **({"MELT_SER_DATA": str(data)} if data else {})}
    command = [sys.executable, "-m", "melt_ser.train", "experiment=small_study", *typed]
    with log.open("wb") as said:
        yield subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said, env=environment, preexec_fn=heeding)


def finished(out: Path) -> int:
    """Return the number of finished runs."""
    return len(list(out.glob("*/*/*/result.json")))


def interrupted(typed: list[str], out: Path, data: Path | None, after: int) -> str:
    """Start the study, and send Ctrl-C once `after` runs are finished; return the last line of its log."""
    log = out.with_name("interrupted.log")
    with started(typed, data, log) as process:
        while finished(out) < after:
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130, log.read_text()
    return log.read_text().splitlines()[-1]


def completed(typed: list[str], out: Path, data: Path | None) -> str:
    """Run the study to its end; return the line with the outcomes of its jobs."""
    log = out.with_name("completed.log")
    with started(typed, data, log) as process:
        assert process.wait() == 0, log.read_text()
    return next(line for line in log.read_text().splitlines() if line.startswith("sweep: "))


def reported(out: Path, folder: Path) -> dict[str, Path]:
    """Write the report in every format; return the files by suffix."""
    paths = {suffix: folder / f"report.{suffix}" for suffix in SUFFIXES}
    for path in paths.values():
        subprocess.run([sys.executable, "-m", "melt_ser.report", str(out), "--out", str(path)], check=True)
    return paths


def from_csv(path: Path) -> Cells:
    """Compute the mean and deviation of UA over seeds from the CSV, as `mean ± deviation` in per cent."""
    table = pd.read_csv(path)
    found = {}
    for key, rows in table[table["answer_set"] == "closed"].groupby(["system", "train", "corpus"]):
        found[key] = f"{100 * rows['ua'].mean():.1f} ± {100 * rows['ua'].std(ddof=1):.1f}"
    return found


def from_markdown(path: Path) -> tuple[Cells, dict[str, str]]:
    """Return the first matrix, and the mean rank of each method."""
    text = path.read_text()

    def section(heading: str) -> str:
        return text.partition(f"\n## {heading}")[2].partition("\n## ")[0]

    def rows(part: str) -> list[list[str]]:
        lines = [line for line in part.splitlines() if line.startswith("|") and "---" not in line]
        return [[_unescaped(cell.strip()) for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]

    parts = [part.partition("\n") for part in section("Trained and tested on each corpus").split("\n### ")[1:]]
    blocks = [(_unescaped(title).partition(", ")[0], rows(lines)) for title, _, lines in parts]
    return _blocks(blocks), {row[0]: row[1] for row in rows(section("Ranks over corpora"))[1:]}


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def from_latex(path: Path) -> tuple[Cells, dict[str, str]]:
    """Return the same from the LaTeX tables; the first tables, up to the ranks, are the matrix in parts."""
    text = path.read_text()
    matrix: Cells = {}
    for block in re.findall(r"\\label\{tab:ua-closed(?:-\d+)?\}.*?\\bottomrule", text, re.DOTALL):
        heads, *rows = _latex_rows(block.partition(r"\midrule" + "\n" + "Chance")[0])
        for before, row in pairwise(rows):
            row[0] = row[0] or before[0]  # a name stands only once
        matrix |= _matrix([heads, *rows])
    ranks = _latex_rows(text.partition(r"\label{tab:ranks}")[2].partition(r"\bottomrule")[0])[1:]
    return matrix, {row[0]: row[-2] for row in ranks}


def _latex_rows(block: str) -> list[list[str]]:
    rows = [line[:-3] for line in block.splitlines() if line.endswith(r" \\")]
    return [[_plain(cell) for cell in row.split(" & ")] for row in rows]


def _plain(cell: str) -> str:
    cell = re.sub(r"\\begin\{tabular\}\[.\]\{.*?\}\}(.*)\\end\{tabular\}", r"\1", cell)
    cell = cell.replace(r"\_ \\ ", r"\_").replace(r" \\ ", " ")  # lines end at a space or behind an underscore
    cell = re.sub(r"\\textsuperscript\{\w+\}| \{\\scriptsize .*\}$", "", cell)  # without letter and interval
    for ours, theirs in (("±", r"$\pm$"), ("‡", r"$^\ddagger$"), ("†", r"$^\dagger$"), ("_", r"\_"), ("–", "--")):
        cell = cell.replace(theirs, ours)
    return re.sub(r"\\textbf\{(.*)\}", r"**\1**", cell)


class Tables(HTMLParser):
    """The tables of a page, each with its class, rows and cells; bold text stands between `**`, small text is left out.

    `titles` has the bold part of each caption.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[tuple[str, list[list[str]]]] = []
        self.titles: list[str] = []
        self.within = self.titled = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append((dict(attrs).get("class") or "", []))
            self.titles.append("")
        elif tag == "small":
            self.within = False
        elif tag == "tr":
            self.tables[-1][1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][1][-1].append("")
            self.within = True
        elif tag == "strong" and self.within:
            self.handle_data("**")
        elif tag == "strong" and self.tables and not self.tables[-1][1]:
            self.titled = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "strong" and self.within:
            self.handle_data("**")
        self.within = self.within and tag not in ("th", "td")
        self.titled = self.titled and tag != "strong"

    def handle_data(self, data: str) -> None:
        if self.within:
            self.tables[-1][1][-1][-1] += data
        if self.titled:
            self.titles[-1] += data


def from_html(path: Path) -> tuple[Cells, dict[str, str]]:
    """Return the same from the page, whose only answer set is "closed = open"."""
    page = Tables(path.read_text())
    squares = [(title, rows) for title, (_, rows) in zip(page.titles, page.tables, strict=True) if title]
    ranks = next(rows for _, rows in page.tables if rows and rows[0][0] == "Method")
    return _blocks(squares), {row[0].strip(): row[1] for row in ranks[1:]}


def _blocks(blocks: list[tuple[str, list[list[str]]]]) -> Cells:
    """Return the cells of small tables, each of a method; a cell begins with its figure and ends with its interval."""
    return {
        (title, row[0].strip(), head.partition(" ")[0]): re.sub(r" ?\[.*| ?\(.*", "", cell)
        for title, rows in blocks
        for row in rows[1:]
        for head, cell in zip(rows[0][1:], row[1:], strict=True)
        if cell != "–"
    }


def _matrix(rows: list[list[str]]) -> Cells:
    corpora = [head.partition(",")[0] for head in rows[0][2:]]  # a row has only one test set of each corpus
    return {
        (row[0], row[1], corpus): cell
        for row in rows[1:]
        for corpus, cell in zip(corpora, row[2:], strict=True)
        if cell != "–"
    }


def compare_formats(paths: dict[str, Path]) -> tuple[Cells, dict[str, str]]:
    """Check that all formats agree, and that the matrix follows from the CSV; return the matrix and the ranks."""
    matrix, ranks = from_markdown(paths["md"])
    assert (matrix, ranks) == from_latex(paths["tex"]) == from_html(paths["html"])
    assert {key: cell.strip("*†‡") for key, cell in matrix.items()} == from_csv(paths["csv"])
    assert len(ranks) >= 3
    return matrix, ranks


def compiled(path: Path) -> Path | None:
    """Compile the tables in a paper with pdfLaTeX; return the PDF, or None if pdfLaTeX is not installed."""
    if shutil.which("pdflatex") is None:
        return None
    paper = path.with_name("paper.tex")
    body = rf"\usepackage{{booktabs}}\begin{{document}}\input{{{path.stem}}}\end{{document}}"
    paper.write_text(rf"\documentclass[twocolumn,a4paper]{{article}}{body}")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", paper.name]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Missing character" not in done.stdout and "Overfull" not in done.stdout
    return paper.with_suffix(".pdf")


def looked_at(path: Path) -> Iterator[Path]:
    """Yield screenshots of the page on a desktop and a phone.

    Check that it has no message on the console, sends no request, and does not scroll sideways.
    """
    with chromium() as browser:
        for width, scheme in ((1280, "light"), (390, "dark")):
            seen = Seen(browser, path, width, 844, scheme)
            seen.open_runs()
            seen.page.locator("details.run > summary").first.click()
            seen.page.get_by_role("button", name="UA", exact=True).click()
            assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
            shot = path.with_name(f"{path.stem}-{width}.png")
            seen.page.screenshot(path=shot, full_page=True)
            assert seen.complaints == [] and seen.requests == [path.as_uri()]
            seen.context.close()
            yield shot


def main(folder: Path, data: Path, typed: list[str]) -> None:
    out = folder / "runs"
    begin = time.perf_counter()

    def told(what: object) -> None:
        print(f"{time.perf_counter() - begin:6.0f} s  {what}", flush=True)

    typed = [f"out={out}", *typed]
    folder.mkdir(parents=True, exist_ok=True)
    told(interrupted(typed, out, data, after=finished(out) + 5))
    told(f"{finished(out)} runs were finished when it was interrupted")
    told(completed(typed, out, data))
    told(f"the same command again: {completed(typed, out, data)}")
    paths = reported(out, folder)
    told("reported")
    matrix, ranks = compare_formats(paths)
    told(f"{len(matrix)} cells of the matrix and {len(ranks)} ranks are the same in md, tex, html and csv")
    told(f"compiled: {compiled(paths['tex'])}")
    if BROWSER is not None:
        told(f"looked at: {', '.join(map(str, looked_at(paths['html'])))}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
