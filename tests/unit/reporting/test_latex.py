"""`report --format latex`: tables that fit a two-column paper, whatever the names are."""

from __future__ import annotations

import re
import shutil
import subprocess
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from melt_ser.reporting.collect import collect
from melt_ser.reporting.contents import make_report_data
from melt_ser.reporting.latex import latex
from melt_ser.reporting.latex_table import Figure, Table, laid_out
from melt_ser.reporting.latex_text import broken, escaped, needs_lualatex, points_wide
from report_runs import HOSTILE, answering, copy, rename, report, results

NAMES = (
    "[emodb]",
    "*",
    "a" * 80,
    "emodb_with_a_long_name-of.many,parts=here/and there",
    "50% of $x_1$ & #2 ~^{}\\",
    "`` '' -- --- ?` <<>>",
    "Übergrößenträger ŁĄĘ ðþ",
    "اردو زبان",
    "情感语料库",
    "👩‍👩‍👧 😀",
    "a\u0308 e\u0301\u0323",
)
CLASSES = {  # what stands before the text of a paper
    "article": r"\documentclass[twocolumn,a4paper]{article}",
    "IEEEtran": r"\documentclass[conference]{IEEEtran}",
}


def compiled(folder: Path, text: str, engine: str, paper: str = CLASSES["article"], packages: str = "booktabs") -> str:
    """Compile a paper that consists of the tables; return the log of the engine, unwrapped."""
    (folder / "tables.tex").write_text(text, encoding="utf-8")
    body = rf"\usepackage{{{packages}}}\begin{{document}}\input{{tables}}\end{{document}}"
    (folder / "paper.tex").write_text(paper + body)
    command = [engine, "-halt-on-error", "-interaction=nonstopmode", "paper.tex"]
    environment = {"PATH": str(Path(shutil.which(engine) or "").parent), "max_print_line": "10000", "HOME": str(folder)}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", env=environment)
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout


def needs(engine: str) -> Any:
    """Return the mark of a test that is skipped without a TeX engine; lualatex has to find its usual fonts too."""
    fonts = ["kpsewhich", "lmroman10-regular.otf"]
    if shutil.which(engine) is None:
        reason = f"{engine} is not installed (texlive-latex-base)"
    elif engine == "lualatex" and subprocess.run(fonts, stdout=subprocess.DEVNULL, check=False).returncode != 0:
        reason = "lualatex finds no Latin Modern (fonts-lmodern)"
    else:
        reason = ""
    return pytest.mark.skipif(bool(reason), reason=reason)


def named_runs(runs: Path, folder: Path) -> Path:
    """Copy a run for each odd name, as the name of its corpus."""
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")
    for number, name in enumerate((*NAMES, HOSTILE)):
        copy(one, folder / str(number), lambda result, name=name: rename(result, name))
    copy(one, folder / "other", lambda result: result["config"]["trainer"].update(epochs=7))
    answering(folder / "other", True)
    return folder


def table(names: int, rows: int, columns: int, name: str = "system") -> Table:
    heads = [f"corpus {number}" for number in range(columns)]
    body = [([f"{name} {number}"] * names, [Figure("62.1 [55.0, 69.0]", "†")] * columns) for number in range(rows)]
    return Table("tab:x", "A caption.", [f"Name {number}" for number in range(names)], heads, body, notes=["A note."])


@pytest.mark.parametrize(
    ("names", "rows", "columns", "kinds"),
    [
        (1, 3, 2, ["table"]),
        (2, 3, 4, ["table*"]),
        (2, 3, 12, ["table*", "table*", "table"]),
        (1, 100, 1, ["table"] * 3),
    ],
)
def test_a_table_takes_a_column_a_page_or_is_divided(names: int, rows: int, columns: int, kinds: list[str]) -> None:
    parts = laid_out(table(names, rows, columns), longtable=False)
    assert [re.findall(r"\\begin\{(table\*?)\}", part) for part in parts] == [[kind] for kind in kinds]
    assert sum(part.count("62.1") for part in parts) == rows * columns
    labels = [found for part in parts for found in re.findall(r"\\label\{(.*?)\}", part)]
    assert len(set(labels)) == len(parts)
    assert all(r"\tiny" not in part and r"\resizebox" not in part for part in parts)


