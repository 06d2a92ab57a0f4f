"""Build etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kubectl once, into a cache outside the checkout.

    python -m tests.controlplane.build      # or: python tests/controlplane/build.py

Prints the folder of the programs on stdout and the progress on stderr. Needs `go` (CGO is off, so no C compiler) and, the first
time, the Go module proxy. Cold it takes minutes; with a warm Go build cache seconds; once built it is one look at the disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

TOOLS = Path(__file__).parent / "tools"
VERSION = "v1.34.4+k3s1"
"""What the API server says of itself: the suffix makes it look like the K3s it stands for."""
KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
PROGRAMS = ("etcd", *KUBERNETES)
PROGRESS_SECONDS = 15.0
_PINS = ("go.mod", "go.sum", "tools.go", "etcd/go.mod", "etcd/go.sum", "etcd/main.go")

Say = Callable[[str], None]


class BuildError(Exception):
    """The programs cannot be built here; the text is one line for a person."""


def say_stderr(line: str) -> None:
    """Progress is talk, so it goes to stderr."""
    print(line, file=sys.stderr, flush=True)


def cache_root() -> Path:
    """`$COLDTUI_CONTROLPLANE_CACHE`, else the user's cache folder."""
    if own := os.environ.get("COLDTUI_CONTROLPLANE_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "coldtui" / "controlplane"


def key() -> str:
    """Name of this set of programs: changes with every version, pin, build flag and machine type."""
    digest = hashlib.sha256()
    for pin in _PINS:
        digest.update((TOOLS / pin).read_bytes() + b"\0")
    digest.update(" ".join(_flags()).encode())
    return f"{VERSION}-{sys.platform}-{platform.machine()}-{digest.hexdigest()[:12]}"


def built() -> Path | None:
    """The folder of the programs, or None when they must be built first. Never builds."""
    folder = cache_root() / key()
    return folder if folder.is_dir() else None


def programs(say: Say = say_stderr) -> Path:
    """The folder of the programs, built now if need be. Raises BuildError.

    Safe to call from several processes: one builds, the others wait for it.
    """
    if folder := built():
        return folder
    go = _go()
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    with _locked(root / f"{key()}.lock", say):
        if folder := built():
            return folder
        for leftover in root.glob(f"{key()}.partial-*"):  # of a build that was killed: we hold the lock, so nobody is writing it
            shutil.rmtree(leftover)
        partial = root / f"{key()}.partial-{os.getpid()}"
        partial.mkdir()
        try:
            started = time.monotonic()
            _build(go, TOOLS / "etcd", partial / "etcd", ".", say=say)
            _build(go, TOOLS, partial, *(f"k8s.io/kubernetes/cmd/{name}" for name in KUBERNETES), say=say)
            if missing := [name for name in PROGRAMS if not os.access(partial / name, os.X_OK)]:
                raise BuildError(f"go build said nothing, yet these are missing: {', '.join(missing)}")
            partial.rename(root / key())
            say(f"control plane: built in {time.monotonic() - started:.0f} s into {root / key()}")
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return root / key()


def _flags() -> list[str]:
    component = "k8s.io/component-base/version"
    major, minor = VERSION.removeprefix("v").split(".")[:2]
    values = {"gitVersion": VERSION, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    stamps = " ".join(f"-X {component}.{name}={value}" for name, value in values.items())
    return ["-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", f"-s -w {stamps}"]


def _go() -> str:
    """The `go` program, if it is there and new enough for the pinned sources."""
    wanted = re.search(r"^go (\d+)\.(\d+)", (TOOLS / "go.mod").read_text(), re.M)
    assert wanted is not None
    need = f"go {wanted[1]}.{wanted[2]} or newer is needed to build the control plane of the tests"
    go = shutil.which("go")
    if go is None:
        raise BuildError(f"{need}, and there is no `go` in PATH")
    said = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, timeout=60, check=False).stdout.strip()
    found = re.match(r"go(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < (int(wanted[1]), int(wanted[2])):
        raise BuildError(f"{need}; {go} is {said or 'of an unknown version'}")
    return go


def _build(go: str, module: Path, output: Path, *packages: str, say: Say) -> None:
    """One `go build`; says every PROGRESS_SECONDS how far it is."""
    environment = os.environ | {"CGO_ENABLED": "0", "GOWORK": "off"}
    target = str(output) if len(packages) == 1 else f"{output}/"
    command = [go, "build", "-v", *_flags(), "-o", target, *packages]
    say(f"control plane: go build {' '.join(package.rsplit('/', 1)[-1] for package in packages).replace('.', module.name)}")
    compiled, tail, next_word = 0, [""], time.monotonic() + PROGRESS_SECONDS
    with subprocess.Popen(command, cwd=module, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                compiled += 1
                tail = [*tail[-15:], line.rstrip()]
                if time.monotonic() >= next_word:
                    say(f"control plane: {compiled} packages, now {tail[-1]}")
                    next_word = time.monotonic() + PROGRESS_SECONDS
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise BuildError(f"go build in {module} ended with {process.returncode}: " + " | ".join(tail[-5:]))


@contextlib.contextmanager
def _locked(path: Path, say: Say) -> Iterator[None]:
    """Hold an exclusive lock on `path`; it ends with the process, however that ends."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("control plane: another process is building it, waiting")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Build and print the folder."""
    try:
        print(programs())
    except BuildError as error:
        say_stderr(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
