"""`serve` answers as `predict` does, alone and to many at once, within its limits, and every failure is a sentence."""

from __future__ import annotations

import io
import json
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from bad_inputs.audio import BAD
from make_audio import FORMATS, sine, sound
from melt_ser.runs.finished_run import load_model
from melt_ser.serve import main
from small_runs import CLASSES, corpus, train

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
from serving import Served, served_process, serving, small_run, until  # needs fastapi

SAME = pytest.approx
NOT_IN_THE_CONTENT = ("an_hour_long", "missing", "folder", "pipe", "device", "link", "not_there", "a_name_longer")
UPLOADED = [kind for kind in BAD if not any(word in kind for word in NOT_IN_THE_CONTENT)]
CLIENTS = 20


@pytest.fixture(scope="module")
def run() -> Path:
    return small_run()


@pytest.fixture(scope="module")
def served(run: Path) -> Iterator[Served]:
    with serving(run) as one:
        yield one


def noise(seconds: float, seed: int = 0, rate: int = 16_000) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))).astype(np.float32)


def wav(samples: np.ndarray, rate: int = 16_000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


def close(answer: dict[str, Any], row: Any) -> bool:
    """Return whether an answer has the label and the probabilities of a row of `predict`."""
    expected = SAME({name: row[name] for name in CLASSES}, abs=1e-6)
    return bool(answer["label"] == row["label"] and answer["probabilities"] == expected)


def test_an_answer_is_that_of_predict_for_the_file_and_for_its_windows(
    served: Served, run: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.wav").write_bytes(wav(noise(2.5, rate=44_100), 44_100))
    status, answer = served.label((tmp_path / "a.wav").read_bytes(), "a.wav", "window=1&peaks=100")
    assert status == 200 and answer["file"] == "a.wav" and answer["seconds"] == SAME(2.5)
    model = load_model(run, device="cpu")
    assert close(answer, model.predict(tmp_path / "a.wav").iloc[0])
    rows = model.predict(tmp_path / "a.wav", window=1.0)
    assert [(one["start"], one["end"]) for one in answer["windows"]] == list(
        zip(rows["start"], rows["end"], strict=True)
    )
    assert all(close(one, row) for one, (_, row) in zip(answer["windows"], rows.iterrows(), strict=True))
    assert len(answer["peaks"]) == 100 and 0.2 < max(answer["peaks"]) < 1
    assert served.label((tmp_path / "a.wav").read_bytes())[1]["windows"] == []


def test_twenty_clients_at_once_get_the_answers_that_each_would_get_alone(served: Served, run: Path) -> None:
    model, clips = load_model(run, device="cpu"), [noise(0.3 + 0.1 * number, number) for number in range(CLIENTS)]
    before = batches(served)
    with ThreadPoolExecutor(CLIENTS) as clients:
        answers = list(clients.map(lambda clip: served.label(wav(clip)), clips))
    for clip, (status, answer) in zip(clips, answers, strict=True):
        assert status == 200 and close(answer, model.predict(clip, 16_000).iloc[0])
    windows, passes = (after - earlier for after, earlier in zip(batches(served), before, strict=True))
    assert windows == CLIENTS and passes < CLIENTS  # some shared a forward pass


def batches(served: Served) -> tuple[float, float]:
    """Return the windows that the server has computed, and the forward passes."""
    text = served.get("/metrics")[1]
    return tuple(float(re.search(rf"melt_ser_batch_size_{name} (\S+)", text)[1]) for name in ("sum", "count"))  # type: ignore[index, return-value]


def test_a_recording_of_more_than_a_minute_has_the_mean_of_its_parts(served: Served, run: Path, tmp_path: Path) -> None:
    samples = noise(61.5) * np.linspace(0.1, 1, round(61.5 * 16_000), dtype=np.float32)
    soundfile.write(tmp_path / "long.flac", samples, 16_000)
    status, answer = served.label((tmp_path / "long.flac").read_bytes(), "long.flac")
    assert status == 200 and close(answer, load_model(run, device="cpu").predict(tmp_path / "long.flac").iloc[0])
    assert answer["notes"] == ["The label is from the mean over parts of up to 60 s."]


@pytest.mark.parametrize("name", FORMATS)
def test_any_format_is_taken_under_any_name(served: Served, run: Path, tmp_path: Path, name: str) -> None:
    path = sound(tmp_path / name)
    expected = load_model(run, device="cpu").predict(path).iloc[0]
    assert close(served.label(path.read_bytes(), name)[1], expected)
    status, answer = served.label(path.read_bytes(), "../../blob")
    assert status == 200 and answer["file"] == "blob"


@pytest.mark.parametrize("kind", UPLOADED)
def test_a_bad_recording_is_refused_in_a_sentence_without_a_path_of_the_server(
    served: Served, tmp_path: Path, kind: str
) -> None:
    name, _, write = BAD[kind]
    write(tmp_path / name)
    status, answer = served.label((tmp_path / name).read_bytes(), name, "window=1")
    assert status == 422 and set(answer) == {"error"}
    assert answer["error"].startswith(name) and answer["error"].endswith(".")
    assert "melt_ser-" not in answer["error"] and "/" not in answer["error"].replace("dataset.", "").split("(")[0]


def test_a_file_that_names_another_is_not_followed(served: Served, tmp_path: Path) -> None:
    (tmp_path / "secret.wav").write_bytes(wav(noise(1.0)))
    for text in (
        f"ffconcat version 1.0\nfile {tmp_path}/secret.wav\n",
        f"#EXTM3U\n#EXTINF:1,\nfile://{tmp_path}/secret.wav\n",
    ):
        for name in ("a.mp4", "a.m3u8", "a"):
            assert served.label(text.encode(), name)[0] == 422


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("window=0", "window: "),
        ("window=nan", "window: "),
        ("window=61", "window: "),
        ("peaks=-1", "peaks: "),
        ("window=a", "window: "),
    ],
)
def test_a_wrong_parameter_is_named(served: Served, query: str, says: str) -> None:
    status, answer = served.label(wav(noise(0.5)), query=query)
    assert status == 422 and answer["error"].startswith(says)