def test_a_longtable_has_all_rows_in_one_table() -> None:
    [part] = laid_out(table(1, 100, 1), longtable=True)
    assert part.count(r"\begin{longtable}") == 1 and part.count("62.1") == 100


def test_a_column_with_one_text_becomes_a_note_but_the_first_stays() -> None:
    one = table(3, 2, 1)
    one.rows = [(["a", "b", "c"], figures) for _, figures in one.rows]
    assert one.constants() == [("Name 1", "b"), ("Name 2", "c")]
    assert one.names == ["Name 0"] and one.rows[0][0] == ["a"]


@pytest.mark.parametrize("name", [*NAMES, HOSTILE])
def test_lines_of_a_name_are_no_wider_than_asked_and_lose_nothing(name: str) -> None:
    lines = broken(name, 60)
    assert all(points_wide(line) <= 60 or len(line) == 1 for line in lines)
    assert "".join("".join(lines).split()) == "".join(unicodedata.normalize("NFC", name).split())


def test_hyphens_of_a_name_stay_apart_and_a_negative_number_has_a_minus() -> None:
    assert escaped("a--b---c----d-e") == "a-{}-b-{}-{}-c-{}-{}-{}-d-e"
    figure = Figure("-0.343 ± 0.1 [-0.5, 0.6]ˢ")
    assert figure.latex() == r"$-$0.343 $\pm$ 0.1 {\scriptsize {[}$-$0.5, 0.6{]}$^{\mathrm{s}}$}"


def test_names_are_escaped_and_no_row_loses_a_cell(runs: Path, tmp_path: Path) -> None:
    text = latex(make_report_data(collect([named_runs(runs, tmp_path)])))
    assert r"\textbackslash{}end\{x\}" in text and r"50\%" in text and r"\$x\_1\$" in text and r"\textbf{" in text
    for block in re.findall(r"\\toprule\n(.*?)\\bottomrule", text, re.DOTALL):
        assert len({len(re.findall(r"(?<!\\)&", row)) for row in block.splitlines() if row.endswith(r" \\")}) == 1
    assert not re.search(r"^[\[*]", text, re.MULTILINE)


def test_every_table_says_what_its_figures_are_over(runs: Path) -> None:
    text = latex(make_report_data(collect([runs])))
    matrix = text.partition(r"\begin{table")[2].partition(r"\end{table")[0]
    assert "[low, high]: 95" in matrix.replace("{[}", "[").replace("{]}", "]")
    assert re.search(r"^Interval over & .*(speakers|utterances)", matrix, re.MULTILINE)
    assert r"$\pm$: standard deviation over 2 seeds" in text
    assert re.search(r"^Chance &.* 50\.0", text, re.MULTILINE) and re.search(r"^Utterances &", text, re.MULTILINE)
    assert r"\begin{longtable}" not in text and "longtable" not in text
    assert "% Warning (" in text


def test_the_matrix_is_square_and_a_letter_says_what_an_own_corpus_is_over(runs: Path, tmp_path: Path) -> None:
    one = next(folder for folder, result in results(runs).items() if result["config"]["head"]["name"] == "mlp")

    def single_fold(result: dict[str, Any]) -> None:
        result["train"]["folds"] = result["train"]["folds"][:1]
        result["evals"] = [row for row in result["evals"] if row["fold"] == 1]
        rename(result, "third")

    copy(one, tmp_path / "a")
    copy(one, tmp_path / "b", lambda result: rename(result, "third"))
    copy(one, tmp_path / "c", lambda result: (single_fold(result), result["config"]["trainer"].update(epochs=7)))
    text = latex(make_report_data(collect([tmp_path])))
    matrix = re.search(r"tab:ua-closed.*?\\end\{table", text, re.DOTALL)
    assert matrix is not None
    [heads] = re.findall(r"\\toprule\n(.*) \\\\", matrix[0])
    assert heads.split(" & ") == ["System", "Trained on", "first", "second", "third"]
    assert len(re.findall(r"\d\\textsuperscript\{a\}", matrix[0])) == 1
    assert re.search(r"textsuperscript\{a\}\\,third, fold 1: \d+ utterances, chance 33\.3", matrix[0])


