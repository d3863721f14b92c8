"""How people write tables: paths, column names, delimiters, encodings; what is read and what is refused."""

from __future__ import annotations

from pathlib import Path

from bad_inputs import Expected, kind
from bad_inputs.corpora import GOOD_CLIPS, add_row, corpus_of, prepare, refused, used, with_text
from small_runs import corpus


@kind
def an_absolute_path(folder: Path) -> Expected:
    root = corpus(folder / "corpus")
    add_row(root, audio="/etc/passwd", label="sad")
    return refused(
        prepare(root), "table.csv, row 25", "'/etc/passwd' is not below dataset.root=", "dataset.root=/ takes"
    )


@kind
def a_path_out_of_the_root(folder: Path) -> Expected:
    root = corpus(folder / "corpus")
    add_row(root, audio="wav/../../secret.wav", label="sad")
    return refused(prepare(root), "table.csv, row 25", "'wav/../../secret.wav' is not below dataset.root=")


@kind
def a_path_of_windows(folder: Path) -> Expected:
    root = corpus_of(folder, lambda number, row: {**row, "audio": "C:\\Data\\" + row["audio"].replace("/", "\\")})
    return refused(prepare(root), "table.csv, row 1", r"'C:\Data\wav\s0_0.wav' is a path of Windows")


@kind
def an_address_on_a_network(folder: Path) -> Expected:
    root = corpus_of(folder, lambda number, row: {**row, "audio": f"https://example.org/{row['audio']}"})
    return refused(prepare(root), "table.csv, row 1", "is an address on a network; download the file")


@kind
def absolute_paths_below_the_root(folder: Path) -> Expected:
    return used(corpus_of(folder, lambda number, row: {**row, "audio": f"{folder}/corpus/{row['audio']}"}))


@kind
def absolute_paths_and_the_root_of_the_file_system(folder: Path) -> Expected:
    root = corpus_of(folder, lambda number, row: {**row, "audio": f"{folder.resolve()}/corpus/{row['audio']}"})
    command = ["prepare", "dataset=csv", "dataset.root=/", f"dataset.table={root}/table.csv"]
    return Expected(command, 0, [f"{GOOD_CLIPS} clips verified", "dropped: 0\n"])


@kind
def paths_with_backslashes(folder: Path) -> Expected:
    return used(corpus_of(folder, lambda number, row: {**row, "audio": row["audio"].replace("/", "\\")}))


@kind
def paths_that_are_addresses_of_files(folder: Path) -> Expected:
    return used(corpus_of(folder, lambda number, row: {**row, "audio": f"file://{folder}/corpus/{row['audio']}"}))


@kind
def a_missing_column(folder: Path) -> Expected:
    root = with_text(folder, lambda table: table.replace(b"label", b"mood", 1))
    return refused(prepare(root), "table.csv lacks the column label", "audio, mood, speaker")


@kind
def columns_with_common_names(folder: Path) -> Expected:
    root = with_text(folder, lambda table: table.replace(b"audio,label,speaker", b"File Name,Emotion,Speaker ID"))
    return used(root, 0, GOOD_CLIPS, "audio from 'file name', label from 'emotion', speaker from 'speaker id'")


@kind
def two_columns_that_may_be_the_audio(folder: Path) -> Expected:
    root = with_text(folder, lambda table: table.replace(b"audio,label,speaker", b"path,label,file"))
    return refused(prepare(root), "2 columns that may be the audio: path, file", "+dataset.columns.audio=<column>")


@kind
def a_column_twice_with_other_values(folder: Path) -> Expected:
    root = with_text(folder, lambda table: table.replace(b"audio,label,speaker", b"audio,label,Label"))
    return refused(prepare(root), "table.csv has two different columns 'label'")


@kind
def a_table_of_zero_bytes(folder: Path) -> Expected:
    return refused(
        prepare(with_text(folder, lambda table: b"")), "table.csv is empty; give a table with a row of column names"
    )


@kind
def a_table_without_rows(folder: Path) -> Expected:
    root = with_text(folder, lambda table: b"audio,label\n")
    return refused(prepare(root), "table.csv has a header and no rows")


@kind
def byte_order_mark(folder: Path) -> Expected:
    return used(with_text(folder, lambda table: b"\xef\xbb\xbf" + table))


@kind
def semicolons(folder: Path) -> Expected:
    return used(with_text(folder, lambda table: table.replace(b",", b";")))


@kind
def carriage_returns(folder: Path) -> Expected:
    return used(with_text(folder, lambda table: table.replace(b"\n", b"\r\n")))


@kind
def a_binary_table(folder: Path) -> Expected:
    root = corpus(folder / "corpus")
    (root / "table.csv").write_bytes((root / "wav" / "s0_0.wav").read_bytes())
    return refused(prepare(root), "table.csv is not UTF-8")


@kind
def a_table_in_utf16(folder: Path) -> Expected:
    return used(with_text(folder, lambda table: table.decode().encode("utf-16")))


@kind
def a_table_in_latin_1(folder: Path) -> Expected:
    root = corpus(folder / "corpus")
    add_row(root, audio="wav/s0_0.wav", label="wütend", speaker="s0")
    (root / "table.csv").write_bytes((root / "table.csv").read_bytes().decode().encode("latin-1"))
    return refused(prepare(root), "table.csv is not UTF-8: save it as 'CSV UTF-8'")


@kind
def a_comma_more_in_each_row(folder: Path) -> Expected:
    return used(with_text(folder, lambda table: table.replace(b"\n", b",\n").replace(b",\n", b"\n", 1)))


@kind
def empty_columns_at_the_end(folder: Path) -> Expected:
    return used(with_text(folder, lambda table: table.replace(b"\n", b",,\n")))


@kind
def a_line_that_states_the_delimiter(folder: Path) -> Expected:
    return used(with_text(folder, lambda table: b"sep=;\r\n" + table.replace(b",", b";")))


@kind
def an_open_quote(folder: Path) -> Expected:
    root = with_text(folder, lambda table: table.replace(b"wav/s1_0.wav", b'"wav/s1_0.wav'))
    return refused(prepare(root), "table.csv, line 25", "check the quotes there")


@kind
def a_row_with_too_many_cells(folder: Path) -> Expected:
    root = with_text(folder, lambda table: table.replace(b"s0_1.wav,", b"s0_1.wav,loud,"))
    return refused(prepare(root), "table.csv, row 2 has 4 values for 3 columns")


@kind
def a_folder_as_the_table(folder: Path) -> Expected:
    root = corpus(folder / "corpus")
    (root / "table.csv").unlink()
    (root / "table.csv").mkdir()
    return refused(prepare(root), "There is no table at", "set dataset.table=", code=2)
