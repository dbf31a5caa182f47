"""Caddy and Portico, each on an address of its own, and how they get a document."""

import contextlib
import http.client
import json
import os
import pathlib
import shutil
import socket
import subprocess
import time


class Ports:
    """Free ports that stand for the ports of Caddyfiles, the same on every address, and below those
    that the kernel gives away."""

    def __init__(self, addresses):
        self.addresses, self.known, self.cursor = addresses, {}, 10_000 + os.getpid() % 20_000

    def mapped(self, port):
        if port not in self.known:
            self.known[port] = self.free()
        return self.known[port]

    def free(self):
        while True:
            self.cursor += 1
            if all(is_free(address, self.cursor) for address in self.addresses):
                return self.cursor

    def original(self, text):
        """`text` with the ports of the Caddyfile in place of the free ones."""
        for port, mapped in self.known.items():
            text = text.replace(f":{mapped}", f":{port}")
        return text


def is_free(address, port):
    with socket.socket() as probe:
        try:
            probe.bind((address, port))
            return True
        except OSError:
            return False


class Server:
    """Programs with logs in one folder."""

    def __init__(self, folder, address):
        self.folder, self.address, self.processes = folder, address, []
        folder.mkdir(parents=True)

    def run(self, name, command, env=None):
        log = open(self.folder / f"{name}.log", "wb")
        process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log,
                                   stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})},
                                   cwd=self.folder)
        self.processes.append(process)
        return process

    def wait(self, what, is_ready, seconds=60):
        end = time.monotonic() + seconds
        while not is_ready():
            for process in self.processes:
                if process.poll() is not None:
                    raise SystemExit(f"{process.args[0]} ended:\n{self.last_words()}")
            if time.monotonic() > end:
                raise SystemExit(f"{what} is not ready:\n{self.last_words()}")
            time.sleep(0.05)

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def last_words(self):
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}" for log in logs)


class Caddy(Server):
    name = "caddy"

    def __init__(self, folder, address, program):
        super().__init__(folder, address)
        self.program = program
        self.environment = {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        self.admin = folder / "admin.sock"
        config = folder / "caddy.json"
        config.write_text(json.dumps(self.with_admin({})))
        self.run("caddy", [program, "run", "--config", config], self.environment)
        self.wait("caddy", self.admin.exists)

    def with_admin(self, document):
        return {**document, "admin": {"listen": f"unix/{self.admin}", "config": {"persist": False}}}

    def adapt(self, file, environment):
        return adapt([self.program, "adapt", "--config", file, "--adapter", "caddyfile"], environment)

    def load(self, document):
        """What is wrong with the document, or `None` once it is in force."""
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as connected:
            connected.connect(str(self.admin))
            connection = http.client.HTTPConnection("localhost")
            connection.sock = connected
            connection.request("POST", "/load", json.dumps(self.with_admin(document)),
                               {"Content-Type": "application/json"})
            response = connection.getresponse()
            body = response.read().decode()
            return None if response.status == 200 else body


class Portico(Server):
    name = "portico"

    def __init__(self, folder, address, programs, ports, tree):
        super().__init__(folder, address)
        self.program, self.config = programs / "proxy", folder / "portico.json"
        self.admin = f"unix:{folder}/proxy.sock"
        grpc, status, files, events = (ports.free() for _ in range(4))
        control = folder / "control"
        self.run("cert-manager", [
            programs / "cert-manager", "serve", "--control", control, "--data", folder / "certificates",
            "--listen", f"{address}:{grpc}", "--status-listen", f"{address}:{status}",
            "--admin", f"unix:{folder}/cert-manager.sock"])
        self.run("static-server", [
            programs / "static-server", "serve", "--control", control / "static-server",
            "--listen", f"{address}:{files}", "--events-listen", f"{address}:{events}",
            "--admin", f"unix:{folder}/static-server.sock", "--volume", f"{tree}={tree}"])
        self.config.write_text("{}")
        self.run("proxy", [
            self.program, "serve", "--config", self.config, "--control", control / "proxy",
            "--data", folder / "proxy", "--admin", self.admin, "--workers", "1",
            "--cert-manager", f"https://{address}:{grpc}",
            "--static-server", f"http://{address}:{files}",
            "--static-events", f"https://{address}:{events}"])
        for program, socket_name in (("cert-manager", "cert-manager"), ("static-server", "static-server"),
                                     ("proxy", "proxy")):
            health = [programs / program, "health", "--admin", f"unix:{folder}/{socket_name}.sock"]
            self.wait(program, lambda health=health: subprocess.run(
                health, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0)

    def adapt(self, file, environment):
        return adapt([self.program, "adapt", file], environment)

    def serve(self, caddyfile):
        """Puts a Caddyfile in force that has to be good."""
        file = self.folder / "Caddyfile"
        file.write_text(caddyfile)
        document, error = self.adapt(file, {})
        error = error or self.load(document)
        if error:
            raise SystemExit(error)

    def load(self, document):
        self.config.write_text(json.dumps(document))
        done = subprocess.run([self.program, "reload", "--admin", self.admin], text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return None if done.returncode == 0 else done.stdout


def adapt(command, environment):
    """The document of a Caddyfile, and what is wrong with it."""
    done = subprocess.run([str(part) for part in command], text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env={**os.environ, **environment})
    if done.returncode != 0:
        return None, done.stderr.strip()
    return json.loads(done.stdout), None


def find_caddy():
    """The Caddy beside the Python that runs this, or the one on the path."""
    import sys
    beside = pathlib.Path(sys.executable).parent / "caddy"
    return beside if beside.exists() else shutil.which("caddy")
