"""A model hub on the loopback interface: enough of the Hugging Face and Kaggle file protocols for the tests.

    with HubServer(repos={"google/gemma-3-270m-it": {"config.json": b"{}"}}) as hub:
        hub.endpoint                    # "http://127.0.0.1:40123", for HF_ENDPOINT
        hub.requests                    # [("HEAD", "/google/.../resolve/.../config.json", {headers}), ...]

Hugging Face: `/api/models/REPO/revision/REV` (commit and file list), `/api/models/REPO/tree/COMMIT`, and
`/REPO/resolve/REV/FILE` by HEAD and GET with ETag, X-Repo-Commit, X-Linked-Size and Range. `gated` and `tokens` refuse
as the hub does, `cut` ends the connection after so many bytes of a file, once per entry. With `kaggle_status` every
POST of the Kaggle API is answered with that status.
"""

import dataclasses
import hashlib
import http.server
import json
import threading
from collections.abc import Mapping
from typing import Self
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclasses.dataclass(kw_only=True)
class HubServer:
    """See the top of this module; every field can be changed while the server runs."""

    repos: Mapping[str, Mapping[str, bytes]] = dataclasses.field(default_factory=dict)
    gated: frozenset[str] = frozenset()
    tokens: frozenset[str] = frozenset()  # those that may read gated repositories
    weak_tokens: frozenset[str] = frozenset()  # valid, without access to gated repositories
    cut: dict[str, list[int]] = dataclasses.field(default_factory=dict)  # file -> bytes to send before each cut
    announced_sizes: dict[str, int] = dataclasses.field(default_factory=dict)  # file -> a wrong size to announce
    kaggle_status: int | None = None
    requests: list[tuple[str, str, dict[str, str]]] = dataclasses.field(default_factory=list)

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def ranges(self, file: str) -> list[str]:
        """The Range headers of every GET of a file so far, "" where there was none."""
        gets = [headers for method, path, headers in self.requests if method == "GET" and path.endswith(f"/{file}")]
        return [headers.get("range", "") for headers in gets]


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the tests read `HubServer.requests`."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._note()
        status = self.hub.kaggle_status or 404
        self._send(status, json.dumps({"error": {"code": status, "message": "refused"}}).encode(), {})

    def _note(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.hub.requests.append((self.command, urlsplit(self.path).path, headers))

    def _answer(self) -> None:
        self._note()
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.hub.tokens | self.hub.weak_tokens:
            self._refuse(401, None, "Invalid credentials in Authorization header")
        elif parts[:2] == ["api", "models"]:
            self._api(parts[2:])
        elif len(parts) >= 5 and parts[2] == "resolve":
            self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]), token)
        else:
            self._refuse(404, "EntryNotFound", "Not found")

    def _api(self, parts: list[str]) -> None:
        repo = "/".join(parts[:2])
        files = self.hub.repos.get(repo)
        if files is None:
            # Without a token the real hub does not tell an absent repository from a private one.
            self._refuse(404 if self.headers.get("Authorization") else 401, "RepoNotFound", "Repository not found")
        elif parts[2:3] == ["tree"]:
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in files.items()
            ]
            self._send(200, json.dumps(entries).encode(), {})
        elif parts[2:3] == ["revision"] and parts[3] not in ("main", COMMIT):
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {parts[3]}")
        else:
            info = {"id": repo, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files], "tags": []}
            self._send(200, json.dumps(info).encode(), {})

    def _file(self, repo: str, revision: str, name: str, token: str) -> None:
        data = self.hub.repos.get(repo, {}).get(name)
        if data is None:
            self._refuse(404, "EntryNotFound" if repo in self.hub.repos else "RepoNotFound", "Not found")
        elif repo in self.hub.gated and token not in self.hub.tokens:
            self._refuse(403 if token else 401, "GatedRepo", f"Access to model {repo} is restricted")
        else:
            etag = hashlib.sha256(data).hexdigest()
            size = self.hub.announced_sizes.get(name, len(data))
            headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
            self._send_file(name, data, headers | {"X-Linked-Size": str(size), "X-Linked-Etag": f'"{etag}"'})

    def _send_file(self, name: str, data: bytes, headers: dict[str, str]) -> None:
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        cuts = self.hub.cut.get(name, [])
        if self.command == "GET" and cuts:
            self._send_head(206 if start else 200, len(data) - start, headers)
            self.wfile.write(data[start : start + cuts.pop(0)])
            self.wfile.flush()
            self.close_connection = True
        else:
            self._send(206 if start else 200, data[start:], headers)

    def _refuse(self, status: int, code: str | None, message: str) -> None:
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self._send(status, json.dumps({"error": message}).encode(), headers)

    def _send_head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self._send_head(status, len(body), headers)
        if self.command != "HEAD":
            self.wfile.write(body)
