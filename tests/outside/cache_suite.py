#!/usr/bin/env python3
"""What the suite behind cache-tests.fyi finds of `cache`. Needs npm, which fetches the suite.

    cache_suite.py --bin FOLDER-OF-THE-PROGRAMS --keep FOLDER-FOR-THE-SUITE

The suite has tests of what the standard requires, of what makes a cache a better one, and questions.
All that is required must pass but for what is listed here with a reason, and that must fail still.
"""

import argparse
import collections
import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "differential"))
from servers import Portico, Ports, is_free  # noqa: E402

ADDRESS, PACKAGE = "127.0.0.1", "http-cache-tests@0.4.5"
CADDYFILE = """\
{
	http_port %(port)d
	auto_https off
	admin off
}
http:// {
	bind %(address)s
	cache
	reverse_proxy %(address)s:%(app)d
}
"""
# Since RFC 9111 section 5.1 the first of several values counts, and one that is no number is ignored.
AGE = ["nonnumeric", "negative", "float", "prefix-twoline", "dup-0", "dup-0-twoline", "dup-old", "parameter",
       "numeric-parameter"]
# The answer is our own 502, which the suite takes for one from the cache. No cache passes.
CLOSED = ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=2"]
EXPECTED = {
    **{f"age-parse-{name}": "invalid and repeated values of Age" for name in AGE},
    **{f"stale-close-{name}": "a 502 is not kept" for name in CLOSED},
    "headers-store-Set-Cookie": "what sets a cookie is for one visitor",
    "304-etag-update-response-Set-Cookie": "what sets a cookie is for one visitor",
    "headers-store-Transfer-Encoding": "a coding that nobody knows cannot be forwarded",
    # RFC 9111 section 4.3.4: a 304 with another entity tag says nothing of what is kept.
    "304-etag-update-response-ETag": "it is asked for anew",
}
KINDS = """\
import tests from './tests/index.mjs'
const kinds = {}
for (const suite of tests) for (const test of suite.tests)
  if (!test.browser_only) kinds[test.id] = test.kind || 'required'
console.log(JSON.stringify(kinds))
"""


def suite(folder):
    """The suite's folder, into which it is installed unless it is there."""
    package = folder / "node_modules" / "http-cache-tests"
    if not package.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text("{}")
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", PACKAGE], cwd=folder, check=True)
    return package


def run(package, portico, work, ports):
    """Which kind each test is of, and whether it passed."""
    app, port = ports.free(), ports.free()
    portico.serve(CADDYFILE % {"port": port, "address": ADDRESS, "app": app})
    environment = {**os.environ, "npm_config_port": str(app), "npm_config_protocol": "http",
                   "npm_config_pidfile": str(work / "suite.pid"), "npm_config_id": "", "npm_package_config_id": "",
                   "npm_config_base": f"http://{ADDRESS}:{port}"}
    node = ["node", "--no-warnings"]
    kinds = subprocess.run([*node, "--input-type=module", "--eval", KINDS], cwd=package, check=True,
                           stdout=subprocess.PIPE).stdout
    server = subprocess.Popen([*node, "server/server.mjs"], cwd=package, env=environment,
                              stdout=subprocess.DEVNULL)
    try:
        portico.wait("the suite's server", lambda: not is_free(ADDRESS, app))
        results = subprocess.run([*node, "cli.mjs"], cwd=package, env=environment, check=True, timeout=300,
                                 stdout=subprocess.PIPE).stdout
    finally:
        server.terminate()
        server.wait()
    return json.loads(kinds), json.loads(results)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--keep", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    package = suite(arguments.keep.resolve())
    ports = Ports([ADDRESS])
    with tempfile.TemporaryDirectory(prefix="portico-cache-suite-") as work:
        work = pathlib.Path(work)
        portico = Portico(work / "portico", ADDRESS, arguments.bin.resolve(), ports, work)
        try:
            kinds, results = run(package, portico, work, ports)
        finally:
            portico.stop()
    passed, total = collections.Counter(), collections.Counter(kinds.values())
    unexpected = []
    for name, kind in kinds.items():
        result = results.get(name, "not run")
        passed[kind] += result is True
        if kind == "required" and (result is True) == (name in EXPECTED):
            unexpected.append(f"{name}: {'passes now' if result is True else result}")
    print(", ".join(f"{kind}: {passed[kind]} of {total[kind]}" for kind in sorted(total)))
    print("\n".join(unexpected))
    sys.exit(1 if unexpected else 0)


if __name__ == "__main__":
    main()
