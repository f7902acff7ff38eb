#!/usr/bin/python3
"""A server for the tests of http_source.h, on 127.0.0.1: http_server.py FILE [CERTIFICATE KEY]

Prints its port, serves FILE until its standard input ends. Each path misbehaves in its own way. What was asked
for is told by GET /log: a JSON list of [path, headers].
"""
import hashlib
import http.server
import json
import ssl
import sys
import threading
import time

with open(sys.argv[1], "rb") as file:
    CONTENT = file.read()
ETAG = '"' + hashlib.sha256(CONTENT).hexdigest()[:16] + '"'
LOG = []
COUNTS = {}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, headers=(), body=b"", length=None):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()
        self.wfile.write(body)

    def redirect(self, location):
        self.answer(302, [("Location", location)])

    def content(self, cut=None, etag=ETAG, ranges=True):
        begin, total = 0, len(CONTENT)
        wanted = self.headers.get("Range", "")
        headers = [("ETag", etag)] if etag else []
        if ranges and wanted.startswith("bytes=") and self.headers.get("If-Range") == etag:
            begin = int(wanted[6:].rstrip("-"))
            if begin >= total:
                return self.answer(416, [("Content-Range", f"bytes */{total}")])
            headers.append(("Content-Range", f"bytes {begin}-{total - 1}/{total}"))
        body = CONTENT[begin:]
        length = len(body)
        if cut is not None:
            body = body[:cut]
        self.answer(206 if "Content-Range" in dict(headers) else 200, headers, body, length)

    def do_GET(self):
        path = self.path.split("?")[0]
        LOG.append([self.path, dict(self.headers)])
        count = COUNTS[path] = COUNTS.get(path, 0) + 1
        if path == "/log":
            self.answer(200, (), json.dumps(LOG).encode())
        elif path == "/whole":
            self.content()
        elif path == "/cut":  # each connection breaks after 300,000 bytes
            self.content(cut=300_000)
        elif path == "/cut-no-etag":  # breaks once; there is no telling whether the version is the same
            self.content(cut=300_000 if count == 1 else None, etag=None)
        elif path == "/cut-changed":  # breaks, then is another version
            self.content(cut=300_000 if count == 1 else None, etag='"old"' if count == 1 else ETAG)
        elif path == "/cut-weak":
            self.content(cut=300_000 if count == 1 else None, etag="W/" + ETAG)
        elif path == "/dead":  # breaks at once, each time
            self.content(cut=0)
        elif path == "/wrong-range":  # says that it begins elsewhere
            if "Range" in self.headers:
                self.answer(206, [("Content-Range", f"bytes 7-{len(CONTENT) - 1}/{len(CONTENT)}")], CONTENT[7:])
            else:
                self.content(cut=300_000 if count == 1 else None)
        elif path == "/busy":  # twice
            self.answer(503) if count <= 2 else self.content()
        elif path == "/slow":  # some bytes, then none
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:1000])
            self.wfile.flush()
            time.sleep(30)
        elif path == "/silent":
            time.sleep(30)
        elif path == "/endless":  # says no length
            self.send_response(200)
            self.send_header("Connection", "close")
            self.close_connection = True
            self.end_headers()
            for _ in range(1000):
                self.wfile.write(b"x" * 65536)
        elif path == "/loop":
            self.redirect("/loop?secret")
        elif path == "/to-whole":
            self.redirect("whole")
        elif path.startswith("/to/"):  # /to/PORT: another server
            self.redirect(f"http://localhost:{path[4:]}/whole?secret")
        elif path == "/to-file":
            self.redirect("file:///etc/passwd?secret")
        elif path == "/to-gopher":
            self.redirect("gopher://user:secret@127.0.0.1/")
        elif path == "/to-http":
            self.redirect("http://127.0.0.1:1/secret?secret")
        elif path == "/to-nothing":
            self.answer(302)
        elif path == "/forbidden":
            self.answer(403, (), b"secret")
        else:
            self.answer(404)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # clients that go away are what is tested


server = Server(("127.0.0.1", 0), Handler)
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
