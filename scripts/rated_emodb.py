"""Write EmoDB with attributes that are derived from its labels, and with three raters who are made up.

    python scripts/rated_emodb.py <EmoDB> <folder>

No person rated these attributes: they try the path from ratings to a report on real speech (docs/targets.md).

- derived.csv: pleasure (as valence), arousal and dominance of each emotion, from -1 to 1, by Russell and Mehrabian,
  "Evidence for a three-factor theory of emotions", Journal of Research in Personality 11, 1977. Neutral is 0.
- raters.csv: for each clip three raters, who give its label in four of five answers and otherwise any label, and an
  arousal that is the derived one plus noise (deviation 0.3).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from melt_ser.cli.compose import load_dataset
from melt_ser.corpora.load import load_corpus

ATTRIBUTES = ["valence", "arousal", "dominance"]
EMOTIONS = {
    "angry": (-0.51, 0.59, 0.25),
    "bored": (-0.65, -0.62, -0.33),
    "disgusted": (-0.60, 0.35, 0.11),
    "fearful": (-0.64, 0.60, -0.43),
    "happy": (0.76, 0.48, 0.35),  # "joyful" in the paper
    "neutral": (0.0, 0.0, 0.0),
    "sad": (-0.63, -0.27, -0.33),
}
NOISE = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("emodb", type=Path, help="the release, with wav/")
    parser.add_argument("out", type=Path, help="the folder of the two tables")
    options = parser.parse_args()
    config = load_dataset("emodb")
    config.root = str(options.emodb)
    table = load_corpus(config).table
    derived = pd.DataFrame([EMOTIONS[name] for name in table["emotion"]], columns=ATTRIBUTES)
    derived = derived.assign(audio=table["audio"].array, speaker=table["speaker"].array, label=table["emotion"].array)
    options.out.mkdir(parents=True, exist_ok=True)
    derived.to_csv(options.out / "derived.csv", index=False)

    generator, rows = np.random.default_rng(0), []
    for clip in derived.itertuples():
        for rater in ("r1", "r2", "r3"):
            label = clip.label if generator.random() < 0.8 else str(generator.choice(list(EMOTIONS)))
            arousal = clip.arousal + generator.normal(0, NOISE)
            rows.append({"audio": clip.audio, "rater": rater, "label": label, "arousal": arousal})
    pd.DataFrame(rows).to_csv(options.out / "raters.csv", index=False)


if __name__ == "__main__":
    main()
