"""Tell how well the level of a clip alone guesses its label, and write a copy of a corpus with all clips at one level.

    python scripts/clip_level.py <corpus> <folder> [--folds leave_one_out] [--out <folder of the copy>]

The level is the root mean square of the whole clip in decibels of full scale. A logistic regression with this one
number, balanced over the classes, learns from each fold's train and dev parts and answers its test part. The copy has
the audio alone, under the same names in float WAV at -26 dB; what a model loses on it, it had from the level of the
recordings. A corpus with segments has no copy.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import melt_ser
from melt_ser.audio.decode import read_native
from melt_ser.corpora.fold_split import FoldSplit

LEVEL = -26.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="as in dataset=<corpus>")
    parser.add_argument("root", type=Path, help="the folder of the release")
    parser.add_argument("--folds", help="as in dataset.folds; by default those of the corpus")
    parser.add_argument("--out", type=Path, help="write the copy here")
    options = parser.parse_args()
    corpus = melt_ser.load_corpus(options.corpus, options.root, **({"folds": options.folds} if options.folds else {}))
    table = corpus.table
    if options.out is not None and table["start"].notna().any():
        parser.error(f"'{options.corpus}' has segments of longer files; run without --out.")
    levels = pd.Series(0.0, index=table["utterance"])
    for utterance, audio, *times in table[["utterance", "audio", "start", "end"]].itertuples(index=False):
        waveform, rate = read_native(corpus.root / audio, *(None if pd.isna(time) else time for time in times))
        levels[utterance] = 20 * np.log10(np.sqrt(np.mean(waveform**2, dtype=np.float64)))
        if options.out is not None:
            at_one_level = waveform * np.float32(10 ** ((LEVEL - levels[utterance]) / 20))
            (options.out / audio).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(options.out / audio, at_one_level, rate, subtype="FLOAT", format="WAV")  # no peak is cut
    print(table.assign(level=levels.array).groupby("class")["level"].agg(["count", "mean", "std"]).round(1).to_string())
    print(f"UA by the level alone, {len(corpus.folds)} folds: {100 * level_alone(levels, corpus.folds):.1f} %")


def level_alone(levels: pd.Series, folds: list[FoldSplit]) -> float:
    """Return the UA, pooled over the test parts; `levels` are by utterance."""
    answers, references = [], []
    for fold in folds:
        learnt = pd.concat([fold.train, fold.dev])
        model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
        model.fit(levels[learnt["utterance"]].to_frame(), learnt["class"])
        answers.extend(model.predict(levels[fold.test["utterance"]].to_frame()))
        references.extend(fold.test["class"])
    return balanced_accuracy_score(references, answers)


if __name__ == "__main__":
    main()
