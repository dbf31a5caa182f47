#!/usr/bin/env python3
"""Uses the quiz app as a person would, in Chromium, and prints what was seen as JSON.

    browse.py https://localhost:8443

What it prints holds nothing that differs from run to run, so that two servers in front of the same
app can be compared. Any surprise ends it with an error.
"""

import json
import os
import re
import struct
import sys
import zlib

from playwright.sync_api import sync_playwright

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Header fields of static files that a user of Caddy would notice if they changed.
NOTICED = ["content-type", "content-length", "accept-ranges", "cache-control", "content-encoding"]


def png(width=8, height=8):
    """A small picture."""
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))
    rows = b"".join(b"\0" + b"\x20\x80\xff" * width for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows))
            + chunk(b"IEND", b""))


def noticed(response):
    """Status and the noticed fields of a response."""
    return {"status": response.status,
            **{name: response.headers[name] for name in NOTICED if name in response.headers}}


def neutral(path):
    """A path without the parts that differ between runs."""
    return re.sub(r"\.[0-9a-f]{12}\.", ".HASH.", path)


def visit(base, browser):
    """The whole visit; returns what was seen."""
    seen = {"files": {}}
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    failures = []
    page.on("console", lambda line: failures.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: failures.append(str(error)))

    def note(response):
        path = response.url.removeprefix(base)
        if path.startswith(("/static/", "/media/")) and response.status != 304:
            seen["files"][neutral(path)] = noticed(response)
    page.on("response", note)

    answer = page.goto(f"{base}/")
    seen["index"] = answer.status
    page.wait_for_function("document.getElementById('echo').textContent !== ''")
    seen["echo before login"] = page.text_content("#echo")
    seen["background"] = page.evaluate("getComputedStyle(document.body).backgroundColor")

    seen["add without login"] = neutral(page.goto(f"{base}/add/").url.removeprefix(base))
    page.fill("[name=username]", "alice")
    page.fill("[name=password]", "wrong")
    page.click("button")
    seen["wrong password"] = "correct username and password" in page.content()
    page.fill("[name=username]", "alice")
    page.fill("[name=password]", "alices password")
    page.click("button")
    page.wait_for_url(f"{base}/")
    seen["who"] = page.text_content("#who")
    page.wait_for_function("document.getElementById('echo').textContent !== ''")
    seen["echo after login"] = page.text_content("#echo")
    page.evaluate("echo('\\u00e4'.repeat(40000))")
    page.wait_for_function("document.getElementById('echo').textContent.length > 40000")
    seen["long echo"] = len(page.text_content("#echo"))

    page.fill("[name=text]", "Which colour?")
    page.set_input_files(
        "[name=picture]", {"name": "blue.png", "mimeType": "image/png", "buffer": png()})
    page.click("#add button")
    page.wait_for_selector("li img")
    page.wait_for_function("document.querySelector('li img').complete")
    seen["picture width"] = page.evaluate("document.querySelector('li img').naturalWidth")

    page.goto(f"{base}/admin/")
    seen["admin title"] = page.title()
    seen["admin header"] = page.evaluate(
        "getComputedStyle(document.getElementById('header')).backgroundColor")
    page.goto(f"{base}/admin/quiz/question/")
    seen["admin rows"] = page.locator("#result_list tbody tr").count()
    page.click("#result_list tbody th a")
    page.fill("[name=text]", "What colour?")
    page.click("[name=_save]")
    page.wait_for_selector(".success")
    seen["admin saved"] = "What colour?" in page.text_content(".success")

    forged = context.request.post(f"{base}/add/", form={"text": "forged"})
    seen["forged post"] = forged.status
    app = context.request.get(f"{base}/seen/").json()
    port = base.rsplit(":", 1)[1]
    seen["app"] = {key: str(value).replace(port, "PORT") for key, value in app.items()}
    for path in ("/static/", "/static/nothing.css", "/static/../db.sqlite3",
                 "/static/%2e%2e/db.sqlite3", "/media/nothing.png", "/nothing/"):
        seen[f"status of {path}"] = context.request.get(base + path).status
    css = next(path for path in page_paths(context, base) if path.endswith(".css"))
    part = context.request.get(base + css, headers={"Range": "bytes=5-9", "Accept-Encoding": "identity"})
    seen["range"] = [part.status, part.text(), part.headers.get("content-range")]
    whole = context.request.get(base + css)
    again = context.request.get(base + css, headers={"If-None-Match": whole.headers["etag"]})
    seen["not modified"] = [again.status, len(again.body())]

    page.goto(f"{base}/")
    page.click("#logout")
    page.wait_for_selector("#login")
    seen["console errors"] = len(failures)
    context.close()
    return seen


def page_paths(context, base):
    """The static files that the first page names."""
    return re.findall(r'"(/static/[^"]+)"', context.request.get(f"{base}/").text())


def main():
    base = sys.argv[1].rstrip("/")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            seen = visit(base, browser)
        finally:
            browser.close()
    json.dump(seen, sys.stdout, indent=1, sort_keys=True)
    print()


if __name__ == "__main__":
    main()
