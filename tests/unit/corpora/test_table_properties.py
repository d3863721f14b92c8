"""Properties of any table and label map: nothing is lost or changed, or one sentence refuses it."""

from __future__ import annotations

import csv
import io
import math
import random
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpus_trees import placeholder
from make_audio import sound
from melt_ser.cli.compose import load_dataset
from melt_ser.core.errors import InputError, MeltSerError, SetupError, one_line
from melt_ser.core.files import write_csv
from melt_ser.core.spreadsheet import unguarded
from melt_ser.corpora.labels import EMOTIONS, LabelSpace, common_label_map, map_labels
from melt_ser.corpora.load import load_corpus
from melt_ser.corpora.readers.csv import read
from melt_ser.corpora.table import COLUMNS, digest, make_table, validate

CONFIG = replace(load_dataset("csv"), table="my.csv")
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples of this module, since hypothesis runs many in a test."""
    path = tmp_path_factory.mktemp("properties")
    for name in ("a.wav", "b.wav"):
        placeholder(path / name)
    return path


CELLS = st.fixed_dictionaries(
    {"audio": st.sampled_from(["a.wav", "b.wav", "./a.wav", "missing.wav", ""]), "label": TEXTS},
    optional={"text": TEXTS, "speaker": TEXTS, "split": st.sampled_from(["", "train", "dev", "test", "Val"])},
)
ROWS = st.lists(CELLS, min_size=1, max_size=6).filter(lambda rows: any("".join(row.values()).strip() for row in rows))


@settings(max_examples=150)
@given(ROWS, st.sampled_from(",;\t"), st.sampled_from([0, 1]))
def test_the_csv_reader_loses_no_row_and_changes_no_text(
    folder: Path, rows: list[dict[str, str]], delimiter: str, quoting: int
) -> None:
    rows = [{**row, "start": str(number)} if row["audio"] else row for number, row in enumerate(rows)]
    columns = ["audio", "label", "text", "speaker", "split", "start"]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", delimiter=delimiter, quoting=quoting, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    (folder / "my.csv").write_bytes(text.getvalue().encode("utf-8"))
    release = read(folder, CONFIG)
    given = [row for row in rows if any(value.strip() for value in row.values())]  # a blank row does not count
    assert len(release.table) + len(release.skipped) == len(given)
    used = [row for row in given if row["audio"].endswith(("a.wav", "b.wav")) and row["label"].strip()]
    assert release.table["text"].tolist() == [row.get("text", "").strip() for row in used]
    if used:
        validate(release.table, "csv")


@settings(max_examples=150)
@given(
    st.binary(max_size=300) | st.text(max_size=200).map(lambda text: f"audio,label\n{text}".encode("utf-8", "ignore"))
)
def test_the_csv_reader_reads_any_file_or_refuses_it_in_one_sentence(folder: Path, content: bytes) -> None:
    (folder / "my.csv").write_bytes(content)
    try:
        release = read(folder, CONFIG)
    except MeltSerError as error:
        assert str(folder / "my.csv") in str(error)
    else:
        assert len(release.table) + len(release.skipped) > 0


TABLES = st.lists(
    st.fixed_dictionaries(
        {
            **{column: TEXTS for column in COLUMNS if column not in ("start", "end", "duration", "split")},
            "split": st.sampled_from(["train", "dev", "test", "", "eval"]),
            "start": st.floats(0, 10) | st.just(math.nan),
            "end": st.floats(0, 10) | st.just(math.nan),
        }
    ),
    max_size=5,
).map(make_table)


@settings(max_examples=150)
@given(TABLES)
def test_validate_accepts_exactly_the_contract_of_the_table(table: pd.DataFrame) -> None:
    named = all((table[column] != "").all() for column in ("utterance", "source", "audio", "label"))
    forwards = not (table["end"] <= table["start"].fillna(0.0)).any()
    sound = len(table) > 0 and named and table["utterance"].is_unique and "eval" not in set(table["split"]) and forwards
    try:
        validate(table, "any")
    except InputError:
        assert not sound
    else:
        assert sound


@settings(max_examples=100)
@given(TABLES, st.randoms(use_true_random=False))
def test_digest_depends_on_the_rows_and_not_on_their_order(table: pd.DataFrame, rng: random.Random) -> None:
    table = table[~table["utterance"].duplicated()]
    order = list(range(len(table)))
    rng.shuffle(order)
    assert digest(table.iloc[order]) == digest(table)
    if len(table):
        changed = table.assign(label=table["label"] + "x")
        assert digest(changed) != digest(table)


@settings(max_examples=12)  # loading takes longest, so few corpora with many texts
@given(st.lists(TEXTS.map(str.strip), min_size=10, max_size=20))
@example([""])
@example(["a\rb", "a\nb", "a\r\nb", "a\0b", 'a"b', "nan", "1.50", "\ufeffa"])
def test_a_corpus_with_cached_verification_has_the_same_text_and_digest(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    root = tmp_path_factory.mktemp("corpus")
    for number, _ in enumerate(texts):
        sound(root / "pcm16.wav").rename(root / f"{number}.wav")
    rows = [{"audio": f"{number}.wav", "label": "sad", "text": text} for number, text in enumerate(texts)]
    with (root / "my.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["audio", "label", "text"], quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)
    config = replace(CONFIG, root=str(root))
    fresh, stored = load_corpus(config), load_corpus(config)
    assert fresh.table["text"].tolist() == texts
    assert stored.table.equals(fresh.table)
    assert stored.digest == fresh.digest


@given(st.lists(st.lists(TEXTS, min_size=2, max_size=2), min_size=1, max_size=4))
@settings(max_examples=60)
def test_write_csv_writes_any_text_so_that_it_is_read_back(folder: Path, rows: list[list[str]]) -> None:
    rows = [[text.replace("\0", "") for text in row] for row in rows]  # no CSV reader takes this character
    write_csv(folder / "out.csv", pd.DataFrame(rows, columns=["one", "two"]))
    with (folder / "out.csv").open(encoding="utf-8", newline="") as file:
        assert [[unguarded(cell) for cell in row] for row in csv.reader(file)] == [["one", "two"], *rows]


LABEL_MAPS = st.dictionaries(TEXTS, st.sampled_from([*EMOTIONS, None, "cheerful"]), max_size=6)


@given(st.lists(TEXTS, min_size=1, max_size=8), LABEL_MAPS)
def test_map_labels_is_total_or_refuses(raw: list[str], label_map: dict[str, str | None]) -> None:
    try:
        mapped = map_labels(pd.Series(raw), label_map, "any")
    except SetupError:
        assert "cheerful" in label_map.values()
    except InputError as error:
        unknown = [label for label in raw if label not in label_map]
        assert unknown
        assert "\n" not in one_line(str(error))
    else:
        assert mapped.tolist() == [label_map[label] for label in raw]


@given(st.lists(TEXTS, max_size=8))
def test_common_label_map_maps_only_into_the_vocabulary(raw: list[str]) -> None:
    assert set(common_label_map(pd.Series(raw, dtype=object)).values()) <= set(EMOTIONS)


@given(st.dictionaries(TEXTS, st.lists(st.sampled_from([*EMOTIONS, "cheerful"]), max_size=3), max_size=4))
def test_a_label_space_puts_each_emotion_into_one_class_or_refuses(classes: dict[str, list[str]]) -> None:
    members = [emotion for emotions in classes.values() for emotion in emotions]
    try:
        space = LabelSpace("any", classes)
    except SetupError:
        return
    assert len(set(members)) == len(members) and "cheerful" not in members
    emotions = pd.Series(list(EMOTIONS), dtype=object)
    for emotion, name in zip(emotions, space.classify(emotions), strict=True):
        assert (emotion in classes[name]) if name is not None else (emotion not in members)
