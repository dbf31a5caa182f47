"""Cases of the corpus of real Caddyfiles, with requests made from what each file matches."""

import itertools
import pathlib
import re

from case import Case, Request

PATHS = ["/", "/index.html", "/missing/page?q=1&r=a%20b", "/A/../b//c%2Fd"]
PER_SITE = 10
PER_FILE = 30


def read_corpus(folder: pathlib.Path):
    """Names, Caddyfiles and environments; requests are made when the document is known."""
    for file in sorted(folder.glob("*.caddyfile")):
        if not file.with_suffix(".adapted.json").exists():
            continue
        environment = {}
        if file.with_suffix(".env").exists():
            lines = file.with_suffix(".env").read_text().splitlines()
            environment = dict(line.split("=", 1) for line in lines if "=" in line)
        yield Case(f"corpus: {file.stem}", file.read_text(), [], environment)


def requests_of(document):
    """Requests for every site of a document, and for every path that it matches."""
    requests = []
    http = document.get("apps", {}).get("http", {})
    for server in http.get("servers", {}).values():
        for listen in server.get("listen", []):
            port = int(listen.rsplit(":", 1)[1])
            for site in server.get("routes", []):
                hosts = sorted({host for matchers in site.get("match", []) for host in matchers.get("host", [])})
                scheme = scheme_of(port, server, hosts, http)
                host = concrete(hosts[0]) if hosts else "localhost"
                paths = list(dict.fromkeys(itertools.chain(PATHS, paths_of(site))))[:PER_SITE]
                for path in paths:
                    requests.append(Request("GET", scheme, authority(host, port), path))
                requests.append(Request("POST", scheme, authority(host, port), paths[-1],
                                        [("Content-Type", "text/plain")], b"some text"))
    return requests[:PER_FILE]


def scheme_of(port, server, hosts, http):
    if port == http.get("http_port", 80):
        return "http"
    if port == http.get("https_port", 443) or server.get("tls_connection_policies"):
        return "https"
    is_off = server.get("automatic_https", {}).get("disable", False)
    skipped = server.get("automatic_https", {}).get("skip", [])
    return "https" if not is_off and any(host not in skipped for host in hosts) else "http"


def authority(host, port):
    host = f"[{host}]" if ":" in host else host
    return host if port in (80, 443) else f"{host}:{port}"


def concrete(host):
    return re.sub(r"\{[^}]*\}", "x", host).replace("*", "any")


def paths_of(value):
    """A path for each path that is matched, as deep as it may be."""
    if isinstance(value, list):
        for item in value:
            yield from paths_of(item)
    elif isinstance(value, dict):
        for matchers in value.get("match") or []:
            if isinstance(matchers, dict):
                for path in matchers.get("path", []):
                    yield "/" + concrete(path).replace("any", "x/y.html").lstrip("/")
        for item in value.values():
            yield from paths_of(item)
