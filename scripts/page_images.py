"""Take the pictures of docs/images: the agreement page of MELT's released train file, and a listening test.

    python scripts/page_images.py <meld_train.csv> [--out docs/images]

Neither shows a line of a corpus: the agreement page has only counts, and the listening test uses the embedded demo
(synthetic voices, made-up sentences) with random second labels. Needs Chromium and the extra `dev`.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
import tempfile
from pathlib import Path

import pandas as pd
from PIL import Image

from melt_ser import agreement, listen

CHECKOUT = Path(__file__).parents[1]
sys.path.insert(0, str(CHECKOUT / "tests" / "helpers"))

from browser import Seen, chromium  # noqa: E402

DEMO = CHECKOUT / "src" / "melt_ser" / "demo" / "en"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path, help="MELT's released meld_train.csv")
    parser.add_argument("--out", type=Path, default=CHECKOUT / "docs" / "images")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, chromium() as browser:
        folder = Path(name)
        test = ["build", str(two_labels(folder)), "--root", str(DEMO), "--out", str(folder / "test")]
        code = agreement.main([str(options.labels), "--html", str(folder / "agreement.html")]) or listen.main(test)
        if code:
            return code
        page = Seen(browser, folder / "agreement.html", width=880, height=790).page
        save(page.screenshot(), options.out / "agreement.png")
        page = Seen(browser, folder / "test" / "share" / "index.html", width=720, height=500).page
        page.get_by_label("Your code").fill("r01")
        page.get_by_role("button", name="Start").click()
        page.get_by_role("button", name="Play", exact=True).click()
        page.locator("#left:enabled").wait_for()
        save(page.screenshot(), options.out / "listening.png")
    return 0


def save(picture: bytes, path: Path) -> None:
    """Write a picture in 64 colours, at a third of the size."""
    Image.open(io.BytesIO(picture)).quantize(64).save(path, optimize=True)


def two_labels(folder: Path) -> Path:
    """Write the demo's table with a random second label for each clip, and return its path."""
    table = pd.read_csv(DEMO / "table.csv", dtype=str, keep_default_na=False)
    labels = sorted(set(table["label"]))
    drawn = random.Random(0).choices(labels, k=len(table))
    table.assign(llm_label=drawn).to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


if __name__ == "__main__":
    sys.exit(main())
