#!/usr/bin/env python3
"""What REDbot, a linter for HTTP servers, has to say of files, listings and kept responses.

    lint.py --bin FOLDER-OF-THE-PROGRAMS [PATTERN...]

It asks for each resource in several ways (conditions, ranges, codings) and checks how the answers
fit together. Nothing that it calls bad or doubtful may come up but what is listed here with a reason.
A pattern chooses the resources whose path has it.
"""

import argparse
import gzip
import http.server
import multiprocessing
import os
import pathlib
import sys
import tempfile
import threading
import time
from configparser import ConfigParser

import thor
from httplint.note import levels
from redbot.resource import HttpResource

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "differential"))
from servers import Portico, Ports  # noqa: E402

ADDRESS = "127.0.0.1"
CADDYFILE = """\
{
	http_port %(port)d
	auto_https off
	admin off
}
http:// {
	bind %(address)s
	handle_path /static/* {
		root * %(tree)s
		file_server {
			precompressed gzip
		}
	}
	handle_path /encoded/* {
		root * %(tree)s
		encode zstd gzip
		file_server
	}
	handle_path /folder/* {
		root * %(tree)s
		file_server browse
	}
	handle {
		cache
		reverse_proxy %(address)s:%(app)d
	}
}
"""
TEXT = "".join(f"line {number} of a text that compresses well\n" for number in range(400))
FILES = {
    "app.css": "body { color: red; }\n" * 200,
    "app.js": "console.log(1);\n" * 200,
    "page.html": "<!doctype html><html lang=en><title>page</title><p>text\n" + TEXT,
    "plain.txt": TEXT,
    "small.txt": "0123456789",
    "empty.txt": "",
    "big.bin": "0123456789abcdef" * 50_000,
    "picture.svg": "<svg xmlns='http://www.w3.org/2000/svg'/>\n" * 50,
    "sub/index.html": "<!doctype html><html lang=en><title>sub</title><p>text\n",
}
PATHS = [
    *(f"/static/{name}" for name in ("app.css", "app.js", "page.html", "plain.txt", "small.txt",
                                     "empty.txt", "big.bin", "picture.svg", "sub/", "sub", "none.txt")),
    *(f"/encoded/{name}" for name in ("app.css", "plain.txt", "big.bin", "small.txt")),
    "/folder/", "/folder/sub/", "/folder/none/",
    "/app/kept", "/app/private", "/app/varying",
]
# Summaries that are right, and why.
ACCEPTED = {
    # As in Caddy, files say nothing of caching unless the site does (`header Cache-Control …`).
    "This response allows caches to assign their own freshness lifetimes to it.",
    # The range that is asked of a file of some bytes is all of it.
    "The partial response has a Content-Length equal to the full response.",
}


class App(http.server.BaseHTTPRequestHandler):
    """Pages of which the app says how they may be kept."""

    CACHE_CONTROL = {"/app/kept": "max-age=60", "/app/private": "private, max-age=60",
                     "/app/varying": "s-maxage=60"}

    def do_GET(self):
        known = self.headers.get("If-None-Match") == '"app-1"'
        body = b"" if known else TEXT.encode()
        self.send_response(304 if known else 200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Cache-Control", self.CACHE_CONTROL.get(self.path, "no-store"))
        self.send_header("ETag", '"app-1"')
        if self.path == "/app/varying":
            self.send_header("Vary", "Accept-Language")
        if not known:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


def notes(url):
    """Status, and level and summary of each note on a resource and on what it was asked besides."""
    config = ConfigParser()
    config.read_dict({"redbot": {"enable_local_access": "True"}})
    resource = HttpResource(config["redbot"], descend=False)
    resource.set_request(url)

    @thor.events.on(resource)
    def check_done():
        thor.stop()

    resource.check()
    thor.run()
    if resource.response.status_code is None:
        raise SystemExit(f"{url}: no answer: {resource.fetch_error}")
    linters = [resource.response.notes]
    linters += [check.response.notes for check in resource.subreqs.values()]
    found = {(note.level, str(note.summary)) for all_notes in linters for note in all_notes}
    return resource.response.status_code, found


def make_tree(folder):
    day_ago = time.time() - 86400
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "app.css.gz").write_bytes(gzip.compress(FILES["app.css"].encode()))
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (day_ago, day_ago))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("pattern", nargs="*")
    arguments = parser.parse_args()
    ports = Ports([ADDRESS])
    app = http.server.ThreadingHTTPServer((ADDRESS, 0), App)
    threading.Thread(target=app.serve_forever, daemon=True).start()
    failures = resources = 0
    # An event loop of REDbot's is good for one resource.
    with multiprocessing.Pool(1, maxtasksperchild=1) as redbot, \
            tempfile.TemporaryDirectory(prefix="portico-lint-") as work:
        work = pathlib.Path(work)
        tree, port = work / "tree", ports.free()
        make_tree(tree)
        portico = Portico(work / "portico", ADDRESS, arguments.bin.resolve(), ports, tree)
        try:
            portico.serve(CADDYFILE % {"port": port, "address": ADDRESS, "tree": tree,
                                       "app": app.server_port})
            for path in PATHS:
                if arguments.pattern and not any(pattern in path for pattern in arguments.pattern):
                    continue
                # Once as it comes, once from memory.
                for _ in range(2):
                    resources += 1
                    status, found = redbot.apply(notes, [f"http://{ADDRESS}:{port}{path}"])
                    bad = [(level, summary) for level, summary in found
                           if level in (levels.BAD, levels.WARN) and summary not in ACCEPTED]
                    for level, summary in sorted(bad, key=str):
                        failures += 1
                        print(f"{path} ({status}): {level.name}: {summary}")
        finally:
            portico.stop()
            app.shutdown()
    print(f"{resources} resources, {failures} complaints")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