@needs("pdflatex")
@pytest.mark.parametrize("paper", CLASSES)
def test_tables_compile_in_two_columns_and_nothing_sticks_out(runs: Path, tmp_path: Path, paper: str) -> None:
    if subprocess.run(["kpsewhich", f"{paper}.cls"], capture_output=True).returncode:
        pytest.skip(f"{paper}.cls is not installed (texlive-publishers)")
    text = latex(make_report_data(collect([named_runs(runs, tmp_path / "runs")])))
    log = compiled(tmp_path, text, "pdflatex", CLASSES[paper])
    assert "Overfull" not in log and "Missing character" not in log


@needs("lualatex")
def test_tables_compile_with_lualatex(runs: Path, tmp_path: Path) -> None:
    text = latex(make_report_data(collect([named_runs(runs, tmp_path / "runs")])))
    log = compiled(tmp_path, text, "lualatex")
    assert "Overfull" not in log and "Missing character" not in log


@needs("pdflatex")
def test_a_long_table_compiles_in_one_column(runs: Path, tmp_path: Path) -> None:
    text = latex(make_report_data(collect([named_runs(runs, tmp_path / "runs")])), longtable=True)
    log = compiled(tmp_path, text, "pdflatex", r"\documentclass[a4paper]{article}", "booktabs,longtable")
    assert "Overfull" not in log


def test_many_tables_are_not_all_kept_waiting_for_a_place(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = make_report_data(collect([runs]))
    tables = latex(contents).count(r"\caption")
    monkeypatch.setattr("melt_ser.reporting.latex.MOST_FLOATS", 2)
    assert latex(contents).count("\n\\clearpage\n\\begin{table") == (tables - 1) // 2 > 0


@needs("pdflatex")
def test_the_widths_are_not_too_small(tmp_path: Path) -> None:
    texts = ["".join(map(chr, range(33 + 12 * part, 45 + 12 * part))) for part in range(7)]
    texts += ["wav2vec2_large head=mlp", "62.1 ± 3.0†", "emodb, fold 1", "WWW MMM @@@"]
    lines = [rf"\setbox0\hbox{{\footnotesize {escaped(text)}}}\typeout{{WIDE \the\wd0}}" for text in texts]
    lines += [rf"\setbox0\hbox{{\footnotesize\bfseries {escaped(text)}}}\typeout{{WIDE \the\wd0}}" for text in texts]
    found = [float(width) for width in re.findall(r"WIDE ([\d.]+)pt", compiled(tmp_path, "\n".join(lines), "pdflatex"))]
    ours = [*map(points_wide, texts), *(points_wide(text, bold=True) for text in texts)]
    assert all(theirs <= one * 1.001 for theirs, one in zip(found, ours, strict=True))
    assert sum(ours) < 1.3 * sum(found)


def test_names_in_other_scripts_are_told_and_their_code_points_stand_in_the_file(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = next(iter(results(runs)))
    copy(one, tmp_path / "run", lambda result: rename(result, "语料"))
    code, text, said = report(tmp_path, "--format", "latex", capsys=capsys)
    assert code == 0
    assert r"\otherscript{TLT}{35821}{语料}{8BED 6599}" in text
    assert "note: pdfLaTeX shows 语料 as code points; compile with LuaLaTeX" in said
    assert needs_lualatex(escaped("emodb اردو Ü")) == ["اردو"]
    assert "otherscript" not in latex(make_report_data(collect([runs])))


def test_longtable_is_for_latex_only(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert r"\begin{longtable}" in report(runs, "--format", "latex", "--longtable", capsys=capsys)[1]
    code, _, said = report(runs, "--longtable", capsys=capsys)
    assert code == 2 and "--longtable is for LaTeX" in said