def test_limits_of_size_duration_and_queue_have_their_status_and_the_server_goes_on(run: Path) -> None:
    with serving(run, megabytes=0.2, seconds=2, requests=2) as served:
        status, answer = served.label(bytes(300_000))
        assert status == 413 and answer["error"] == "The upload is larger than 0.2 MB; send a part of it."
        status, answer = served.label(wav(sine(8_000, 3.0), 8_000))
        assert status == 413 and answer["error"] == "clip.wav: lasts more than 2 s; send a part of it."
        waiting = [unfinished_upload(served) for _ in range(2)]
        until(lambda: "melt_ser_requests_working 2.0" in served.get("/metrics")[1])
        status, answer = served.label(wav(noise(0.5)))
        assert status == 503 and answer["error"].startswith("2 requests are being answered")
        for connection in waiting:
            connection.close()
        until(lambda: served.label(wav(noise(0.5)))[0] == 200)
        assert served.get("/health") == (200, {"status": "ok"})


def test_a_chunked_upload_without_a_stated_length_is_cut_at_the_limit(run: Path) -> None:
    with serving(run, megabytes=0.01) as served, connect(served) as connection:
        connection.sendall(head_of("Transfer-Encoding: chunked") + b"7000\r\n" + bytes(0x7000) + b"\r\n")
        assert answer_on(connection)[0] == 413


def test_an_upload_that_does_not_end_has_its_time(run: Path) -> None:
    with serving(run, timeout=0.5) as served, unfinished_upload(served) as connection:
        status, content = answer_on(connection)
        assert status == 504 and b"There was no answer within 0.5 s" in content


