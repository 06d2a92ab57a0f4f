"""The saved picture: the last frame, drawn before any library is imported, so that something true is on the screen within 20 ms.

Imports nothing but `os` and `sys` at module scope. One file for each terminal size and for each thing that decides what a picture shows
(configuration, kubeconfig, theme, colours): a picture of another site, another context or other colours is never drawn.
"""

import os
import sys

MAGIC = "coldtui-picture 1 "
ENTER = b"\x1b[?1049h\x1b[?25l\x1b[?7l"
LEAVE = b"\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
_CONTEXT = ("TERM", "COLORTERM", "NO_COLOR", "LC_ALL", "LC_CTYPE", "LANG", "KUBECONFIG", "POSTGRES_PRIMARY_HOST", "K3S_MASTER_IP")


PLACES = "pictures"
"""In the user's own state folder: where pictures lie whose folder only the configuration tells. Lines `FINGERPRINT FOLDER`, newest last."""
PLACES_KEPT = 50


def user_folder(environ: "os._Environ[str] | dict[str, str]") -> str:
    state = environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(state, "coldtui")


def folder_of(context: str, environ: "os._Environ[str] | dict[str, str]") -> str:
    """Where the picture of this context lies: as remembered when it was saved, else the state folder by rule."""
    wanted = _print(context).encode()
    try:
        with open(os.path.join(user_folder(environ), PLACES), "rb") as file:
            if os.fstat(file.fileno()).st_uid == os.geteuid():
                for line in file.read(64_000).splitlines():
                    key, _, folder = line.partition(b" ")
                    if key == wanted and folder:
                        return os.fsdecode(folder)
    except OSError:
        pass  # none is remembered: the usual case
    return default_folder(environ)


def _print(context: str) -> str:
    import binascii  # built in: no file is read

    return f"{binascii.crc32(context.encode('utf-8', 'replace')):08x}"


def default_folder(environ: "os._Environ[str] | dict[str, str]") -> str:
    """The state folder as far as it can be known before the configuration is read."""
    if environ.get("COLDTUI_STATE"):
        return environ["COLDTUI_STATE"]
    if os.access("/var/lib/coldtui", os.W_OK):
        return "/var/lib/coldtui"
    return user_folder(environ)


def fingerprint(argv: "list[str]", environ: "os._Environ[str] | dict[str, str]") -> str:
    """Everything that decides what the first screen looks like, on one line: flags, variables, and the files they name as they are now."""
    parts = [*argv, *(f"{k}={environ[k]}" for k in sorted(environ) if k in _CONTEXT or k.startswith("COLDTUI_"))]
    home = os.path.expanduser("~")
    config_home = environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    files = [os.path.join(config_home, "coldtui", "config.yaml"), "/etc/coldtui/config.yaml", "/etc/rancher/k3s/k3s.yaml"]
    files += (environ.get("KUBECONFIG") or os.path.join(home, ".kube", "config")).split(os.pathsep)
    files += [argv[at + 1] for at, flag in enumerate(argv[:-1]) if flag in ("--config", "--kubeconfig")]
    files += [part.split("=", 1)[1] for part in argv if part.startswith(("--config=", "--kubeconfig="))]
    if environ.get("COLDTUI_CONFIG"):
        files.append(environ["COLDTUI_CONFIG"])
    for name in files:
        try:
            stat = os.stat(name)
        except OSError:
            continue
        parts.append(f"{name}:{stat.st_mtime_ns}:{stat.st_size}")
    return repr(parts).replace("\n", " ")


