"""What differs between what two servers did with one request."""

import json
import pathlib
import re
import tomllib
from collections import defaultdict


class Known:
    """Differences that are wanted, each with its reason."""

    def __init__(self, path: pathlib.Path):
        table = tomllib.loads(path.read_text())
        self.fields = {(field["of"], field["name"].lower()) for field in table.get("field", [])}
        self.values = [(value["of"], re.compile(value["match"]), value["as"])
                       for value in table.get("value", [])]
        self.cases = table.get("case", [])
        self.used = set()

    def is_field(self, of, name):
        return (of, name) in self.fields

    def unify(self, of, text):
        for where, match, replacement in self.values:
            if where == of:
                text = match.sub(replacement, text)
        return text

    def covers(self, case, difference):
        for index, entry in enumerate(self.cases):
            if re.search(entry["case"], case) and re.search(entry.get("difference", ""), difference):
                self.used.add(index)
                return True
        return False

    def unused(self):
        return [entry["case"] for index, entry in enumerate(self.cases)
                if index not in self.used and not entry.get("may_be_unused")]


class Comparison:
    def __init__(self, known, ports, addresses):
        self.known, self.ports, self.addresses = known, ports, addresses

    def unify(self, of, text):
        text = self.ports.original(text)
        for address in self.addresses:
            text = text.replace(address, "SERVER")
        return self.known.unify(of, text)

    def results(self, caddy, portico):
        """The differences between two results of [`runner`]."""
        if "refused" in caddy or "refused" in portico:
            if caddy.get("refused") != portico.get("refused"):
                yield f"outcome: {outcome(caddy)} and {outcome(portico)}"
            return
        first, second = caddy["response"], portico["response"]
        if first["status"] != second["status"]:
            yield f"status: {first['status']} and {second['status']}"
        yield from self.fields("response", first["fields"], second["fields"])
        one, other = (self.unify("body", text["body"].decode("latin-1")) for text in (first, second))
        if one != other:
            yield f"body: {short(one)} and {short(other)}"
        yield from self.forwarded(caddy["forwarded"], portico["forwarded"])

    def forwarded(self, caddy, portico):
        if len(caddy) != len(portico):
            yield f"forwarded: {lines(caddy)} and {lines(portico)}"
            return
        for first, second in zip(caddy, portico):
            for part in ("upstream", "line", "body"):
                if first[part] != second[part]:
                    yield f"forwarded {part}: {first[part]!r} and {second[part]!r}"
            yield from self.fields("request", first["fields"], second["fields"])

    def fields(self, of, caddy, portico):
        one, other = (self.by_name(of, fields) for fields in (caddy, portico))
        for name in sorted(one.keys() | other.keys()):
            if one.get(name) != other.get(name):
                yield f"{of} field {name}: {one.get(name)} and {other.get(name)}"

    def by_name(self, of, fields):
        found = defaultdict(list)
        for name, value in fields:
            if not self.known.is_field(of, name):
                found[name].append(self.unify(of, value))
        return found

    def logs(self, caddy, portico):
        """The differences between the lines of two log files."""
        one, other = ([self.entry(line) for line in lines] for lines in (caddy, portico))
        if len(one) != len(other):
            yield f"log: {len(one)} and {len(other)} entries"
            return
        for first, second in zip(one, other):
            if first != second:
                yield f"log: {short(first, 600)} and {short(second, 600)}"

    def entry(self, line):
        """A line without what may differ. The console format ends in a JSON object too, and Caddy writes
        the header fields in it in an order of their own each time."""
        head, tab, last = line.rpartition("\t")
        try:
            entry = json.loads(last)
        except ValueError:
            return self.unify("log", line)
        return self.unify("log", head + tab + json.dumps(self.without(entry), sort_keys=True, ensure_ascii=False))

    def without(self, value):
        if isinstance(value, list):
            return [self.without(item) for item in value]
        if not isinstance(value, dict):
            return value
        return {name: self.without(item) for name, item in value.items()
                if not self.known.is_field("log", name.lower())}


def outcome(result):
    return result.get("refused") or result["response"]["status"]


def lines(forwarded):
    return [request["line"] for request in forwarded]


def short(text, length=160):
    return repr(text if len(text) <= length else text[:length] + "...")
