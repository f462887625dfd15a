"""A hub of our own for the tests of `wan download`: the ways of Hugging Face and ModelScope, and every way to misbehave.

Standard library only. A `Hub` serves repositories on 127.0.0.1 and sends large files through a second server, its CDN. What
goes wrong, and how often, is said by `faults`: path -> list of names, of which each request takes one.
"""

import gzip
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub:
    """repository: {path: bytes}. `large`: from this many bytes on a file has a sha256 and comes from the CDN."""

    def __init__(self, files, repository="Wan-AI/Wan2.2-TI2V-5B", large=1000):
        self.files = dict(files)
        self.repository = repository
        self.large = large
        self.faults = {}  # path, "list" or "info" -> [fault, ...]
        self.requests = []  # (server, method and path, headers)
        self.gate = None  # a token that repositories ask for
        self.page = 1000  # files a page
        self.listed = None  # what the listing says instead: a list of entries
        self.lock = threading.Lock()
        self.api = self._start("api")
        self.cdn = self._start("cdn")

    def _start(self, name):
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                if self.path.startswith("http://"):  # as a proxy
                    self.path = urlsplit(self.path)._replace(scheme="", netloc="").geturl()
                with hub.lock:
                    hub.requests.append((name, self.path, dict(self.headers)))
                try:
                    (hub.answer_api if name == "api" else hub.answer_cdn)(self)
                except (BrokenPipeError, ConnectionResetError):
                    pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # a client that was stopped or has gone away

        server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server

    def close(self):
        for server in (self.api, self.cdn):
            server.shutdown()
            server.server_close()

    def url(self, server=None):
        return f"http://127.0.0.1:{(server or self.api).server_address[1]}"

    def next_fault(self, key):
        with self.lock:
            left = self.faults.get(key)
            return left.pop(0) if left else None

    def asked(self, server, part=""):
        return [(path, headers) for name, path, headers in self.requests if name == server and part in path]

    # --- what is answered ---

    @staticmethod
    def send(request, status, body, headers=None, length=None):
        request.send_response(status)
        for key, value in (headers or {}).items():
            request.send_header(key, value)
        request.send_header("Content-Length", str(len(body) if length is None else length))
        request.end_headers()
        request.wfile.write(body)
        if length is not None and length > len(body):
            request.wfile.flush()
            request.close_connection = True
            request.connection.shutdown(2)

    def fail(self, request, status, code="", headers=None):
        self.send(request, status, b"no", {"X-Error-Code": code, **(headers or {})} if code else headers)

    def answer_api(self, request):
        path = urlsplit(request.path).path
        query = parse_qs(urlsplit(request.path).query)
        if self.gate and request.headers.get("Authorization") != f"Bearer {self.gate}":
            return self.fail(request, 401, "GatedRepo")
        if path.startswith("/api/v1/models/"):  # ModelScope
            return self.answer_modelscope(request, path)
        if path.startswith("/api/models/"):
            return self.answer_hugging_face(request, path, query)
        parts = unquote(path).lstrip("/").split("/")
        if parts[0] == "models":
            parts = parts[1:]
        if path.startswith("/Wan-AI/Old/"):  # renamed
            return self.send(request, 307, b"", {"Location": path.replace("Wan-AI/Old", self.repository)})
        if "/".join(parts[:2]) != self.repository or parts[2] != "resolve":
            return self.fail(request, 404, "RepoNotFound")
        name = "/".join(parts[4:])
        if name not in self.files:
            return self.fail(request, 404, "EntryNotFound")
        if len(self.files[name]) < self.large:
            return self.send_file(request, name)
        return self.send(request, 302, b"", {"Location": f"{self.url(self.cdn)}/{name}?signature=secret"})

    def answer_hugging_face(self, request, path, query):
        repository = "/".join(path.split("/")[3:5])
        if repository == "Wan-AI/Old":  # renamed
            return self.send(request, 307, b"", {"Location": path.replace("Wan-AI/Old", self.repository)})
        if repository != self.repository:
            return self.fail(request, 401 if not request.headers.get("Authorization") else 404, "RepoNotFound")
        fault = self.next_fault("list")
        if fault == "html":
            return self.send(request, 200, b"<!DOCTYPE html><html>sign in</html>", {"Content-Type": "text/html"})
        if fault in ("429", "503"):
            return self.fail(request, int(fault), headers={"Retry-After": "1"})
        if fault == "429-long":
            return self.fail(request, 429, headers={"Retry-After": "3600"})
        body = {"sha": COMMIT}
        headers = {}
        if "/tree/" in path:
            entries = self.listed if self.listed is not None else [self.entry(name) for name in sorted(self.files)]
            begin = int(query.get("cursor", ["0"])[0])
            body = entries[begin : begin + self.page]
            if begin + self.page < len(entries):
                headers["Link"] = f'<{self.url()}{path}?recursive=true&cursor={begin + self.page}>; rel="next"'
        elif "/revision/nowhere" in path:
            return self.fail(request, 404, "RevisionNotFound")
        packed = json.dumps(body).encode()
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            packed, headers["Content-Encoding"] = gzip.compress(packed), "gzip"
        return self.send(request, 200, packed, headers)

    def entry(self, name):
        data = self.files[name]
        entry = {"type": "file", "path": name, "size": len(data), "oid": git_sha1(data)}
        if len(data) >= self.large:
            entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        return entry

    def answer_modelscope(self, request, path):
        if not path.startswith(f"/api/v1/models/{self.repository}/"):
            return self.send(request, 404, json.dumps({"Code": 10010205001, "Message": "not found"}).encode())
        files = [{"Path": name, "Size": len(data), "Sha256": hashlib.sha256(data).hexdigest(), "Type": "blob"}
                 for name, data in sorted(self.files.items())]
        files.append({"Path": "folder", "Size": 0, "Type": "tree"})
        return self.send(request, 200, json.dumps({"Code": 200, "Data": {"Files": files}}).encode())

    def answer_cdn(self, request):
        if request.headers.get("Authorization"):
            return self.fail(request, 400)
        return self.send_file(request, unquote(urlsplit(request.path).path).lstrip("/"))

    def send_file(self, request, name):
        data = self.files[name]
        fault = self.next_fault(name)
        etag = '"v1"'
        if fault in ("403", "404", "416"):
            return self.fail(request, int(fault))
        if fault in ("429", "503", "503-long"):
            return self.fail(request, int(fault[:3]), headers={"Retry-After": "4" if fault == "503-long" else "1"})
        if fault == "html":
            return self.send(request, 200, b"<html>sign in</html>", {"Content-Type": "text/html"})
        if fault == "pointer":
            return self.send(request, 200, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
        if fault == "wrong":
            data = bytes(len(data))
        if fault == "long":
            data += b"more"
        if fault == "changed":  # since the last request: it has another etag, and other bytes
            data, etag = bytes(len(data)), '"v2"'
        if fault == "gzip":
            return self.send(request, 200, gzip.compress(data), {"Content-Encoding": "gzip"})
        begin = 0
        if request.headers.get("Range"):
            begin = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if request.headers.get("If-Range", etag) != etag or fault == "no-range":
                begin = 0
        headers = {"ETag": etag}
        status = 200
        if begin:
            status = 206
            said = begin + 5 if fault == "other-range" else begin
            headers["Content-Range"] = f"bytes {said}-{len(data) - 1}/{len(data)}"
        body = data[begin:]
        if fault == "silent":
            request.close_connection = True
            threading.Event().wait(3)
            return None
        if fault == "cut":
            return self.send(request, status, body[: len(body) // 2], headers, length=len(body))
        return self.send(request, status, body, headers)