def test_a_computation_that_takes_too_long_is_abandoned(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from melt_ser.evaluation.labelling import Model

    compute, may_go_on = Model.probabilities, threading.Event()

    def held(model: Model, waveforms: Any) -> Any:
        may_go_on.wait()
        return compute(model, waveforms)

    monkeypatch.setattr(Model, "probabilities", held)
    with serving(run, batch=1, timeout=1.0) as served:
        assert served.label(wav(noise(2.0)), query="window=0.1")[0] == 504
        may_go_on.set()
        until(lambda: "melt_ser_windows_waiting 0.0" in served.get("/metrics")[1])
        assert batches(served)[0] < 8  # of the 21 windows
        until(lambda: served.label(wav(noise(0.5)))[0] == 200)


def head_of(form: str) -> bytes:
    """Return the head of an upload, with a line about its length."""
    lines = ("POST /label HTTP/1.1", "Host: x", "Content-Type: multipart/form-data; boundary=b", form, "", "")
    return "\r\n".join(lines).encode()


def unfinished_upload(served: Served) -> socket.socket:
    """Begin an upload and send nothing more."""
    connection = connect(served)
    connection.sendall(head_of("Content-Length: 5000") + b"--b")
    return connection


def connect(served: Served) -> socket.socket:
    host, port = served.address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def answer_on(connection: socket.socket) -> tuple[int, bytes]:
    """Return the status and the content of an answer, whose head and content may arrive apart."""
    response = HTTPResponse(connection)
    response.begin()
    return response.status, response.read()


def test_the_model_has_its_results_and_calibration_without_paths(served: Served, run: Path) -> None:
    status, facts = served.get("/model")
    result = json.loads((run / "result.json").read_text())
    [row] = [row for row in result["evals"] if row["answer_set"] == "closed"]
    assert status == 200 and facts["classes"] == list(CLASSES)
    [score] = facts["scores"]
    assert score["ua"] == row["ua"] and score["calibration"] == row["calibration"]["curve"]
    assert str(run.parent) not in json.dumps(facts)


def test_a_run_of_several_folds_answers_with_their_mean(tmp_path: Path) -> None:
    run, _ = train(tmp_path / "runs", corpus(tmp_path / "c"), "dataset.folds=2", "dataset.fold=all")
    with serving(run) as served:
        assert served.get("/model")[1]["models"] == 2
        clip = noise(0.5)
        assert close(served.label(wav(clip))[1], load_model(run, device="cpu").predict(clip, 16_000).iloc[0])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_request_under_way_end_and_closes_the_server(run: Path, number: int) -> None:
    with served_process(str(run)) as (served, process):
        content = wav(noise(0.5))
        with connect(served) as connection:
            form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
            whole = form + content + b"\r\n--b--\r\n"
            connection.sendall(head_of(f"Content-Length: {len(whole)}") + whole[:1000])
            until(lambda: "melt_ser_requests_working 1.0" in served.get("/metrics")[1])
            process.send_signal(number)
            time.sleep(0.3)
            connection.sendall(whole[1000:])
            assert answer_on(connection)[0] == 200
        process.wait()
        assert process.returncode == 128 + number
        assert process.stderr is not None and process.stderr.read().splitlines() == ["stop with Ctrl-C", "stopped."]


def test_an_address_in_use_and_a_missing_run_are_refused_in_a_sentence(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main([str(run), "--port", str(port)]) == 2
        assert f"127.0.0.1:{port} cannot be used (Address already in use)" in capsys.readouterr().err
    assert main([str(tmp_path), "--port", "0"]) == 2
    assert "There is no finished run in" in capsys.readouterr().err


def test_requests_end_while_the_server_closes(run: Path) -> None:
    """A thread of the test asks all the time; each answer is whole, or there is no connection."""
    statuses: list[int] = []
    stop = threading.Event()

    def ask(served: Served) -> None:
        while not stop.is_set():
            try:
                statuses.append(served.label(wav(noise(0.3)))[0])
            except OSError:
                return

    with serving(run) as served:
        asking = threading.Thread(target=ask, args=(served,))
        asking.start()
        until(lambda: len(statuses) > 3)
    stop.set()
    asking.join()
    assert set(statuses) == {200}
