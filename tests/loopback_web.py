"""A server on the loopback that answers with files from memory."""

import http.server
import threading
from contextlib import contextmanager


@contextmanager
def serving_files(files, declared=None):
    """Serve `files`, content by name, for the length of a block.

    Args:
        files: content by name.
        declared: what Content-Length says, by name, where it is not true.

    Yields:
        The server's address and the list of names that were asked for.
    """
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            name = self.path.lstrip("/")
            asked.append(name)
            if name not in files:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", (declared or {}).get(name, len(files[name])))
            self.end_headers()
            self.wfile.write(files[name])

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
