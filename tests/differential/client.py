"""Sends a request as it is written and tells what came back."""

import http.client
import socket
import ssl
import time

TIMEOUT = 10


class Refused(Exception):
    """There was no response."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, connected):
        super().__init__("unused")
        self.sock = connected

    def _validate_path(self, url):
        """Targets are sent as they are."""


def send(request, address, port):
    """The status, fields and body of the response."""
    try:
        with connect(request, address, port) as connected:
            connection = _Connection(connected)
            connection.putrequest(request.method, request.target, skip_host=True,
                                  skip_accept_encoding=True)
            given = {name.lower() for name, _ in request.fields}
            if "host" not in given:
                connection.putheader("Host", request.authority)
            for name, value in request.fields:
                connection.putheader(name, value)
            if request.body and not given & {"content-length", "transfer-encoding"}:
                connection.putheader("Content-Length", str(len(request.body)))
            connection.endheaders(request.body or None)
            response = connection.getresponse()
            body = response.read()
            fields = [(name.lower(), value) for name, value in response.getheaders()]
            return {"status": response.status, "fields": fields, "body": body}
    except (OSError, http.client.HTTPException) as error:
        raise Refused(type(error).__name__) from error


def connect(request, address, port):
    plain = socket.create_connection((address, port), TIMEOUT)
    if request.scheme != "https":
        return plain
    try:
        return tls_context().wrap_socket(plain, server_hostname=server_name(request.host))
    except OSError:
        plain.close()
        raise


def tls_context():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def server_name(host):
    """What is sent as SNI: an address is none."""
    is_address = host.replace(".", "").isdigit() or ":" in host
    return None if is_address or not host else host


def wait_for_certificate(request, address, port, seconds):
    """Waits until a handshake succeeds; whether it did."""
    end = time.monotonic() + seconds
    while True:
        try:
            connect(request, address, port).close()
            return True
        except OSError:
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
