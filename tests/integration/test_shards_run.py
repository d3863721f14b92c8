"""A run on shards gives the numbers of a run on the same files, with decoding processes and decoded clips kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from melt_ser.cli.compose import compose
from melt_ser.runs.run import run
from shard_files import write_parquet, write_tar
from small_runs import corpus, predictions, small

SETTINGS = ("trainer.epochs=2", "trainer.workers=2", "augment=light")


def trained(out: Path, root: Path, *overrides: str) -> pd.DataFrame:
    """Return the predictions of a run, by the names of the clips alone."""
    path = run(compose([*small(*SETTINGS), f"dataset.root={root}", f"out={out}", *SETTINGS, *overrides]))
    assert json.loads(path.read_text())["evals"][0]["dropped"] in ({}, 0)
    table = predictions(path.parent)
    return table.set_axis([name.rpartition("/")[2] for name in table.index]).sort_index()


@pytest.mark.slow
def test_a_run_on_shards_is_a_run_on_their_files(tmp_path: Path) -> None:
    root = corpus(tmp_path / "files")
    rows = pd.read_csv(root / "table.csv")
    rows["audio"] = rows["audio"].str.replace(".wav", ".flac")
    for name in rows["audio"]:
        samples, rate = soundfile.read((root / name).with_suffix(".wav"))
        soundfile.write(root / name, samples, rate)
    rows.to_csv(root / "table.csv", index=False)
    contents = [(root / name).read_bytes() for name in rows["audio"]]
    keys = [Path(name).stem for name in rows["audio"]]
    data = rows[["label", "speaker"]].to_dict("records")
    samples = [
        {"__key__": key, "flac": content, "json": own} for key, content, own in zip(keys, contents, data, strict=True)
    ]
    for number in range(3):
        write_tar(tmp_path / "tar" / f"{number}.tar", samples[8 * number : 8 * number + 8])
    embedded = [
        {"audio": {"bytes": content, "path": f"{key}.flac"}, **own}
        for key, content, own in zip(keys, contents, data, strict=True)
    ]
    write_parquet(tmp_path / "parquet" / "all.parquet", embedded)
    expected = trained(tmp_path / "a", root, "dataset=csv", "dataset.table=table.csv")
    for kind in ("tar", "parquet"):
        found = trained(tmp_path / kind, tmp_path / kind, "dataset=shards", "dataset.name=csv")
        assert list(found.index) == list(expected.index)
        assert np.abs(found - expected).to_numpy().max() < 1e-6
