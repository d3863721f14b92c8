"""A local stand-in for the Hugging Face hub: the part of its HTTP interface that pushing and reading a model need."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

TOKEN = "hf_testTokenOfNobody0123456789"


@dataclass
class Repository:
    """The files of a repository on its only branch, by path."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    large: set[str] = field(default_factory=set)  # paths that came through LFS

    @property
    def sha(self) -> str:
        content = b"".join(path.encode() + self.files[path] for path in sorted(self.files))
        return hashlib.sha1(content).hexdigest()


@dataclass
class Hub:
    """The state of the stand-in, and its faults."""

    address: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)  # by SHA-256
    requests: list[tuple[str, str]] = field(default_factory=list)  # method and path
    refuses: int = 0  # the status of every answer, with the request's token in its text; 0: it works


class Handler(BaseHTTPRequestHandler):
    """Answer as the hub does; `hub` is set by `serving_hub`."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self._begin("POST")
        if path is None:
            return
        if path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            known = name in self.hub.repositories
            self.hub.repositories.setdefault(name, Repository(asked.get("visibility", "public") == "private"))
            self._json({"url": f"{self.hub.address}/{name}"}, 409 if known else 200)
        elif found := re.fullmatch(r"/api/models/(.+)/preupload/main", path):
            modes = [
                {"path": one["path"], "uploadMode": _mode(one["path"]), "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]
            self._json({"files": modes})
        elif path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                one | {"actions": {"upload": {"href": f"{self.hub.address}/lfs/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            self._json({"transfer": "basic", "objects": objects})
        elif found := re.fullmatch(r"/api/models/(.+)/commit/main", path):
            self._commit(found.group(1), [json.loads(line) for line in body.splitlines()])
        else:
            self._json({"error": f"not in the stand-in: {path}"}, 501)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self._begin("PUT")
        if path is not None:
            assert hashlib.sha256(body).hexdigest() == path.rpartition("/")[2]
            self.hub.blobs[path.rpartition("/")[2]] = body
            self._send(200, b"")

    def do_HEAD(self) -> None:
        self._read("HEAD")

    def do_GET(self) -> None:
        self._read("GET")

    def _read(self, method: str) -> None:
        path = self._begin(method)
        if path is None:
            return
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/[^/]+)?", path):
            repository = self._repository(found.group(1))
            if repository:
                siblings = [{"rfilename": name} for name in sorted(repository.files)]
                told = {"id": found.group(1), "sha": repository.sha, "private": repository.private}
                self._json(told | {"siblings": siblings, "tags": [], "gated": False})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^/]+", path):
            repository = self._repository(found.group(1))
            if repository:
                self._json([_entry(name, content, repository) for name, content in sorted(repository.files.items())])
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            repository = self._repository(found.group(1))
            if repository:
                content = repository.files[found.group(2)]
                headers = {"X-Repo-Commit": repository.sha, "ETag": f'"{_oid(found.group(2), content, repository)}"'}
                self._send(200, content, headers, body=method == "GET")
        else:
            self._json({"error": f"not in the stand-in: {path}"}, 501)

    def _begin(self, method: str) -> str | None:
        """Record a request and return its path; None if it was refused."""
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((method, path))
        if self.hub.refuses:
            self._json({"error": f"no entry for {self.headers.get('Authorization')}"}, self.hub.refuses)
            return None
        return path

    def _repository(self, name: str) -> Repository | None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        return repository

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        repository = self.hub.repositories[name]
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repository.files[value["path"]] = self.hub.blobs[value["oid"]]
                repository.large.add(value["path"])
            elif line["key"] == "deletedFile":
                del repository.files[value["path"]]
        address = f"{self.hub.address}/{name}/commit/{repository.sha}"
        self._json({"commitUrl": address, "commitOid": repository.sha, "success": True})

    def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        sent = {"Content-Type": "application/json", **(headers or {})}
        self._send(status, json.dumps(value).encode(), sent, body=self.command != "HEAD")

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None, body: bool = True) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


def _mode(path: str) -> str:
    return "lfs" if path.endswith((".safetensors", ".png")) else "regular"


def _oid(path: str, content: bytes, repository: Repository) -> str:
    """Return the identifier of a file: the SHA-256 of a large one, and git's SHA-1 of another."""
    if path in repository.large:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


def _entry(path: str, content: bytes, repository: Repository) -> dict[str, Any]:
    oid = _oid(path, content, repository)
    entry = {"type": "file", "path": path, "size": len(content), "oid": oid}
    return entry | ({"lfs": {"oid": oid, "size": len(content), "pointerSize": 134}} if path in repository.large else {})


@contextmanager
def serving_hub() -> Iterator[Hub]:
    """Run a hub without repositories, and give its state."""
    hub = Hub()
    handler = type("HandlerOfOneHub", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def use_hub(hub: Hub, patch: pytest.MonkeyPatch, cache: str) -> None:
    """Point this process' client of the hub at the stand-in, with a token and a cache of the test's own."""
    from huggingface_hub import constants

    patch.setattr(constants, "ENDPOINT", hub.address)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.address + "/{repo_id}/resolve/{revision}/{filename}")
    patch.setattr(constants, "HF_HUB_OFFLINE", False)
    patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    patch.setattr(constants, "HF_HUB_CACHE", cache)
    patch.setenv("HF_TOKEN", TOKEN)
