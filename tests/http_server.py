"""A real HTTP server on this machine that behaves well or badly on request."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """What the server holds, how it behaves, and what it was asked: paths, and ranges of them.

    ``behave`` gets the request's number for its path (from 0) and the handler; it returns False if
    it has not answered.
    """

    files: dict[str, bytes]
    behave: "Behaviour | None" = None
    etag: str = '"one"'
    ranges: bool = True
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""

    def ranges_asked(self) -> list[str | None]:
        return [asked for _, asked in self.requests]


class Handler(BaseHTTPRequestHandler):
    """Answers GET with or without a range."""

    served: Served
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def content(self) -> bytes | None:
        return self.served.files.get(self.path.lstrip("/"))

    def start(self) -> int:
        """First byte asked for, 0 where the request names no range that this server honours."""
        asked, etag = self.headers.get("Range"), self.served.etag
        if not asked or not self.served.ranges or self.headers.get("If-Range", etag) != etag:
            return 0
        return int(asked.removeprefix("bytes=").split("-")[0])

    def reply(self, status: int, body: bytes = b"", **headers: object) -> None:
        """Answer just so; what does not say its length, or another one, ends the connection."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = headers.get("Content_Length") != len(body)

    def empty(self, status: int, **headers: object) -> None:
        self.reply(status, Content_Length=0, **headers)

    def answer(self, content: bytes, length: int | None = None, send: int | None = None) -> None:
        """Send ``content`` from the byte asked for; may lie about its length or stop early."""
        start = self.start()
        body = content[start:]
        headers = {"Content_Length": len(body) if length is None else length}
        headers["ETag"] = self.served.etag
        if start:
            headers["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.reply(206 if start else 200, body[:send], **headers)

    def do_GET(self) -> None:
        served = self.served
        number = sum(path == self.path for path, _ in served.requests)
        served.requests.append((self.path, self.headers.get("Range")))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if served.behave is not None and served.behave(number, self) is not False:
                return
            content = self.content()
            if content is None:
                self.empty(404)
            elif self.start() >= len(content) > 0:
                self.empty(416, Content_Range=f"bytes */{len(content)}")
            else:
                self.answer(content)


Behaviour = Callable[[int, Handler], bool | None]


@contextlib.contextmanager
def serve(served: Served) -> Iterator[Served]:
    """Run a server on a free port of 127.0.0.1."""
    handler = type("BoundHandler", (Handler,), {"served": served})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        served.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield served
        finally:
            server.shutdown()
