"""An upstream that remembers what it was sent, and answers as the request asks it to.

`X-Answer: STATUS` in a request is the status of the response, `X-Answer-Field: NAME: VALUE` a field
of it, and `X-Answer-Body: TEXT` its body.
"""

import http.server
import socketserver
import threading

ADDRESS = "127.0.0.1"


class Upstream:
    """Listeners that share one list of what was received. Each has a number."""

    def __init__(self, count):
        self.received = []
        self.servers = [_Server(number, self.received) for number in range(count)]
        for server in self.servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()

    def port(self, number):
        return self.servers[number % len(self.servers)].server_address[1]

    def take(self):
        """What was received since the last call."""
        taken = list(self.received)
        self.received.clear()
        return taken

    def stop(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, number, received):
        self.number, self.received = number, received
        super().__init__((ADDRESS, 0), _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Else the body waits for the head to be acknowledged.
    wbufsize = -1
    disable_nagle_algorithm = True

    def handle_request(self):
        body = self._body()
        if body is None:
            self.close_connection = True
            return
        self.server.received.append({
            "upstream": self.server.number,
            "line": f"{self.command} {self.path}",
            "fields": [(name.lower(), value) for name, value in self.headers.items()],
            "body": body.decode("latin-1"),
        })
        status = int(self.headers.get("X-Answer", "200"))
        fields = [field.split(":", 1) for field in self.headers.get_all("X-Answer-Field", [])]
        text = self.headers.get("X-Answer-Body", f"upstream: {self.command} {self.path}\n").encode()
        self.send_response_only(status)
        if not any(name.lower() == "content-type" for name, _ in fields):
            self.send_header("Content-Type", "text/plain")
        for name, value in fields:
            self.send_header(name, value.strip())
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(text)
        self.wfile.flush()

    def _body(self):
        """The body; `None` when the client gives up in the middle of it."""
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            length = int(self.headers.get("Content-Length", "0"))
            body = self.rfile.read(length)
            return body if len(body) == length else None
        body = b""
        while (line := self.rfile.readline()).endswith(b"\n"):
            size = int(line.split(b";")[0], 16)
            if size == 0:
                while self.rfile.readline().strip():
                    pass
                return body
            body += self.rfile.read(size)
            self.rfile.readline()
        return None

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.handle_request
        raise AttributeError(name)

    def log_message(self, *_):
        pass
