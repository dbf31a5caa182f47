"""Makes a document that the adapter printed one that can run beside another on this machine.

What is mapped: ports to free ones, listen addresses to one of loopback, upstreams to the recording
one, folders to the file tree, issuers to the internal authority, and log files to a folder. What
stays is what the comparison is about.
"""

import copy
import json
import re


class CannotRun(Exception):
    """The document has what no mapping is for."""


class Mapping:
    """What a document's places are mapped to; the same for both servers but for the address."""

    def __init__(self, ports, upstream, tree):
        self.ports, self.upstream, self.tree = ports, upstream, tree
        self.dials = []

    def apply(self, document, address, logs):
        """The mapped document for the server at `address`, whose logs go to the folder `logs`."""
        document = copy.deepcopy(document)
        for name in ("admin", "storage"):
            document.pop(name, None)
        document["logging"] = self.logging(document.get("logging", {}), logs)
        apps = document.setdefault("apps", {})
        http = apps.get("http")
        if not http:
            raise CannotRun("it has no sites")
        http["http_port"] = self.port(http.get("http_port", 80))
        http["https_port"] = self.port(http.get("https_port", 443))
        # A reload need not wait for connections that this test keeps open.
        http["grace_period"] = 1000000000
        for server in http["servers"].values():
            self.server(server, address)
        self.handlers(http)
        self.tls(apps)
        return document

    def port(self, port):
        return self.ports.mapped(int(port))

    def server(self, server, address):
        listen = []
        for text in server.get("listen", []):
            found = re.fullmatch(r"(?:tcp[46]?/)?(.*):(\d+)", text)
            if not found:
                raise CannotRun(f"it listens on {text}")
            listen.append(f"{address}:{self.port(found[2])}")
        server["listen"] = sorted(set(listen))
        server.pop("listen_protocols", None)
        server["protocols"] = ["h1", "h2"]
        server.get("automatic_https", {}).pop("skip_certificates", None)
        for policy in server.get("tls_connection_policies", []):
            for name in ("certificate_selection", "client_authentication"):
                policy.pop(name, None)

    def tls(self, apps):
        tls = apps.setdefault("tls", {})
        tls.pop("certificates", None)
        automation = tls.setdefault("automation", {})
        automation.pop("on_demand", None)
        policies = automation.setdefault("policies", [])
        for policy in policies:
            for name in ("on_demand", "get_certificate"):
                policy.pop(name, None)
            policy["issuers"] = [{"module": "internal"}]
        if all("subjects" in policy for policy in policies):
            policies.append({"issuers": [{"module": "internal"}]})
        apps["pki"] = {"certificate_authorities": {"local": {"install_trust": False}}}

    def logging(self, logging, folder):
        for name, log in logging.get("logs", {}).items():
            writer = log.get("writer", {})
            if writer.get("output") == "file":
                file = writer["filename"].rsplit("/", 1)[-1]
                log["writer"] = {"output": "file", "filename": str(folder / file)}
            elif name != "default":
                log["writer"] = {"output": "discard"}
        return logging

    def handlers(self, value):
        """Maps every handler and matcher, wherever it is."""
        if isinstance(value, list):
            for item in value:
                self.handlers(item)
            return
        if not isinstance(value, dict):
            return
        handler = value.get("handler")
        if handler == "reverse_proxy":
            self.reverse_proxy(value)
        elif handler == "file_server" and "root" in value:
            value["root"] = self.folder(value["root"])
        elif handler == "vars" and isinstance(value.get("root"), str):
            value["root"] = self.folder(value["root"])
        for matchers in value.get("match") or []:
            if isinstance(matchers, dict):
                self.matchers(matchers)
        if isinstance(value.get("match"), dict):
            self.matchers(value["match"])
        for item in value.values():
            self.handlers(item)

    def matchers(self, matchers):
        file = matchers.get("file")
        if isinstance(file, dict) and "root" in file:
            file["root"] = self.folder(file["root"])
        for inner in matchers.get("not") or []:
            self.matchers(inner)

    def reverse_proxy(self, handler):
        if "upstreams" not in handler and "dynamic_upstreams" not in handler:
            return
        handler.pop("dynamic_upstreams", None)
        handler.get("health_checks", {}).pop("active", None)
        transport = handler.get("transport", {})
        if transport.get("protocol") == "fastcgi":
            handler["transport"] = {"protocol": "http"}
        for name in ("tls", "versions", "proxy_protocol"):
            transport.pop(name, None)
        # Which of several is chosen is chance, so all are one.
        dial = json.dumps([upstream.get("dial") for upstream in handler.get("upstreams", [])])
        if dial not in self.dials:
            self.dials.append(dial)
        port = self.upstream.port(self.dials.index(dial))
        handler["upstreams"] = [{"dial": f"127.0.0.1:{port}"}]

    def folder(self, path):
        if path.startswith("{"):
            return path
        mapped = self.tree / path.lstrip("/")
        return str(mapped if mapped.is_dir() else self.tree / "srv")
