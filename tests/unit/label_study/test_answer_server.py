"""`listen serve`, the page's words and its questions: signed answers arrive, and nothing else can be written."""

from __future__ import annotations

import http.client
import json
import socket
import stat
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_listening import CHECKS, CLIPS, answer_by_mouse, built

from browser import CONTRASTS, Seen
from melt_ser.core.errors import InputError, SetupError
from melt_ser.label_study.answer_server import MOST_BYTES, AnswerServer, codes_of
from melt_ser.label_study.listening_answers import read_judgements
from melt_ser.label_study.rating_page import FOLDER, load_questions, load_words
from melt_ser.listen import main

QUESTIONS = """
- name: age
  question: How old are you?
  choices: [under 30, 30 or more]
- name: first_language
  question: What is your first language?
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    built(tmp_path)
    return tmp_path / "test"


@pytest.fixture
def server(folder: Path) -> Iterator[AnswerServer]:
    with AnswerServer(folder, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def answers(server: AnswerServer, rater: str = "anna", *items: str, **more: Any) -> dict[str, Any]:
    given = [
        {"item": item, "chosen": server.labels[item][0], "side": "left", "plays": 1, "seconds": 2.0}
        for item in items or list(server.labels)[:1]
    ]
    return {"schema_version": 1, "study": server.study, "rater": rater, "answers": given, "items": 6, **more}


def ask(
    server: AnswerServer, method: str, path: str, body: bytes | None = None, token: str = "", **headers: str
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", int(server.server_address[1]), timeout=60)
    try:
        connection.request(method, path, body, {"Authorization": f"Bearer {token}", **headers})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def post(server: AnswerServer, content: Any, token: str) -> int:
    return ask(server, "POST", "/answers", json.dumps(content).encode(), token)[0]


def written(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_signed_answers_are_written_and_scored(
    server: AnswerServer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = list(server.labels)[:2]
    assert post(server, answers(server, "anna", first), server.token("anna")) == 200
    assert post(server, answers(server, "anna", second), server.token("anna")) == 200
    content = json.loads((folder / "answers" / "anna.json").read_text())
    assert {answer["item"] for answer in content["answers"]} == {first, second}, "a second device takes nothing away"
    every = answers(server, "ben", *(item for item in server.labels), about={"age": "30 or more"})
    assert post(server, every, server.token("ben")) == 200
    judged = read_judgements(folder / "key.json", [folder / "answers"], allowed_failures=CHECKS)
    assert judged.raters == ["anna", "ben"]
    assert main(["score", str(folder / "key.json"), str(folder / "answers"), "--allow-failed", str(CHECKS)]) == 0
    assert "ben 30 or more" in " ".join(capsys.readouterr().out.split())


def test_nothing_but_signed_and_sound_answers_is_written(server: AnswerServer, folder: Path) -> None:
    before = written(folder)
    token = server.token("anna")
    item = next(iter(server.labels))
    for content, signature, status in (
        (answers(server), "", 403),
        (answers(server), "ä", 403),
        (answers(server), server.token("ben"), 403),
        (answers(server, "../anna"), server.token("../anna"), 403),
        (answers(server, "a" * 41), server.token("a" * 41), 403),
        (answers(server, study="another"), token, 409),
        (answers(server, "anna", item) | {"answers": [{"item": item, "chosen": "wut"}]}, token, 400),
        (answers(server) | {"answers": [{**answers(server)["answers"][0], "chosen": "wut"}]}, token, 400),
        (answers(server) | {"answers": [{**answers(server)["answers"][0], "item": "../../x"}]}, token, 400),
        (["no answers"], token, 400),
    ):
        assert post(server, content, signature) == status, content
    assert ask(server, "POST", "/answers", b"[" * 100_000, token)[0] == 400
    assert ask(server, "POST", "/key.json", b"{}", token)[0] == 404
    assert ask(server, "POST", "/answers", None, token, **{"Content-Length": str(MOST_BYTES + 1)})[0] == 413
    assert ask(server, "POST", "/answers", None, token, **{"Content-Length": "-1"})[0] == 413
    for method in ("PUT", "DELETE", "PATCH"):
        assert ask(server, method, "/answers", b"{}", token)[0] == 501
    assert written(folder) == before


def test_only_the_shared_files_are_sent(server: AnswerServer, folder: Path) -> None:
    (folder / "share" / "later.txt").write_text("not there at the start")
    (folder / "share" / "clips" / "link.flac").symlink_to(folder / "key.json")
    assert ask(server, "GET", "/")[1] == (folder / "share" / "index.html").read_bytes()
    clip = next((folder / "share" / "clips").glob("*.flac"))
    assert ask(server, "GET", f"/clips/{clip.name}")[0] in (200, 404)
    for path in ("/key.json", "/../key.json", "/%2e%2e/key.json", "/secret.txt", "/answers/anna.json", "//etc/passwd"):
        assert ask(server, "GET", path)[0] == 404
    assert ask(server, "GET", "/later.txt")[0] == ask(server, "GET", "/clips/link.flac")[0] == 404


def test_a_browser_gets_the_part_of_a_clip_that_it_asks_for(server: AnswerServer, folder: Path) -> None:
    """Safari asks for two bytes first, and plays nothing from a server that sends the whole file for them."""
    clip = next((folder / "share" / "clips").glob("*.flac"))
    whole = clip.read_bytes()
    for wanted, status, content in (
        ("bytes=0-1", 206, whole[:2]),
        ("bytes=10-", 206, whole[10:]),
        ("bytes=-5", 206, whole[-5:]),
        ("bytes=0-999999999", 206, whole),
        (f"bytes={len(whole)}-", 416, b""),
        ("bytes=5-2", 416, b""),
        ("bytes=0-1,4-5", 200, whole),
        ("wut", 200, whole),
    ):
        assert ask(server, "GET", f"/clips/{clip.name}", Range=wanted) == (status, content), wanted


def test_a_client_that_goes_away_leaves_no_traceback(
    server: AnswerServer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = next((folder / "share" / "clips").glob("*.flac"))
    clip.write_bytes(b"a" * 20_000_000)
    with socket.create_connection(("127.0.0.1", int(server.server_address[1]))) as client:
        client.sendall(f"GET /clips/{clip.name} HTTP/1.1\r\n\r\n".encode())
        client.recv(1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    while any("process_request_thread" in thread.name for thread in threading.enumerate()):
        time.sleep(0.01)
    assert ask(server, "GET", "/")[0] == 200
    assert capsys.readouterr().err == ""


def test_the_secret_is_the_owners_and_links_outlive_the_server(folder: Path) -> None:
    with AnswerServer(folder, "127.0.0.1", 0) as server:
        token, link = server.token("anna"), server.link("anna", "https://lab.example/test")
    assert link == f"https://lab.example/test/#anna.{token}"
    assert stat.S_IMODE((folder / "secret.txt").stat().st_mode) == 0o600
    with AnswerServer(folder, "127.0.0.1", 0) as server:
        assert server.token("anna") == token != server.token("ben")
        taken = server.server_address[1]
        with pytest.raises(SetupError, match=f"127.0.0.1:{taken} cannot be used"):
            AnswerServer(folder, "127.0.0.1", int(taken))
    with pytest.raises(SetupError, match="127.0.0.1:70000 cannot be used"):
        AnswerServer(folder, "127.0.0.1", 70_000)
    with pytest.raises(SetupError, match="is no test: it has no key.json"):
        AnswerServer(folder / "share", "127.0.0.1", 0)


def test_raters_are_codes_or_a_number() -> None:
    assert codes_of(["3"]) == ["rater-1", "rater-2", "rater-3"]
    assert codes_of(["anna", "ben", "anna"]) == ["anna", "ben"]
    with pytest.raises(SetupError, match="'an na' is no code"):
        codes_of(["an na"])
    for nobody in ([], ["0"]):
        with pytest.raises(SetupError, match="--raters has no rater"):
            codes_of(nobody)


def test_a_signed_link_leads_from_questions_to_answers_on_the_server(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "questions.yaml").write_text(QUESTIONS)
    built(tmp_path, "--questions", str(tmp_path / "questions.yaml"))
    folder = tmp_path / "test"
    with AnswerServer(folder, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        seen = Seen(browser, folder / "share" / "index.html", 390)
        seen.page.goto(server.link("anna"))
        for rater in ("ben", "anna"):  # links in the same tab differ after the # alone
            seen.page.goto(server.link(rater))
            seen.page.wait_for_function("rater => document.getElementById('rater')?.value === rater", arg=rater)
        assert seen.page.get_by_label("Your code").input_value() == "anna"
        assert not seen.page.get_by_label("Your code").is_editable()
        assert "Answers go to the server" in seen.page.locator("#kept").inner_text()
        seen.page.get_by_role("button", name="Start").click()
        assert seen.page.locator("#start").is_visible(), "the questions are not answered"
        seen.page.get_by_label("How old are you?").select_option("under 30")
        seen.page.get_by_label("What is your first language?").fill("Urdu")
        assert min(contrast for contrast, _ in seen.page.evaluate(CONTRASTS)) >= 4.5
        seen.page.get_by_role("button", name="Start").click()
        for _ in range(CLIPS + CHECKS):
            answer_by_mouse(seen)
        seen.page.locator("#end .sending", has_text="The answers have arrived.").wait_for()
        server.shutdown()
    content = json.loads((folder / "answers" / "anna.json").read_text())
    assert content["about"] == {"age": "under 30", "first_language": "Urdu"} and len(content["answers"]) == 6
    seen.page.get_by_role("button", name="Send answers", exact=True).click()
    seen.page.locator("#end .sending", has_text="could not be sent").wait_for()
    assert all("ERR_CONNECTION_REFUSED" in text for text in seen.complaints)
    seen.context.close()


@pytest.mark.parametrize("width", [1280, 360])
def test_the_page_speaks_german(browser: Any, tmp_path: Path, width: int) -> None:
    built(tmp_path, "--words", "de")
    seen = Seen(browser, tmp_path / "test" / "share" / "index.html", width)
    assert seen.page.evaluate("document.documentElement.lang") == "de"
    seen.page.get_by_role("button", name="Anfangen").click()
    assert seen.page.locator("#place").inner_text() == "Ausschnitt 1 von 6"
    seen.page.get_by_role("button", name="Abspielen").click()
    seen.page.locator("#left:enabled").wait_for()
    words = {seen.page.locator(side).inner_text() for side in ("#left", "#right")}
    assert words <= {"Ärger", "Angst", "Freude", "Trauer"}
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    seen.page.locator("#left").click()
    with seen.page.expect_download() as download:
        seen.page.locator(".save:visible").click()
    download.value.save_as(tmp_path / "anna.json")
    [answer] = json.loads((tmp_path / "anna.json").read_text())["answers"]
    assert answer["chosen"] in ("anger", "fear", "joy", "sadness"), "the label, not its word on the page"
    assert seen.complaints == []
    seen.context.close()


def test_own_words_are_complete_or_refused(tmp_path: Path) -> None:
    english = yaml.safe_load(FOLDER.joinpath("en.yaml").read_text())
    path = tmp_path / "fa.yaml"
    for change, words in (
        ({"start": "شروع", "direction": "rtl"}, None),
        ({"start": None}, r"start: 'None' is no text; put it in quotes"),
        ({"place": "Clip {at}"}, r"place: \{count\} is in one of this text and en.yaml's alone"),
        ({"strat": "x"}, "has a text 'strat' that no page shows; did you mean 'start'"),
    ):
        path.write_text(yaml.safe_dump(english | change, allow_unicode=True))
        if words is None:
            assert load_words(str(path))["start"] == "شروع"
        else:
            with pytest.raises(InputError, match=words):
                load_words(str(path))
    path.write_text(yaml.safe_dump({"start": "Los"}))
    with pytest.raises(InputError, match=r"lacks language, direction, .*; translate every text of en.yaml"):
        load_words(str(path))
    assert set(load_words("de")) == set(english)


@pytest.mark.parametrize(
    "text",
    ["- {name: a b, question: x}", "- {name: a}", "a: 1", "[", "- {name: a, question: x}\n- {name: a, question: y}"],
)
def test_questions_are_a_list_with_names_or_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "questions.yaml"
    path.write_text(QUESTIONS)
    assert [one.choices for one in load_questions(path)] == [["under 30", "30 or more"], []]
    path.write_text(text)
    with pytest.raises(InputError, match="name"):
        load_questions(path)


def test_serve_refuses_a_folder_that_is_no_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(tmp_path), "--raters", "2"]) == 2
    assert "is no test" in capsys.readouterr().err
