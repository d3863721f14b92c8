"""A table of single ratings: which of its columns is which."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from melt_ser.cli.compose import load_dataset
from melt_ser.corpora.rater_table import read_raters
from melt_ser.corpora.table import Release, make_table


def test_columns_with_the_documented_names_count_wherever_they_stand(tmp_path: Path) -> None:
    """Beside them a table may number its rows as `id`, and have a `category` of the material."""
    release = Release(make_table([{"utterance": name, "audio": f"{name}.wav"} for name in ("a", "b")]))
    (tmp_path / "raters.csv").write_text(
        "id,category,worker,utterance,rater,label\n1,film,w9,a,r1,sad\n2,film,w9,a,r2,happy\n3,radio,w9,b,r1,sad\n"
    )
    ratings, notes = read_raters(release, tmp_path, replace(load_dataset("csv"), raters="raters.csv"))
    assert ratings.votes.to_dict("index") == {"a": {"happy": 1.0, "sad": 1.0}, "b": {"happy": 0.0, "sad": 1.0}}
    assert notes == ["3 ratings by 2 raters of 2 utterances"]
