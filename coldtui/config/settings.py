"""What can be configured: one table of settings, and the typed values that come out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from coldtui.domain.values import dataclass

from ..domain.secret import Secret


@dataclass(frozen=True, slots=True)
class SiteSection:
    name: str = ""
    """What the site is called; empty: the context's name is shown."""


@dataclass(frozen=True, slots=True)
class KubeSection:
    kubeconfig: str = ""
    """Path, or several joined by colons; empty: ~/.kube/config, then the K3s file, then the pod's service account."""
    context: str = ""
    """Empty: the kubeconfig's current context."""
    namespace: str = ""
    """What namespaced listings show; empty: all."""


@dataclass(frozen=True, slots=True)
class PostgresSection:
    cluster: str = ""
    """`namespace/name` of the CloudNativePG cluster that is the site's database; empty: the only one, or the first."""
    user: str = "coldtui"
    """Who logs in to the servers; needs pg_monitor to see all, pg_maintain (17 and later) to vacuum."""
    database: str = "postgres"
    password_file: str = ""
    """Its first line is the password; empty: $PGPASSFILE or ~/.pgpass."""
    sslmode: str = "prefer"
    sslrootcert: str = ""
    instances: Mapping[str, str] = field(default_factory=dict)
    """`host:port` by name of the instance; those that are not here are reached at their pod's address."""


@dataclass(frozen=True, slots=True)
class VipSection:
    probe: str = ""
    """`host:port` at which the database's VIP is tried; empty: the address of its service, or $POSTGRES_PRIMARY_HOST."""


@dataclass(frozen=True, slots=True)
class SshSection:
    user: str = ""
    """Empty: the user that runs this program."""
    port: int = 22
    keys: tuple[str, ...] = ()
    """Paths of private keys; empty: the usual ones in ~/.ssh that are there."""
    known_hosts: tuple[str, ...] = ()
    """Empty: ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts. A key that is accepted goes into the first."""
    agent: bool = True


@dataclass(frozen=True, slots=True)
class NodeSection:
    ssh: str = ""
    """`[user@]host[:port]`."""


