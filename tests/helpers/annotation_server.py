"""A local server of the OpenAI protocol (chat completions, files, batches) with adjustable bad behaviour."""

from __future__ import annotations

import email
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LABELS = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
KEY = "sk-test-0123456789abcdef"
FAILURES: tuple[int | str, ...] = (500, 429, "hang up", 503, "cut")  # taken in turn


def answer(emotion: str, **elements: str) -> str:
    """Return an answer as the prompts ask for it."""
    fields = {"loudness": "mid", "pitch": "high", "rhythm_speed": "fast", "emotional_impact": "tense", **elements}
    return json.dumps({"character": "Ross", "context": "at home", "elements": {"emotion": emotion, **fields}})


def sensible(body: dict[str, Any]) -> str:
    """Return an answer with a label that depends on the question alone."""
    return answer(LABELS[int(digest(body), 16) % len(LABELS)])


def obedient(body: dict[str, Any]) -> str:
    """Answer like a model that falls for every injection: with the label that the utterance orders."""
    ordered = re.search(r"the emotion is (\w+)", body["messages"][-1]["content"])
    return answer(ordered[1]) if ordered else sensible(body)


def digest(body: dict[str, Any]) -> str:
    """Return a hash of the question, independent of the form of the answer."""
    return sha256(json.dumps(body["messages"]).encode()).hexdigest()


