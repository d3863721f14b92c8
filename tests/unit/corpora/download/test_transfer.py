"""A transfer gives a whole file, or one sentence, also from bad servers."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
import requests

from http_server import CONTENT, Behaviour, serving
from melt_ser.core.console import transfer_bar
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.download.transfer import size_at, transfer


def fetch(behaviour: Behaviour, path: Path, expected_bytes: int | None = None) -> bytes:
    with serving(behaviour) as address:
        transfer(f"{address}/a.bin", path, expected_bytes, transfer_bar)
    return path.read_bytes()


def test_transfer_continues_after_a_lost_connection(tmp_path: Path) -> None:
    server = Behaviour(CONTENT, drops=3)
    assert fetch(server, tmp_path / "a") == CONTENT
    assert server.requests == [None, "bytes=1500000-", "bytes=2250000-", "bytes=2625000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_transfer_continues_a_part_of_an_earlier_command(tmp_path: Path) -> None:
    server = Behaviour(CONTENT, drops=1, statuses=[])
    with serving(server) as address:
        (tmp_path / "a.part").write_bytes(CONTENT[:1000])
        (tmp_path / "a.part.mark").write_text('"v1"')
        transfer(f"{address}/a", tmp_path / "a", None, transfer_bar)
    assert server.requests[0] == "bytes=1000-" and (tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize("server", [Behaviour(CONTENT, drops=2, ranges=False), Behaviour(CONTENT, mark='"v2"')])
def test_transfer_starts_over_if_the_file_changed_or_without_ranges(server: Behaviour, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(b"older" * 1000)
    (tmp_path / "a.part.mark").write_text('"v1"')
    assert fetch(server, tmp_path / "a") == CONTENT


def test_transfer_starts_over_if_the_part_is_longer_than_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(CONTENT + b"more")
    (tmp_path / "a.part.mark").write_text('"v1"')
    assert fetch(Behaviour(CONTENT), tmp_path / "a") == CONTENT


def test_transfer_does_not_fetch_a_complete_part_again(tmp_path: Path) -> None:
    server = Behaviour(CONTENT)
    (tmp_path / "a.part").write_bytes(CONTENT)
    (tmp_path / "a.part.mark").write_text('"v1"')
    assert fetch(server, tmp_path / "a") == CONTENT
    assert server.requests == ["bytes=3000000-"]


@pytest.mark.parametrize(
    "server",
    [
        Behaviour(CONTENT, statuses=[0, 0]),  # closes the connection without an answer
        Behaviour(CONTENT, drops=2, sent=0.0),
        Behaviour(CONTENT, promised=3_000_001),  # says in the next answer that the file has no more bytes
        Behaviour(CONTENT, drops=2, mark=None),  # without an identifier of the file's state
        Behaviour(CONTENT, drops=1, wrong_ranges=1),
        Behaviour(CONTENT, length=False),
        Behaviour(CONTENT, statuses=[408, 429]),
    ],
)
def test_transfer_recovers_from_early_failures_of_the_server(server: Behaviour, tmp_path: Path) -> None:
    assert fetch(server, tmp_path / "a") == CONTENT


def test_transfer_notices_a_server_that_mixes_two_states_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(b"older" * 1000)
    (tmp_path / "a.part.mark").write_text('"v0"')
    server = Behaviour(CONTENT, compares=False)
    assert fetch(server, tmp_path / "a") == CONTENT
    assert server.requests == ["bytes=5000-", None]


def test_transfer_gives_up_if_the_server_always_sends_the_wrong_part(tmp_path: Path) -> None:
    server = Behaviour(CONTENT, drops=99, wrong_ranges=99)
    with pytest.raises(SetupError, match="sent another part"):
        fetch(server, tmp_path / "a")
    assert len(server.requests) < 15


def test_transfer_waits_as_long_as_the_server_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    server = Behaviour(CONTENT, statuses=[503, 500, 429], headers={"Retry-After": "7"})
    assert fetch(server, tmp_path / "a") == CONTENT and waits == [7, 7, 7]
    for nonsense in ("99999", "Wed, 21 Oct 2099 07:28:00 GMT", "soon"):
        fetch(Behaviour(CONTENT, statuses=[503], headers={"Retry-After": nonsense}), tmp_path / "a")
    assert waits[3:] == [120, 120, 0]


@pytest.mark.parametrize(
    ("server", "sentence"),
    [
        (Behaviour(CONTENT, statuses=[404]), "is not there (the server answers 404 Not Found)"),
        (Behaviour(CONTENT, statuses=[403]), "is not there (the server answers 403 Forbidden)"),
        (Behaviour(CONTENT, statuses=[204] * 9), "the server answers 204 No Content"),
        (Behaviour(CONTENT, statuses=[500] * 9), "cannot be downloaded (the server answers 500 Internal Server Error)"),
        (Behaviour(CONTENT, ranges=False, promised=9_000_000), "from the 3,000,000 bytes that are kept"),
        (Behaviour(CONTENT, statuses=[302] * 99, headers={"Location": "/a.bin"}), "Exceeded 30 redirects"),
        (Behaviour(CONTENT, statuses=[302], headers={"Location": "file:///etc/passwd"}), "No connection adapters"),
        (Behaviour(CONTENT, statuses=[302], headers={"Location": "http://["}), "Invalid"),
    ],
)
def test_transfer_failure_is_one_sentence(server: Behaviour, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(SetupError) as raised:
        fetch(server, tmp_path / "a")
    assert sentence in str(raised.value) and "\n" not in str(raised.value)
    assert not (tmp_path / "a").exists()


def test_transfer_follows_a_redirect_to_another_host_but_not_away_from_encryption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Behaviour(CONTENT)) as other_host:
        moved = Behaviour(b"", statuses=[302], headers={"Location": other_host.replace("127.0.0.1", "localhost")})
        assert fetch(moved, tmp_path / "a") == CONTENT
    answer = requests.Response()
    answer.status_code, answer.url, answer.raw = 200, "http://example.org/a", io.BytesIO()
    monkeypatch.setattr("requests.request", lambda *_, **__: answer)
    with pytest.raises(SetupError, match="http://example.org/a, which is not encrypted"):
        transfer("https://example.org/a", tmp_path / "b", None, transfer_bar)


def test_transfer_without_a_server_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="Connection refused"):
        transfer("http://127.0.0.1:9/a.zip", tmp_path / "a", None, transfer_bar)
    assert size_at("http://127.0.0.1:9/a.zip") is None


def test_transfer_refuses_a_file_of_the_wrong_size(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has 3,000,000 bytes, not the 5 that are expected"):
        fetch(Behaviour(CONTENT), tmp_path / "a", expected_bytes=5)
    with pytest.raises(InputError, match="has more than the 5 bytes"):
        fetch(Behaviour(CONTENT, length=False), tmp_path / "a", expected_bytes=5)
    assert fetch(Behaviour(CONTENT), tmp_path / "a", expected_bytes=len(CONTENT)) == CONTENT
    with serving(Behaviour(CONTENT)) as address:
        assert size_at(address) == len(CONTENT)


@pytest.mark.parametrize("expected", [len(CONTENT) // 2, 2 * len(CONTENT)])
def test_transfer_refuses_a_complete_part_of_the_wrong_size_each_time(expected: int, tmp_path: Path) -> None:
    server = Behaviour(CONTENT, length=False)
    with pytest.raises(InputError):  # the second request finds the part complete
        fetch(server, tmp_path / "a", expected_bytes=3 * len(CONTENT))
    for _ in range(2):
        with pytest.raises(InputError, match=f"not the {expected:,} that are expected: the file has changed; get the"):
            fetch(server, tmp_path / "a", expected_bytes=expected)


def test_transfer_does_not_begin_a_file_that_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 1000))
    with pytest.raises(SetupError, match="has 3,000,000 bytes, for which .* has no space"):
        fetch(Behaviour(CONTENT), tmp_path / "a")