@dataclass(frozen=True, slots=True)
class LogSection:
    file: str = ""
    """Empty: coldtui.log in the state folder."""
    level: str = "info"
    max_bytes: int = 5_000_000
    backups: int = 3


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from."""

    source: str
    """`flag`, `environment`, `file` or `default`."""
    where: str = ""
    """The flag, the variable or the file."""

    def __str__(self) -> str:
        return f"{self.source} {self.where}".rstrip()


DEFAULT = Origin("default")


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration in force. Frozen; a face that changes a value makes a new one."""

    site: SiteSection = SiteSection()
    production: bool = False
    kube: KubeSection = KubeSection()
    postgres: PostgresSection = PostgresSection()
    vip: VipSection = VipSection()
    ssh: SshSection = SshSection()
    nodes: Mapping[str, NodeSection] = field(default_factory=dict)
    """What is set for single nodes, by name."""
    state_dir: str = ""
    """Empty: /var/lib/coldtui if it exists, else the XDG state folder."""
    journal: str = ""
    """Path of the journal; empty: journal.db in the state folder."""
    theme: str = ""
    keymap: Mapping[str, str] = field(default_factory=dict)
    """Binding id -> keys, comma between alternatives."""
    mouse: bool | None = None
    """None: on, but off over SSH."""
    read_only: bool = False
    """Nothing may be confirmed, and the console may not be armed. (It is not armed when it starts, whatever this says.)"""
    lease_namespace: str = "kube-system"
    """Where the Leases are that hold locks between machines."""
    log: LogSection = LogSection()

    file: str = ""
    """The configuration file that was read; empty: none."""
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """Setting key -> origin."""
    site_variables: Mapping[str, str | Secret] = field(default_factory=dict)
    """The site document's variables that are set."""
    notes: tuple[str, ...] = ()
    """What an operator may want to know: variables that mean nothing here."""

    def origin(self, key: str) -> Origin:
        return self.origins.get(key, DEFAULT)

    @property
    def vip_tried(self) -> str:
        """Where the database's VIP is tried; empty: at the address of its service."""
        named = self.site_variables.get("POSTGRES_PRIMARY_HOST")
        return self.vip.probe or (named if isinstance(named, str) else "")


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that can be set."""

    key: str
    """Dotted path in the file, and of the attribute in Config. The part NAME stands for any name: the value is then name -> value."""
    kind: type
    """str, bool, int, tuple (of texts) or dict (of texts)."""
    about: str
    variables: tuple[str, ...] = ()
    """Environment, the first that is set wins."""
    flag: str = ""
    choices: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None
    unset: str = ""
    """What holds while it is not set, where that is no single value."""
    path: bool = False
    """A path: `~` is the home folder; in a file it is relative to that file."""
    address: bool = False
    """`[user@]host[:port]`."""

    @property
    def each(self) -> bool:
        """Whether it is set by name."""
        return ANY in self.key.split(".")


ANY = "NAME"


SETTINGS: tuple[Setting, ...] = (
    Setting("site.name", str, "what the site is called", ("COLDTUI_SITE_NAME",)),
    Setting("production", bool, "a site where more must be confirmed", ("COLDTUI_PRODUCTION",)),
    Setting("kube.kubeconfig", str, "kubeconfig file", ("COLDTUI_KUBECONFIG", "KUBECONFIG"), "--kubeconfig", path=True),
    Setting("kube.context", str, "context in the kubeconfig", ("COLDTUI_CONTEXT",), "--context"),
    Setting("kube.namespace", str, "namespace that listings show; empty is all", ("COLDTUI_NAMESPACE",), "--namespace"),
    Setting("postgres.cluster", str, "namespace/name of the site's database", ("COLDTUI_POSTGRES_CLUSTER",)),
    Setting("postgres.user", str, "who logs in to the database servers", ("COLDTUI_POSTGRES_USER",)),
    Setting("postgres.database", str, "database that is connected to", ("COLDTUI_POSTGRES_DATABASE",)),
    Setting(
        "postgres.password_file",
        str,
        "file whose first line is the password",
        ("COLDTUI_POSTGRES_PASSWORD_FILE",),
        path=True,
        unset="$PGPASSFILE or ~/.pgpass",
    ),
    Setting(
        "postgres.sslmode",
        str,
        "TLS to the database servers",
        ("COLDTUI_POSTGRES_SSLMODE",),
        choices=("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    ),
    Setting("postgres.sslrootcert", str, "certificate of the authority behind them", ("COLDTUI_POSTGRES_SSLROOTCERT",), path=True),
    Setting("postgres.instances.NAME", str, "how one instance is reached: host:port", address=True, unset="its pod's address"),
    Setting(
        "vip.probe",
        str,
        "where the database's VIP is tried: host:port",
        ("COLDTUI_VIP_PROBE",),
        address=True,
        unset="its service's address",
    ),
    Setting("ssh.user", str, "user that logs in to the nodes", ("COLDTUI_SSH_USER",), unset="the user that runs coldtui"),
    Setting("ssh.port", int, "port of SSH on the nodes", ("COLDTUI_SSH_PORT",), least=1, most=65535),
    Setting("ssh.keys", tuple, "private keys", ("COLDTUI_SSH_KEYS",), path=True, unset="the usual ones in ~/.ssh"),
    Setting(
        "ssh.known_hosts",
        tuple,
        "files with the keys of the hosts",
        ("COLDTUI_SSH_KNOWN_HOSTS",),
        path=True,
        unset="~/.ssh/known_hosts, /etc/ssh/ssh_known_hosts",
    ),
    Setting("ssh.agent", bool, "whether the keys of an SSH agent are used", ("COLDTUI_SSH_AGENT",)),
    Setting("nodes.NAME.ssh", str, "how one node is reached over SSH: [user@]host[:port]", address=True),
    Setting("state_dir", str, "folder for the journal, the log and the saved World", ("COLDTUI_STATE",), path=True),
    Setting("journal", str, "journal of runs and audit", ("COLDTUI_JOURNAL",), "--journal", path=True),
    Setting("theme", str, "theme of the console", ("COLDTUI_THEME",), "--theme"),
    Setting("keymap", dict, "binding id: keys"),
    Setting("mouse", bool, "whether the console takes the mouse", ("COLDTUI_MOUSE",), "--mouse", unset="auto (off over SSH)"),
    Setting("read_only", bool, "nothing can be changed", ("COLDTUI_READ_ONLY",), "--read-only"),
    Setting("lease_namespace", str, "namespace of the leases that hold locks between machines", ("COLDTUI_LEASE_NAMESPACE",)),
    Setting("log.file", str, "log file", ("COLDTUI_LOG_FILE",), path=True),
    Setting("log.level", str, "least level that is logged", ("COLDTUI_LOG_LEVEL",), choices=("debug", "info", "warning", "error")),
    Setting("log.max_bytes", int, "size at which the log is rotated", ("COLDTUI_LOG_MAX_BYTES",), least=10_000),
    Setting("log.backups", int, "rotated logs that are kept", ("COLDTUI_LOG_BACKUPS",), least=0, most=50),
)
BY_KEY: dict[str, Setting] = {s.key: s for s in SETTINGS}

SITE_VARIABLES: dict[str, bool] = {
    "R2_ACCOUNT_ID": False,
    "R2_ACCESS_KEY_ID": True,
    "R2_SECRET_ACCESS_KEY": True,
    "R2_BUCKET_NAME": False,
    "POSTGRES_PRIMARY_HOST": False,
    "POSTGRES_BACKUP_HOST": False,
    "K3S_MASTER_IP": False,
    "K3S_TOKEN": True,
}
"""The variables that the site document sets, and whether each is a secret."""

OTHER_VARIABLES = frozenset({"COLDTUI_CONFIG", "COLDTUI_SECRETS_FD"})


def value_of(config: Config, key: str) -> Any:
    """The value of a setting by its dotted key; of one that is set by name: name -> value."""
    value: Any = config
    for place, part in enumerate(key.split(".")):
        if part == ANY:
            rest = key.split(".")[place + 1 :]
            return {name: getattr(section, rest[0]) if rest else section for name, section in value.items()}
        value = getattr(value, part)
    return value