@dataclass
class Behaviour:
    """The server's settings; the fields after the empty line are its counts and records."""

    answer: Callable[[dict[str, Any]], str] = sensible
    seconds: float = 0.0  # before each answer
    rate: float | None = None  # answers a second; a call above it gets 429 with Retry-After
    failing: float = 0.0  # share of calls that fail, by FAILURES in turn
    malformed: float = 0.0  # share of first answers that are no JSON; repairs are JSON
    # Failures of the first calls: a status, "hang up", "cut" or "nonsense".
    failures: list[int | str] = field(default_factory=list)
    retry_after: str = "0.02"
    forms: tuple[str, ...] = ("json_schema", "json_object")  # forms of an answer that it takes
    refusal: int = 400  # status for other forms
    refuses: tuple[str, ...] = ()  # parameters that it refuses by a status of 400
    names_refused: bool = True  # in the error's `param`, otherwise in its message alone
    error: Callable[[dict[str, Any]], Any] = dict  # the form of its errors
    shape: Callable[[dict[str, Any]], Any] = dict  # turns a chat completion into what it sends: JSON or bytes
    needs: int = 0  # tokens of an answer that thinks; with a lower limit it is cut while it thinks
    headers: dict[str, str] = field(default_factory=dict)  # of its answers
    drips: float | None = None  # seconds between two bytes of an answer
    silent: bool = False  # takes a question and sends nothing
    api_version: str | None = None  # of Azure: its key is in the header api-key
    key: str | None = KEY  # the only valid one; None: any
    message: str = "something is wrong"  # in its errors
    code: str | None = None
    batch_polls: int = 1  # before a batch is completed
    poll_status: int | None = None  # an error for every look at a batch
    batch_status: int = 500  # of the requests of a batch that fail
    batch_fails: bool = False  # every request of a batch ends in its file of errors
    batch_lost: int = 0  # connections to drop after a batch has begun
    batches_listed: bool = True  # a busy server lists its batches later
    file_cuts: int = 0  # downloads of a batch's answers to cut off
    no_batches: bool = False  # it lists none, like an address without the Batch API
    batch_ends: list[str] = field(default_factory=list)  # status of the first batches, such as "expired" or "failed"

    port: int = 0  # where it listens, again if it is started again; 0: any
    calls: int = 0
    failed: int = 0
    refused: int = 0  # by the rate limit
    answered: Counter[str] = field(default_factory=Counter)  # by digest of the question
    first: float = 0.0  # time of the first answer, in seconds of time.monotonic()
    last: float = 0.0  # time of the last answer
    schemas: set[str] = field(default_factory=set)
    bodies: list[dict[str, Any]] = field(default_factory=list)  # the last few
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.Lock)
    allowance: float = 1.0  # answers that the rate limit allows at once
    counted: float = field(default_factory=time.monotonic)

    def failure(self) -> int | str | None:
        """Return how this call fails; None if it does not."""
        self.calls += 1
        failure = None
        if self.failures:
            failure = self.failures.pop(0)
        elif int(self.calls * self.failing) > int((self.calls - 1) * self.failing):
            failure = FAILURES[int(self.calls * self.failing) % len(FAILURES)]
        self.failed += failure is not None
        return failure

    def wait(self) -> float:
        """Return the seconds until the rate allows another answer; 0 if it does now."""
        if self.rate is None:
            return 0.0
        now = time.monotonic()
        self.allowance = min(self.allowance + (now - self.counted) * self.rate, max(1.0, self.rate / 20))
        self.counted = now
        if self.allowance < 1:
            self.refused += 1
            return (1 - self.allowance) / self.rate
        self.allowance -= 1
        return 0.0

    def completion(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a question, and count it."""
        self.schemas.add(json.dumps(body.get("response_format")))
        self.bodies = [*self.bodies[-9:], body]
        name = digest(body)
        first_round = not any(message["content"].startswith(UNREADABLE) for message in body["messages"])
        malformed = first_round and int(name[:4], 16) < self.malformed * 0x10000
        text = "I think it is anger, but who knows?" if malformed else self.answer(body)
        self.answered[name] += 1
        self.last = time.monotonic()
        self.first = self.first or self.last
        tokens = {"prompt_tokens": len(json.dumps(body["messages"])) // 4, "completion_tokens": len(text) // 4}
        cut = self.needs > body.get("max_tokens", body.get("max_completion_tokens", 0))
        message = {"role": "assistant", "content": "" if cut else text}
        choice = {"index": 0, "finish_reason": "length" if cut else "stop", "message": message}
        return {
            "id": name[:12],
            "object": "chat.completion",
            "model": body["model"],
            "choices": [choice],
            "usage": tokens,
        }

    def batch(self, identity: str) -> dict[str, Any]:
        """Return the state of a batch after one more poll."""
        batch = self.batches[identity]
        batch["polls"] += 1
        if batch["status"] == "in_progress" and batch["polls"] > self.batch_polls:
            batch["status"] = self.batch_ends.pop(0) if self.batch_ends else "completed"
            if batch["status"] == "failed":
                batch["errors"] = {"data": [{"code": "token_limit_exceeded", "message": self.message}]}
            else:
                self._compute(batch)
        return {key: value for key, value in batch.items() if key != "polls"}

    def _compute(self, batch: dict[str, Any]) -> None:
        lines = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
        if batch["status"] == "expired":  # after half of its requests
            lines = lines[: len(lines) // 2]
        done, wrong = [], []
        for line in lines:
            refused = next((name for name in self.refuses if name in line["body"]), None)
            if refused is not None:
                error = {"status_code": 400, "body": {"error": {"message": "Unsupported", "param": refused}}}
                wrong.append({"custom_id": line["custom_id"], "response": error, "error": None})
            elif self.failure() is not None or self.batch_fails:
                body = {"error": {"message": self.message, "code": self.code}}
                error = {"status_code": self.batch_status, "body": body}
                wrong.append({"custom_id": line["custom_id"], "response": error, "error": None})
            else:
                response = {"status_code": 200, "body": self.shape(self.completion(line["body"]))}
                done.append({"custom_id": line["custom_id"], "response": response, "error": None})
        for kind, rows in (("output", done), ("error", wrong)):
            if rows:
                batch[f"{kind}_file_id"] = f"file-{kind}-{batch['id']}"
                self.files[f"file-{kind}-{batch['id']}"] = "\n".join(map(json.dumps, reversed(rows))).encode()


SILENCE = 60.0  # seconds that a silent server holds the connection
CUT = b'{"choices": [{"mess'  # the beginning of an answer
UNREADABLE = "That cannot be read"  # the beginning of a repair question


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = (
        1024  # with the default 5, a burst of connections on a busy machine waits seconds for TCP's retries
    )


@contextmanager
def annotating(behaviour: Behaviour) -> Iterator[str]:
    """Run the server, and yield its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            path = self.path.split("?")[0].removeprefix("/v1/")
            with behaviour.lock:
                if path == "batches" and behaviour.no_batches:
                    self._send(404, {"error": {"message": "Not Found"}})
                elif path == "batches":
                    names = reversed(behaviour.batches) if behaviour.batches_listed else ()
                    batches = [behaviour.batches[name] | {"polls": 0} for name in names]
                    self._send(200, {"object": "list", "data": batches, "has_more": False})
                elif path.startswith("batches/") and path.removeprefix("batches/") not in behaviour.batches:
                    self._send(404, {"error": {"message": f"No batch found with id '{path}'"}})
                elif path.startswith("batches/") and behaviour.poll_status:
                    self._send(behaviour.poll_status, {"error": {"message": behaviour.message}})
                elif path.startswith("batches/"):
                    self._send(200, behaviour.batch(path.removeprefix("batches/")))
                elif path.startswith("files/") and path.endswith("/content"):
                    content = behaviour.files.get(path.split("/")[1])
                    if content is None:
                        self._send(404, {"error": {"message": "No such File object"}})
                        return
                    cut, behaviour.file_cuts = behaviour.file_cuts > 0, max(behaviour.file_cuts - 1, 0)
                    self._send(200, content[:-9] if cut else content, {"Content-Length": str(len(content))})
                    self.close_connection = cut
                else:
                    self._send(404, {"error": {"message": f"there is no {path}"}})

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if len(content) < int(self.headers["Content-Length"]):  # the client was killed
                self.close_connection = True
                return
            azure = behaviour.api_version is not None
            given = self.headers["api-key"] if azure else self.headers["Authorization"]
            if behaviour.key is not None and given != (behaviour.key if azure else f"Bearer {behaviour.key}"):
                # shows the key, as a careless server might
                self._send(401, {"error": {"message": f"the header {given} is wrong", "code": "invalid_api_key"}})
                return
            path, _, query = self.path.removeprefix("/v1/").partition("?")
            if azure and query != f"api-version={behaviour.api_version}":
                self._send(404, {"error": {"message": "Resource not found", "code": "404"}})
            elif path.endswith("chat/completions"):
                self._complete(json.loads(content))
            elif path == "files":
                form = email.message_from_bytes(
                    b"Content-Type: " + self.headers["Content-Type"].encode() + b"\n\n" + content
                )
                [file] = [part for part in form.get_payload() if part.get_filename()]
                with behaviour.lock:
                    name = f"file-{len(behaviour.files)}"
                    behaviour.files[name] = file.get_payload(decode=True)
                self._send(200, {"id": name, "object": "file", "purpose": "batch", "filename": "a", "bytes": 1})
            elif path == "batches":
                with behaviour.lock:
                    name = f"batch-{len(behaviour.batches)}"
                    made = {"id": name, "object": "batch", "status": "in_progress", "polls": 0, "created_at": 0}
                    behaviour.batches[name] = made | json.loads(content)
                    if behaviour.batch_lost:
                        behaviour.batch_lost -= 1
                        self.close_connection = True
                        return
                    self._send(200, behaviour.batches[name])
            else:
                self._send(404, {"error": {"message": f"there is no {path}"}})

        def _complete(self, body: dict[str, Any]) -> None:
            with behaviour.lock:
                failure, wait = behaviour.failure(), behaviour.wait()
            if failure == "hang up":
                self.close_connection = True
            elif isinstance(failure, int):
                headers = {"Retry-After": behaviour.retry_after} if failure in (429, 503) else {}
                error = {"error": {"message": behaviour.message, "code": behaviour.code}}
                self._send(failure, behaviour.error(error), headers)
            elif behaviour.silent:
                time.sleep(SILENCE)
                self.close_connection = True
            elif refused := next((name for name in behaviour.refuses if name in body), None):
                error = {"message": f"Unsupported parameter: '{refused}' is not supported with this model."}
                error |= {"param": refused} if behaviour.names_refused else {}
                self._send(400, behaviour.error({"error": error}))
            elif failure == "nonsense":
                self._send(200, b"<html>Bad gateway</html>")
            elif wait:
                error = {"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}}
                self._send(429, error, {"Retry-After": f"{wait:.3f}"})
            elif body.get("response_format", {"type": "text"})["type"] not in ("text", *behaviour.forms):
                error = {"error": {"message": "response_format is not supported"}}
                self._send(behaviour.refusal, behaviour.error(error))
            elif failure == "cut":
                self._send(200, CUT, {"Content-Length": "1000"})
                self.close_connection = True
            else:
                time.sleep(behaviour.seconds)
                with behaviour.lock:
                    completion = behaviour.shape(behaviour.completion(body))
                self._send(200, completion, behaviour.headers, behaviour.drips)

        def _send(
            self, status: int, content: Any, headers: dict[str, str] | None = None, drips: float | None = None
        ) -> None:
            text = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in (
                {"Content-Type": "application/json", "Content-Length": str(len(text))} | (headers or {})
            ).items():
                self.send_header(name, value)
            self.end_headers()
            for part in [text] if drips is None else [text[at : at + 1] for at in range(len(text))]:
                self.wfile.write(part)
                time.sleep(drips or 0.0)

        def handle(self) -> None:
            with suppress(OSError):  # the client was killed
                super().handle()

        def log_message(self, *_: Any) -> None:
            pass

    server = Server(("127.0.0.1", behaviour.port), Handler)
    behaviour.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
