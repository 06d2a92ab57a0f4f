"""The API server as a child process, for the demo and for tests: start, wait, control, pause, kill."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

Json = dict[str, Any]
_SOCKET_PATH_BYTES = 100
"""Unix socket paths are limited to 107 bytes; a longer folder gets its socket in a temporary directory."""


class ApiServerError(RuntimeError):
    """The server did not start, or refused a command."""


class ApiServerProcess:
    """One ``python -m coldtui.lab.apiserver``, which ends when this process does. Use as a context manager, or call ``stop``.

    ``arguments`` are further flags of the program, for instance ``("--crds", "none")``.
    """

    def __init__(
        self, folder: Path, *, port: int = 0, version: str = "v1.34.4+k3s1", arguments: tuple[str, ...] = (), deadline_s: float = 20.0
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._short: tempfile.TemporaryDirectory[str] | None = None
        control = folder / "control.sock"
        if len(os.fsencode(control)) > _SOCKET_PATH_BYTES:
            self._short = tempfile.TemporaryDirectory(prefix="coldtui-lab-")
            control = Path(self._short.name) / "control.sock"
        self.control_path = control
        self._log = (folder / "apiserver.log").open("ab")
        command = [sys.executable, "-m", "coldtui.lab.apiserver", "--dir", str(folder), "--port", str(port), "--version", version]
        command += ["--control", str(control), "--with-parent", *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._log, stdin=subprocess.PIPE)
        try:
            ready = json.loads(self._first_line(deadline_s))
        except BaseException:
            self.kill()
            raise
        self.url: str = ready["url"]
        self.port: int = ready["port"]

    def _first_line(self, deadline_s: float) -> bytes:
        pipe = self._process.stdout
        assert pipe is not None
        with selectors.DefaultSelector() as waiting:
            waiting.register(pipe, selectors.EVENT_READ)
            if waiting.select(deadline_s):
                line = pipe.readline()
                if line:
                    return line
        said = (self.folder / "apiserver.log").read_text(errors="replace")[-2000:]
        raise ApiServerError(f"the API server did not start within {deadline_s:g} s: {said}")

    # --- where things are

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def kubeconfig(self) -> Path:
        """Client certificate of an admin."""
        return self.folder / "admin.kubeconfig"

    @property
    def view_kubeconfig(self) -> Path:
        """Token of user ``viewer``, who has the cluster role ``view`` (no nodes, no secrets)."""
        return self.folder / "view.kubeconfig"

    @property
    def token_kubeconfig(self) -> Path:
        """Token of an admin."""
        return self.folder / "token.kubeconfig"

    # --- control

    def command(self, body: Json, deadline_s: float = 10.0) -> Json:
        """Send one line to the control socket and return the answer. ApiServerError when it says no."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(deadline_s)
            line.connect(str(self.control_path))
            line.sendall(json.dumps(body).encode() + b"\n")
            with line.makefile("rb") as answers:
                answer: Json = json.loads(answers.readline())
        if not answer.get("ok"):
            raise ApiServerError(str(answer.get("error")))
        return answer

    def control(self, fault: str, on: bool = True, **options: Any) -> Json:
        """Switch a fault; see ``faults.CATALOGUE`` for names and options."""
        return self.command({"fault": fault, "on": on, **options})

    def churn(self, rate: float) -> None:
        """Let ``rate`` pods a second change; 0 stops."""
        self.command({"churn": rate})

    def stats(self) -> Json:
        """Version, object counts, open streams, CPU and memory of the server."""
        return self.command({"stats": True})

    def pause(self) -> None:
        """Stop the process without closing anything: TCP connects still succeed, nobody answers."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, as when the machine loses power."""
        self._process.kill()
        self._end()

    def stop(self, deadline_s: float = 5.0) -> None:
        """SIGTERM; SIGKILL when it takes longer than the deadline. Harmless when it has ended."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.resume()
                self._process.terminate()
            began = time.monotonic()
            try:
                self._process.wait(deadline_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                raise ApiServerError(f"the API server did not stop within {time.monotonic() - began:.1f} s and was killed") from None
            finally:
                self._end()
        else:
            self._end()

    def _end(self) -> None:
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._log.close()
        if self._short is not None:
            self._short.cleanup()
            self._short = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
