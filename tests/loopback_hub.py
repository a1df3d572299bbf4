"""A hub on the loopback: what the library huggingface_hub asks for, from files of a folder."""

import hashlib
import http.server
import json
import threading
from contextlib import contextmanager

import pytest
from huggingface_hub import constants

from headstability.hub.download import Hub

COMMIT = "c" * 40


def etag_of(data, large):
    """The tag the hub gives: sha256 for large files, git's hash for small ones."""
    if large:
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()


def hub_at(address, cache, repo, revision=COMMIT, kind="model"):
    """A repository of the hub at an address, with a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", address)
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        return Hub(repo, revision, kind)


class LoopbackHub:
    """Repositories in memory.

    Attributes:
        files: content by "owner/name/path", of data sets by "datasets/owner/name/path".
        revisions: what each repository's tags and branches are, beside its commit.
        requests: (method, path, Range header) of every request.
        cut: paths whose next answer breaks off after this many bytes.
        damage: paths that are answered with altered bytes.
    """

    def __init__(self):
        self.files, self.revisions = {}, {"step30", "main", COMMIT}
        self.requests, self.cut, self.damage = [], {}, set()
        self.address = ""

    def add_folder(self, repo, folder):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.files[f"{repo}/{path.relative_to(folder).as_posix()}"] = path.read_bytes()

    def downloads(self):
        return [path for method, path, _ in self.requests if method == "GET"]


@contextmanager
def serving(hub):
    """Serve a hub for the length of a block; its address is then `hub.address`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def do_HEAD(self):
            self.answer(False)

        def do_GET(self):
            self.answer(True)

        def answer(self, body):
            hub.requests.append((self.command, self.path, self.headers.get("Range")))
            parts = self.path.strip("/").split("?")[0].split("/")
            listing = parts[0] == "api"
            kind = "datasets/" if "datasets" in parts[:2] else ""
            if len(parts) < 4 + listing + bool(kind):
                return self.refuse("EntryNotFound")
            owner, name, _, revision, *rest = parts[listing + bool(kind) :]
            repo, path = f"{kind}{owner}/{name}/", "/".join(rest)
            full = f"{repo}{path}"
            names = [file.removeprefix(repo) for file in hub.files if file.startswith(repo)]
            if not names:
                return self.refuse("RepoNotFound")
            if revision not in hub.revisions:
                return self.refuse("RevisionNotFound")
            if listing:
                return self.tell(owner, name, names)
            if full not in hub.files:
                return self.refuse("EntryNotFound")
            data = hub.files[full]
            large = not path.endswith(".json")
            first = 0
            if (asked := self.headers.get("Range")) and body:
                first = int(asked.removeprefix("bytes=").split("-")[0])
            self.send_response(206 if first else 200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{etag_of(data, large)}"')
            self.send_header("Content-Length", str(len(data) - first))
            if first:
                self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            if not body:
                return None
            if full in hub.damage:
                data = bytes([data[0] ^ 1]) + data[1:]
            if full in hub.cut:
                self.wfile.write(data[first : hub.cut.pop(full)])
                self.close_connection = True
                return None
            return self.wfile.write(data[first:])

        def tell(self, owner, name, names):
            files = [{"rfilename": file} for file in names]
            content = {"id": f"{owner}/{name}", "sha": COMMIT, "siblings": files}
            data = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            return self.wfile.write(data)

        def refuse(self, code):
            self.send_response(404)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
