"""The documents as a site: it builds without a warning, loads nothing from elsewhere, and its pages fit a phone."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from browser import Seen
from checkout import CHECKOUT
from melt_ser.core.package import __version__

PHONE = ("index.html", "tutorial.html", "settings.html", "verbs.html", "evidence.html", "CONTRIBUTING.html")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site; mkdocs.yml is strict, so that a wrong link or anchor ends the build."""
    pytest.importorskip("material", reason="mkdocs-material, of the extra docs, is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_builds_with_every_page_and_the_files_outside_docs(site: Path) -> None:
    pages = {Path(path.name).with_suffix(".html") for path in CHECKOUT.glob("docs/*.md")}
    others = ("index", "CONTRIBUTING", "CHANGELOG", "benchmarks/index", "src/melt_ser/students/index")
    assert pages | {Path(f"{name}.html") for name in others} <= {
        path.relative_to(site) for path in site.rglob("*.html")
    }
    assert (site / "src/melt_ser/label_study/words/en.yaml").is_file()


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    loaded = re.compile(r'<(?:script|img|iframe|source)[^>]* src="?([^" >]+)|<link[^>]* href="?([^" >]+)')
    for page in site.rglob("*.html"):
        for found in loaded.finditer(page.read_text(encoding="utf-8")):
            assert ":" not in (found[1] or found[2]) and not (found[1] or found[2]).startswith("//"), (page, found[0])


@pytest.mark.parametrize("page", PHONE)
def test_a_page_fits_a_phone_and_asks_for_nothing(page: str, site: Path, browser: Any) -> None:
    seen = Seen(browser, site / page, width=390, height=844)
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert [request for request in seen.requests if not request.startswith(("file:", "data:"))] == []
    assert seen.complaints == []


def test_the_page_of_verbs_is_up_to_date() -> None:
    made = runpy.run_path(str(CHECKOUT / "scripts" / "verbs_page.py"))["page"]()
    assert (CHECKOUT / "docs" / "verbs.md").read_text(encoding="utf-8") == made, "run: python scripts/verbs_page.py"


def test_each_extra_is_explained_and_has_a_check() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (CHECKOUT / "docs" / "install.md").read_text(encoding="utf-8")
    script = (CHECKOUT / "scripts" / "check_extras.sh").read_text(encoding="utf-8")
    for extra in project["optional-dependencies"]:
        assert f"`{extra}`" in page, extra
        assert extra == "dev" or f"[{extra}]=" in script, extra


def test_the_citation_has_the_version_of_the_package() -> None:
    citation = yaml.safe_load((CHECKOUT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__


def test_the_readme_stays_short() -> None:
    assert len((CHECKOUT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_the_page_of_verbs_has_no_option_that_the_help_hides() -> None:
    assert "SUPPRESS" not in (CHECKOUT / "docs" / "verbs.md").read_text(encoding="utf-8")


def test_the_menu_names_no_page_twice() -> None:
    lines = re.findall(r"^ +- (?:[^:\n]+: )?(\S+\.md)$", (CHECKOUT / "mkdocs.yml").read_text(), flags=re.MULTILINE)
    assert len(lines) > 20 and len(lines) == len(set(lines))
