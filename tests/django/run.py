#!/usr/bin/env python3
"""The quiz app behind Portico in a real browser, and the same visit behind Caddy where it is there.

    run.py --bin FOLDER-OF-THE-PROGRAMS

Both servers read the same Caddyfile. What the browser saw must be the same, and must hold what a
visit that went well holds.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "differential"))
from servers import Ports  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
PORTS = Ports(["127.0.0.1"])
CADDYFILE = """\
{
	http_port %(http)d
	https_port %(https)d
	admin off
	skip_install_trust
}
localhost {
	bind 127.0.0.1
	handle_path /static/* {
		root * %(state)s/static
		file_server
	}
	handle_path /media/* {
		root * %(state)s/media
		file_server
	}
	reverse_proxy 127.0.0.1:%(app)d
}
"""
EXPECTED = {
    "add without login": "/login/?next=/add/",
    "admin saved": True,
    "background": "rgb(240, 248, 255)",
    "echo after login": "alice: hello",
    "echo before login": "nobody: hello",
    "forged post": 403,
    "index": 200,
    "not modified": [304, 0],
    "picture width": 8,
    "status of /static/%2e%2e/db.sqlite3": 404,
    "status of /static/nothing.css": 404,
    "who": "alice",
    "wrong password": True,
}


def wait_for(port, process, seconds=60):
    """Waits until something listens on a port."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            sys.exit(f"ended with {process.returncode}: {process.args}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    sys.exit(f"nothing listens on {port}: {process.args}")


def wait_for_tls(port, seconds=60):
    """Waits until a handshake for localhost gets a certificate."""
    import ssl
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError), \
                socket.create_connection(("127.0.0.1", port), 1) as plain, \
                context.wrap_socket(plain, server_hostname="localhost"):
            return
        time.sleep(0.1)
    sys.exit(f"no certificate for localhost on {port}")


class Run:
    """Processes with logs in one folder, ended together."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []

    def start(self, name, command, env=None):
        log = open(self.folder / f"{name}.log", "wb")
        process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log,
                                   stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})},
                                   cwd=HERE)
        self.processes.append((name, process))
        return process

    def stop(self):
        for _, process in reversed(self.processes):
            process.terminate()
        for _, process in self.processes:
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
        self.processes = []

    def show(self):
        for log in sorted(self.folder.glob("*.log")):
            print(f"--- {log.name}", log.read_text(errors="replace")[-4000:], sep="\n", file=sys.stderr)


def start_app(run, state, port, origins):
    """Migrates, collects static files and starts daphne."""
    env = {"QUIZ_STATE": str(state), "QUIZ_ORIGINS": ",".join(origins),
           "DJANGO_SETTINGS_MODULE": "quiz.settings"}
    manage = [sys.executable, "manage.py"]
    for command in (["migrate"], ["collectstatic", "--noinput"],
                    ["createsuperuser", "--noinput", "--username", "alice", "--email", "a@localhost"]):
        subprocess.run(manage + command, cwd=HERE, check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, **env, "DJANGO_SUPERUSER_PASSWORD": "alices password"})
    (state / "media").mkdir()
    app = run.start("app", [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", port,
                            "quiz.asgi:application"], env)
    wait_for(port, app)


def start_portico(run, state, bin_folder, values):
    """Starts the three programs."""
    ports = {name: PORTS.free() for name in ("grpc", "status", "files", "events")}
    control = run.folder / "control"
    run.start("cert-manager", [
        bin_folder / "cert-manager", "serve", "--control", control, "--data", run.folder / "certificates",
        "--listen", f"127.0.0.1:{ports['grpc']}", "--status-listen", f"127.0.0.1:{ports['status']}",
        "--admin", f"unix:{run.folder}/cert-manager.sock"])
    run.start("static-server", [
        bin_folder / "static-server", "serve", "--control", control / "static-server",
        "--listen", f"127.0.0.1:{ports['files']}", "--events-listen", f"127.0.0.1:{ports['events']}",
        "--admin", f"unix:{run.folder}/static-server.sock",
        "--volume", f"{state}/static={state}/static", "--volume", f"{state}/media={state}/media"])
    config = run.folder / "Caddyfile"
    config.write_text(CADDYFILE % values)
    proxy = run.start("proxy", [
        bin_folder / "proxy", "serve", "--config", config, "--control", control / "proxy",
        "--data", run.folder / "proxy", "--admin", f"unix:{run.folder}/proxy.sock",
        "--cert-manager", f"https://127.0.0.1:{ports['grpc']}",
        "--static-server", f"http://127.0.0.1:{ports['files']}"])
    wait_for(values["https"], proxy)
    wait_for_tls(values["https"])


def start_caddy(run, caddy, values):
    """Starts Caddy with the same file."""
    config = run.folder / "Caddyfile"
    config.write_text(CADDYFILE % values)
    process = run.start("caddy", [caddy, "run", "--adapter", "caddyfile", "--config", config],
                        {"XDG_DATA_HOME": str(run.folder), "XDG_CONFIG_HOME": str(run.folder)})
    wait_for(values["https"], process)
    wait_for_tls(values["https"])


def visit(server, bin_folder, caddy, work):
    """One visit behind one server, with a fresh app."""
    folder = work / server
    state = folder / "state"
    state.mkdir(parents=True)
    values = {"http": PORTS.free(), "https": PORTS.free(), "app": PORTS.free(), "state": state}
    base = f"https://localhost:{values['https']}"
    run = Run(folder)
    try:
        start_app(run, state, values["app"], [base])
        if server == "caddy":
            start_caddy(run, caddy, values)
        else:
            start_portico(run, state, bin_folder, values)
        done = subprocess.run([sys.executable, HERE / "browse.py", base], stdout=subprocess.PIPE,
                              timeout=180, check=False)
        if done.returncode != 0:
            run.show()
            sys.exit(f"the visit behind {server} failed")
        return json.loads(done.stdout)
    finally:
        run.stop()


def differences(one, other, path=""):
    """The paths at which two JSON values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from differences(one.get(key), other.get(key), f"{path}/{key}")
    elif one != other:
        yield f"{path}: {one!r} and {other!r}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    bin_folder = parser.parse_args().bin.resolve()
    with tempfile.TemporaryDirectory(prefix="portico-django-") as folder:
        work = pathlib.Path(folder)
        portico = visit("portico", bin_folder, None, work)
        wrong = list(differences({key: portico.get(key) for key in EXPECTED}, EXPECTED))
        caddy = shutil.which("caddy")
        if caddy:
            wrong += differences(portico, visit("caddy", bin_folder, caddy, work))
        else:
            print("caddy is not installed: the visit behind it is left out")
    for line in wrong:
        print(f"differs: {line}")
    print(f"{len(portico) - len(wrong)} passed, {len(wrong)} failed")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
