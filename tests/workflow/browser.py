"""A headless Chromium, driven through its DevTools protocol over a pair of pipes."""

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import time

NAMES = ("chromium", "chromium-browser", "google-chrome")
PACKAGE = "apt-get install --no-install-recommends chromium"


def why_no_browser():
    """Why no page can be opened here; None where one can."""
    return None if _program() else f"none of {', '.join(NAMES)} is installed ({PACKAGE})"


def _program():
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One page of a browser of its own that reaches no network.

    Attributes:
        requests: addresses the page asked for.
        complaints: what its console said that is not information, and uncaught errors.
    """

    def __init__(self, folder, width=1600, height=1000):
        self._number, self._read, self.requests, self.complaints = 0, b"", [], []
        commands, self._to = os.pipe()
        self._from, answers = os.pipe()
        # The browser reads commands from descriptor 3 and answers on 4.
        with (folder / "browser.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "bash",
                    "-c",
                    f'exec "$@" 3<&{commands} 4>&{answers}',
                    "bash",
                    _program(),
                    "--headless",
                    "--no-sandbox",  # which root may not have
                    "--disable-gpu",
                    "--disable-dev-shm-usage",
                    "--disable-background-networking",
                    "--no-first-run",
                    "--disable-ipc-flooding-protection",  # clicks come faster than a person's
                    "--host-resolver-rules=MAP * ~NOTFOUND",
                    f"--user-data-dir={folder / 'browser'}",
                    f"--window-size={width},{height}",
                    "--remote-debugging-pipe",
                    "about:blank",
                ],
                pass_fds=(commands, answers),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        os.close(commands)
        os.close(answers)
        self._session = None
        targets = self.ask("Target.getTargets")["targetInfos"]
        target = next(target["targetId"] for target in targets if target["type"] == "page")
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        os.close(self._to)
        os.close(self._from)
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=30)

    def open(self, path):
        """Open a file, and wait until it is loaded."""
        self.loaded = False
        self.ask("Page.navigate", url=path.resolve().as_uri())
        end = time.monotonic() + 60
        while not self.loaded:
            self._hear(self._message(end))

    def run(self, script):
        """The value of a JavaScript expression; a promise is awaited."""
        answer = self.ask(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def picture(self, path):
        """Write what is seen as a PNG."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot")["data"]))

    def ask(self, method, **parameters):
        """The answer to a command of the protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + 60
        while True:
            answer = self._message(end)
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self._hear(answer)

    def _message(self, end):
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._from], [], [], max(0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            part = os.read(self._from, 2**20)
            assert part, "the browser has ended"
            self._read += part
        message, self._read = self._read.split(b"\0", 1)
        return json.loads(message)

    def _hear(self, event):
        method, said = event.get("method"), event.get("params", {})
        bad = ("error", "warning", "assert")
        if method == "Page.loadEventFired":
            self.loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(said["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and said["type"] in (
            "error",
            "warning",
            "assert",
        ):
            self.complaints.append([part.get("value") for part in said["args"]])
        elif method == "Log.entryAdded" and said["entry"]["level"] in bad:
            self.complaints.append([said["entry"]["text"], said["entry"].get("url")])
