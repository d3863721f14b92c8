"""Hooks of mkdocs: the README and other files outside docs/ belong to the site, and the pages are read as GitHub does.

The documents link to each other as GitHub needs it, by paths within the repository (`../CONTRIBUTING.md`). A file that
such a link names becomes a page, or is copied if it is no Markdown, under its path in the repository.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).parents[1]
DOCS = "docs/"
ALWAYS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
CODE_IN_ROW = re.compile(r"(?<=`)[^`\n]*\\\|[^`\n]*(?=`)")
LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every file outside docs/ to which a page links, and the files to which these link."""
    waiting = [*ALWAYS, *(in_repository(file.src_uri, files) for file in files.documentation_pages())]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        if not path.startswith(DOCS):
            files.append(File.generated(config, path, abs_src_path=str(REPOSITORY / path)))
        if path.endswith(".md"):
            found = {target for target in targets(path) if not target.startswith(DOCS)} - seen
            waiting += sorted(found)
            seen |= found
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the text of a page with its links to files of the repository as links within the site."""
    here = page.file.src_uri
    source = in_repository(here, files)

    def on_site(match: re.Match[str]) -> str:
        target = target_of(source, match[0])
        return posixpath.relpath(target.removeprefix(DOCS), posixpath.dirname(here) or ".") if target else match[0]

    markdown = CODE_IN_ROW.sub(lambda code: code[0].replace("\\|", "|"), markdown)  # GitHub needs \| in a table
    return LINK.sub(on_site, markdown)


def in_repository(src_uri: str, files: Files) -> str:
    """Return the path in the repository of a file of the site."""
    file = files.get_file_from_path(src_uri)
    return src_uri if file is not None and file.generated_by else DOCS + src_uri


def targets(source: str) -> set[str]:
    """Return the files of the repository to which a Markdown file links, by their paths in it."""
    text = (REPOSITORY / source).read_text(encoding="utf-8")
    return {target for link in LINK.findall(text) if (target := target_of(source, link))}


def target_of(source: str, link: str) -> str | None:
    """Return the path in the repository to which a link of a file leads; None if there is no such file."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    path = REPOSITORY / target
    if path.is_dir() and (path / "README.md").is_file():
        return f"{target}/README.md"
    return target if path.is_file() else None
