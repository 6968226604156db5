"""A teacher on the loopback interface: an OpenAI-compatible endpoint that writes honest answers, or what a test says.

    with TeacherServer() as server:
        server.url                   # "http://127.0.0.1:40123/v1", for --teacher
        server.bodies                # every request body so far
        server.faults.append(Raw(status=503))     # the next request gets this instead

The honest teacher knows the tools of `TOOLS`. It finds out what is wanted from the question alone, and the same
question gets the same answer.
"""

import dataclasses
import http.server
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any, Self

TOOLS = [
    {
        "name": "get_weather",
        "description": "Weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
            "required": ["city"],
        },
    },
    {
        "name": "send_message",
        "description": "Send a message",
        "parameters": {
            "type": "object",
            "properties": {"to": {"type": "string"}, "text": {"type": "string"}},
            "required": ["to", "text"],
        },
    },
    {
        "name": "set_timer",
        "description": "Set a timer",
        "parameters": {"type": "object", "properties": {"minutes": {"type": "integer"}}, "required": ["minutes"]},
    },
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Raw:
    """A response as it goes over the wire.

    Attributes:
      status: HTTP status.
      headers: further headers.
      body: the body.
      announced: Content-Length, when it is to differ.
      reset: whether the connection is reset instead.
      drip: seconds between the bytes of the body.
    """

    status: int = 200
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = b"{}"
    announced: int | None = None
    reset: bool = False
    drip: float = 0.0


def completion(text: str, finish: str = "stop", usage: Any = (100, 20)) -> Raw:
    """A chat completion with this text."""
    counted = {"prompt_tokens": usage[0], "completion_tokens": usage[1]} if isinstance(usage, tuple) else usage
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return Raw(body=json.dumps({"model": "teacher-1", "choices": [choice], "usage": counted}).encode())


def honest(messages: list[dict[str, str]]) -> str:
    """What a good teacher answers."""
    question = messages[1]["content"]
    if found := re.search(r"as a JSON string\):\n(.*)\n", question):
        return json.dumps(_turn(json.loads(found[1]), question))
    count = int(re.search(r"Write (\d+) different", question)[1])
    job = int(re.search(r"series (\d+)", question)[1])
    return json.dumps({"requests": [_request(question, f"{job}x{i}") for i in range(count)]})


def _request(question: str, tag: str) -> str:
    number = 100 * int(tag.partition("x")[0]) + int(tag.partition("x")[2]) + 21
    whole = {
        "get_weather": f"tell me about the weather in Oslo{tag}",
        "send_message": f"let Bob{tag} know: see you{tag}",
        "set_timer": f"ring in {number} minutes",
    }
    left_out = {
        "city": f"tell me about the weather {tag}",
        "to": f"let somebody know: see you{tag}",
        "text": f"let Bob{tag} know something",
        "minutes": f"ring later {tag}",
    }
    if found := re.search(r'forget to say the value of "(\w+)"', question):
        return f"Please {left_out[found[1]]}."
    names = re.findall(r'call(?:s)? of "(\w+)"|one of "(\w+)"', question)
    names = [first or second for first, second in names]
    if not names:
        return f"Please sing song {tag}."
    twice = "exactly two calls" in question
    second = _request(question.replace("exactly two calls", "exactly one call"), f"{tag}9") if twice else ""
    return f"Please {' and '.join(whole[name] for name in names)}." + (f" {second}" if second else "")


def _turn(request: str, question: str) -> dict[str, Any]:
    calls = [{"name": "get_weather", "arguments": {"city": city}} for city in re.findall(r"Oslo\w+", request)]
    calls += [
        {"name": "send_message", "arguments": {"to": to, "text": text}}
        for to, text in re.findall(r"(Bob\w+) know: (see you\w+)", request)
    ]
    calls += [{"name": "set_timer", "arguments": {"minutes": int(n)}} for n in re.findall(r"ring in (\d+)", request)]
    missing = [
        name
        for sign, name in (("weather \\d", "city"), ("somebody", "to"), ("something", "text"), ("later", "minutes"))
        if re.search(sign, request)
    ]
    reply = "" if calls else f"Which {missing[0]}?" if missing else "I cannot sing."
    return {"calls": calls, "missing": missing, "reply": reply}


@dataclasses.dataclass(kw_only=True)
class TeacherServer:
    """See the top of this module; every field can be changed while the server runs.

    Attributes:
      answer: the text for a list of messages, or a whole response.
      faults: responses that the next requests get, before `answer` is asked.
      delay: seconds before each answer, by the body of the request.
      bodies: every request body.
      headers: the headers of each.
    """

    answer: Callable[[list[dict[str, str]]], "str | Raw"] = honest
    faults: list[Raw] = dataclasses.field(default_factory=list)
    delay: Callable[[bytes], float] = lambda body: 0.0
    bodies: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    headers: list[dict[str, str]] = dataclasses.field(default_factory=list)
    paths: list[str] = dataclasses.field(default_factory=list)

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"teacher": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def respond(self, path: str, headers: dict[str, str], raw: bytes) -> Raw:
        body = json.loads(raw)
        with self._lock:
            self.bodies.append(body)
            self.headers.append(headers)
            self.paths.append(path)
            if self.faults:
                return self.faults.pop(0)
        time.sleep(self.delay(raw))
        answer = self.answer(body["messages"])
        return completion(answer) if isinstance(answer, str) else answer


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Quiet: clients that are killed or hang up are part of the tests."""


class _Handler(http.server.BaseHTTPRequestHandler):
    teacher: TeacherServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the tests read `TeacherServer.bodies`."""

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        response = self.teacher.respond(self.path, headers, raw)
        if response.reset:
            # With a linger time of 0 the kernel sends RST instead of FIN.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        self.send_response(response.status)
        for name, value in {"Content-Type": "application/json", **response.headers}.items():
            self.send_header(name, value)
        announced = len(response.body) if response.announced is None else response.announced
        self.send_header("Content-Length", str(announced))
        self.end_headers()
        if response.drip:
            for byte in response.body:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(response.drip)
        else:
            self.wfile.write(response.body)
            self.wfile.flush()
        self.close_connection = announced != len(response.body)