class Picture:
    """`draw` first, then import; `undo` if that fails; `restore` at the end."""

    def __init__(self, folder: str, context: str) -> None:
        """`context`: `fingerprint(...)`."""
        self.folder, self.context = folder, context
        self.drawn = False
        self.why = ""
        """Why it was not drawn, in a word, for the log."""
        self._settings: list[object] | None = None
        self._remember_in = ""
        """The user's own state folder, when that of the site must be written down there."""

    def path(self, cols: int, rows: int) -> str:
        return os.path.join(self.folder, f"picture-{cols}x{rows}-{_print(self.context)}.ansi")

    def move(self, folder: str, environ: "os._Environ[str] | dict[str, str]") -> None:
        """The configuration is read: from now on the picture is kept in the site's state folder, which the next start will find."""
        self.folder = folder
        self._remember_in = user_folder(environ) if folder != default_folder(environ) else ""

    def _remember(self) -> None:
        """Write down where the picture lies. Raises OSError."""
        path = os.path.join(self._remember_in, PLACES)
        line = _print(self.context).encode() + b" " + os.fsencode(os.path.abspath(self.folder))
        try:
            with open(path, "rb") as file:
                lines = file.read(64_000).splitlines()
        except FileNotFoundError:
            lines = []
        if line in lines or b"\n" in line:
            return
        kept = [known for known in lines if known.partition(b" ")[0] != line.partition(b" ")[0]][-PLACES_KEPT + 1 :]
        os.makedirs(self._remember_in, mode=0o700, exist_ok=True)
        new = f"{path}.{os.getpid()}"
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(b"\n".join([*kept, line]) + b"\n")
        os.replace(new, path)

    def draw(self) -> bool:
        """Draw it if there is one for this terminal; never raises, never draws half."""
        try:
            if os.environ.get("TERM", "dumb") in ("dumb", "unknown", "") or not all(os.isatty(fd) for fd in (0, 1, 2)):
                self.why = "no terminal"
                return False
            cols, rows = os.get_terminal_size(2)
            with open(self.path(cols, rows), "rb") as file:
                if os.fstat(file.fileno()).st_uid != os.geteuid():
                    self.why = "not ours"
                    return False
                head, _, frame = file.read(4_000_000).partition(b"\n")
                moment = os.fstat(file.fileno()).st_mtime
            if head.decode("utf-8", "replace") != MAGIC + self.context:
                self.why = "of another context"
                return False
            import termios  # both built in
            import time

            self._settings = termios.tcgetattr(0)
            early = termios.tcgetattr(0)
            # Early keys must not be echoed over the picture; they wait in the queue, an early Enter as the CR that Textual knows.
            early[3] = early[3] & ~(termios.ECHO | termios.ICANON)
            early[0] = early[0] & ~(termios.ICRNL | termios.IXON)
            termios.tcsetattr(0, termios.TCSANOW, early)
            age = f" as saved {words_of(time.time() - moment)} ago · connecting ".encode()
            self.drawn = True
            _write(ENTER + frame + b"\x1b[1;1H\x1b[0;7m" + age[:cols] + b"\x1b[0m")
        except (OSError, ValueError) as error:
            self.why = "none saved for this size" if isinstance(error, FileNotFoundError) else str(error)
            if self.drawn:
                self.undo()
            return False
        except BaseException:  # a ctrl-c in the middle
            self.undo()
            raise
        return True

    def undo(self) -> None:
        """Give the terminal back, if the program ends before Textual owns it."""
        if self.drawn:
            self.drawn = False
            try:
                _write(LEAVE)
            except OSError as error:
                self.why = str(error)
        self.restore()

    def restore(self) -> None:
        """Textual takes the settings it finds for the original ones; these are."""
        if self._settings is not None:
            import termios

            try:
                termios.tcsetattr(0, termios.TCSANOW, self._settings)  # type: ignore[arg-type]  # what tcgetattr gave
            except (OSError, termios.error) as error:
                self.why = str(error)

    def save(self, frame: str, size: "tuple[int, int]", moment: float) -> str:
        """Keep a frame (without its first line) for the next start; returns what went wrong, if anything."""
        path = self.path(*size)
        new = f"{path}.{os.getpid()}"
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write((MAGIC + self.context + "\n").encode("utf-8", "replace") + frame.encode("utf-8", "replace"))
            os.utime(new, (moment, moment))
            os.replace(new, path)
            if self._remember_in:
                self._remember()
        except OSError as error:
            return str(error)
        return ""


def words_of(seconds: float) -> str:
    """`12 s`, `5 min`, `3 h`, `2 d`."""
    s = max(0, int(seconds))
    return f"{s} s" if s < 120 else f"{s // 60} min" if s < 7200 else f"{s // 3600} h" if s < 172_800 else f"{s // 86_400} d"


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(2, data) :]


def start() -> Picture:
    """The picture for this very call of the program, drawn if there is one."""
    context = fingerprint(sys.argv[1:], os.environ)
    picture = Picture(folder_of(context, os.environ), context)
    picture.draw()
    return picture
