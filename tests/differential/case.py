"""Cases: a Caddyfile, and the requests that are sent to it.

A file has any number of cases:

    === what the case is about
    the Caddyfile
    ---
    GET http://example.com/path
        Name: value of a field
        = the body

The port of a URL is one of the Caddyfile; the runner maps it to one that is free. A request without
indented lines needs none of them.
"""

import dataclasses
import pathlib
import urllib.parse


@dataclasses.dataclass
class Request:
    method: str
    scheme: str
    authority: str
    target: str
    fields: list = dataclasses.field(default_factory=list)
    body: bytes = b""

    @property
    def host(self):
        return urllib.parse.urlsplit(f"//{self.authority}").hostname or ""

    @property
    def port(self):
        default = 443 if self.scheme == "https" else 80
        return urllib.parse.urlsplit(f"//{self.authority}").port or default

    def __str__(self):
        fields = "".join(f" [{name}: {value}]" for name, value in self.fields)
        return f"{self.method} {self.scheme}://{self.authority}{self.target}{fields}"


@dataclasses.dataclass
class Case:
    name: str
    caddyfile: str
    requests: list
    environment: dict = dataclasses.field(default_factory=dict)


def read_cases(path: pathlib.Path):
    """The cases of a file."""
    for text in ("\n" + path.read_text()).split("\n=== ")[1:]:
        title, _, rest = text.partition("\n")
        caddyfile, found, requests = rest.partition("\n---\n")
        if not found:
            raise ValueError(f"{path}: `{title}` has no line `---` before its requests")
        yield Case(f"{path.stem}: {title.strip()}", caddyfile + "\n", list(read_requests(requests)))


def read_requests(text):
    request = None
    for line in text.splitlines():
        if not line.strip():
            continue
        if not line[0].isspace():
            if request:
                yield request
            request = parse_request(line)
            continue
        line = line.strip()
        if line.startswith("="):
            request.body += line[1:].strip().encode()
        else:
            name, _, value = line.partition(":")
            request.fields.append((name.strip(), value.strip()))
    if request:
        yield request


def parse_request(line):
    method, _, url = line.partition(" ")
    scheme, _, rest = url.partition("://")
    cut = min((rest.index(mark) for mark in "/?" if mark in rest), default=len(rest))
    return Request(method, scheme, rest[:cut], rest[cut:] or "/")
