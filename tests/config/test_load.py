"""Flag over environment over file over default; mistakes are one line with the place and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from coldtui.config.load import load, origin_lines
from coldtui.config.settings import SETTINGS, Config, value_of
from coldtui.domain.errors import Misconfigured
from coldtui.domain.secret import Secret

FULL = """\
# a site
site:
  name: cold-site
production: true
kube:
  kubeconfig: kube/config
  context: cold
  namespace: production
postgres:
  cluster: databases/cold-postgres
ssh:
  user: deploy
  port: 2222
  keys:
    - keys/one
    - ~/.ssh/two
  known_hosts: known
  agent: false
nodes:
  k3s-worker-1:
    ssh: root@192.168.15.111:22
  worker.two:
    ssh: "[fe80::1]:2200"
state_dir: ~/state
journal: journal/site.db
theme: cold
keymap:
  table.down: ctrl+n
mouse: true
read_only: false
log:
  file: /var/log/coldtui.log
  level: debug
  max_bytes: 20000
  backups: 2
"""


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return str(path)


def test_nothing_at_all_is_the_defaults(tmp_path: Path) -> None:
    """Without file, flag and variable everything has its default and says so."""
    config = load({}, {"HOME": str(tmp_path)})
    assert (config.site.name, config.production, config.log.level, config.file) == ("", False, "info", "")
    assert str(config.origin("theme")) == "default"


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    """Every setting can be set in the file; paths are relative to it, ~ is the home folder."""
    config = load({}, {}, config_flag=written(tmp_path, FULL))
    assert config.site.name == "cold-site"
    assert config.production
    assert config.kube.kubeconfig == str(tmp_path / "kube/config")
    assert config.state_dir == str(Path("~/state").expanduser())
    assert config.journal == str(tmp_path / "journal/site.db")
    assert config.keymap == {"table.down": "ctrl+n"}
    assert (config.log.max_bytes, config.log.backups) == (20000, 2)
    assert {value_of(config, s.key) for s in SETTINGS if s.key.startswith("kube")} == {str(tmp_path / "kube/config"), "cold", "production"}


def test_ssh_and_nodes_are_read(tmp_path: Path) -> None:
    """Keys and known hosts are lists of paths relative to the file, one text counts as a list; each node has its address by its name."""
    path = written(tmp_path, FULL)
    config = load({}, {"HOME": str(tmp_path)}, config_flag=path)
    assert (config.ssh.user, config.ssh.port, config.ssh.agent) == ("deploy", 2222, False)
    assert config.ssh.keys == (str(tmp_path / "keys/one"), str(Path("~/.ssh/two").expanduser()))
    assert config.ssh.known_hosts == (str(tmp_path / "known"),)
    assert {name: section.ssh for name, section in config.nodes.items()} == {
        "k3s-worker-1": "root@192.168.15.111:22",
        "worker.two": "[fe80::1]:2200",
    }
    assert value_of(config, "nodes.NAME.ssh")["worker.two"] == "[fe80::1]:2200"
    assert str(config.origin("nodes.NAME.ssh")) == f"file {path}"


def test_ssh_from_the_environment() -> None:
    """Several keys stand in one variable, with colons between."""
    config = load({}, {"HOME": "/nonexistent", "COLDTUI_SSH_KEYS": "/k/one:/k/two", "COLDTUI_SSH_AGENT": "no", "COLDTUI_SSH_PORT": "2200"})
    assert (config.ssh.keys, config.ssh.agent, config.ssh.port) == (("/k/one", "/k/two"), False, 2200)


def test_flag_beats_environment_beats_file(tmp_path: Path) -> None:
    """Each layer wins over the one below, and each value knows its layer."""
    path = written(tmp_path, FULL)
    environ = {"COLDTUI_CONTEXT": "from-env", "COLDTUI_THEME": "ansi", "KUBECONFIG": "/k/one", "COLDTUI_MOUSE": "no"}
    config = load({"kube.context": "from-flag"}, environ, config_flag=path)
    assert (config.kube.context, str(config.origin("kube.context"))) == ("from-flag", "flag --context")
    assert (config.theme, str(config.origin("theme"))) == ("ansi", "environment COLDTUI_THEME")
    assert (config.kube.kubeconfig, str(config.origin("kube.kubeconfig"))) == ("/k/one", "environment KUBECONFIG")
    assert config.mouse is False
    assert (config.site.name, str(config.origin("site.name"))) == ("cold-site", f"file {path}")


def test_the_own_variable_beats_the_general_one() -> None:
    """COLDTUI_KUBECONFIG is meant for this program and wins over KUBECONFIG."""
    config = load({}, {"COLDTUI_KUBECONFIG": "/a", "KUBECONFIG": "/b", "HOME": "/nonexistent"})
    assert config.kube.kubeconfig == "/a"


def test_settings_know_the_line(tmp_path: Path) -> None:
    """`coldtui settings` shows file and line of a value from the file."""
    path = written(tmp_path, FULL)
    lines = origin_lines(load({}, {}, config_flag=path))
    assert str(lines["kube.context"]) == f"file {path}:7"
    assert str(lines["production"]) == f"file {path}:4"


def test_the_file_is_found_in_its_places(tmp_path: Path) -> None:
    """$COLDTUI_CONFIG, then the user's folder; an empty file is no mistake."""
    home = tmp_path / "home/.config/coldtui"
    home.mkdir(parents=True)
    (home / "config.yaml").write_text("theme: mine\n")
    other = written(tmp_path, "")
    assert load({}, {"HOME": str(tmp_path / "home")}).theme == "mine"
    assert load({}, {"HOME": str(tmp_path / "home"), "COLDTUI_CONFIG": other}).theme == ""


def test_the_site_documents_variables_are_kept_and_secrets_hidden() -> None:
    """R2, POSTGRES_ and K3S_ variables are accepted; secrets are bullets in every form."""
    environ = {
        "HOME": "/nonexistent",
        "R2_SECRET_ACCESS_KEY": "hush-hush",
        "K3S_MASTER_IP": "192.168.15.110",
        "K3S_TOKEN": "K10abc::server:x",
    }
    config = load({}, environ)
    assert config.site_variables["K3S_MASTER_IP"] == "192.168.15.110"
    assert config.site_variables["R2_SECRET_ACCESS_KEY"] == Secret("hush-hush")
    assert "hush" not in repr(config)
    assert "K10abc" not in repr(config)


def test_a_mistyped_variable_is_noted() -> None:
    """A COLDTUI_ variable that means nothing is not silently ignored."""
    config = load({}, {"HOME": "/nonexistent", "COLDTUI_THEM": "x"})
    assert config.notes == ("COLDTUI_THEM means nothing here, did you mean COLDTUI_THEME?",)


BAD = [
    ("thme: x\n", "unknown key thme", ":1", "did you mean theme?"),
    ("\nkube:\n  contxt: a\n", "unknown key kube.contxt", ":3", "did you mean kube.context?"),
    ("zebra: {}\n", "unknown key zebra", ":1", "known here"),
    ("nodes:\n  a: {shs: b}\n", "unknown key nodes.a.shs", ":2", "did you mean nodes.a.ssh?"),
    ("nodes:\n  a: b\n", "nodes.a must hold keys", ":2", "such as ssh"),
    ("nodes:\n  a:\n    ssh: 'a b'\n", "nodes.a.ssh is 'a b'", ":3", "[user@]host[:port]"),
    ("nodes:\n  a:\n    ssh: h:99999\n", "nodes.a.ssh is 'h:99999'", ":3", "between 1 and 65535"),
    ("nodes:\n  a:\n    ssh: 22\n", "nodes.a.ssh must be text, not a whole number", ":3", "quotes"),
    ("ssh:\n  port: 0\n", "ssh.port is 0, less than 1", ":2", "at least 1"),
    ("ssh:\n  keys: [1]\n", "ssh.keys must be a list of texts", ":2", "- "),
    ("ssh:\n  key: a\n", "unknown key ssh.key", ":2", "did you mean ssh.keys?"),
    ("context: a\n", "unknown key context", ":1", "did you mean kube.context?"),
    ("production: 'yes'\n", "production must be true or false, not text", ":1", "without quotes"),
    ("site:\n  name: 12\n", "site.name must be text, not a whole number", ":2", "put it in quotes"),
    ("log:\n  max_bytes: many\n", "log.max_bytes must be a whole number, not text", ":2", "digits"),
    ("log:\n  max_bytes: true\n", "log.max_bytes must be a whole number, not true or false", ":2", "digits"),
    ("log:\n  max_bytes: 5\n", "log.max_bytes is 5, less than 10000", ":2", "at least 10000"),
    ("log:\n  level: inf\n", "log.level cannot be 'inf'", ":2", "did you mean info?"),
    ("kube: cold\n", "kube must hold keys", ":1", "kubeconfig"),
    ("keymap: [a]\n", "keymap must be keys and texts, not a list", ":1", "binding.id"),
    ("keymap:\n  a: 1\n", "keymap.a must be text", ":2", "quotes"),
    ("- a\n- b\n", "configuration must be keys and values", ":1", "site:"),
    ("site:\n  name: [a\n", "configuration is not valid YAML", ":3", "mend"),
    ("a: b: c\n", "configuration is not valid YAML", ":1", "mend"),
    ("theme: !!python/object/apply:os.system ['true']\n", "configuration is not valid YAML", ":1", "mend"),
    ("\tx: 1\n", "configuration is not valid YAML", ":1", "mend"),
]


@pytest.mark.parametrize(("text", "title", "line", "remedy"), BAD)
def test_a_mistake_in_the_file_is_one_line(tmp_path: Path, text: str, title: str, line: str, remedy: str) -> None:
    """What is wrong, in which file and line, and what to do: one printable line, exit code 2."""
    path = written(tmp_path, text)
    with pytest.raises(Misconfigured) as caught:
        load({}, {}, config_flag=path)
    said = str(caught.value)
    assert said.startswith(title)
    assert f"{path}{line}" in said
    assert remedy in said
    assert said.isprintable()
    assert caught.value.exit == 2


def test_a_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    """Missing, a folder, not text: each with its remedy."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for path, words in ((tmp_path / "none", "does not exist"), (tmp_path, "cannot be read"), (tmp_path / "binary", "is not UTF-8")):
        with pytest.raises(Misconfigured, match=words):
            load({}, {}, config_flag=str(path))


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"COLDTUI_MOUSE": "maybe"}, "COLDTUI_MOUSE must be true or false"),
        ({"COLDTUI_LOG_BACKUPS": "-1"}, "COLDTUI_LOG_BACKUPS must be a whole number"),
        ({"COLDTUI_LOG_BACKUPS": "51"}, "COLDTUI_LOG_BACKUPS is 51, more than 50"),
        ({"COLDTUI_LOG_LEVEL": "loud"}, "COLDTUI_LOG_LEVEL cannot be 'loud'"),
        ({"COLDTUI_CONFIG": "/nonexistent/c.yaml"}, "configuration file does not exist"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(environ: dict[str, str], words: str) -> None:
    """The variable is named, so that it can be found."""
    with pytest.raises(Misconfigured, match=words):
        load({}, {"HOME": "/nonexistent", **environ})


def test_a_key_without_a_value_means_the_default(tmp_path: Path) -> None:
    """`theme:` with nothing behind it is not a mistake."""
    config: Config = load({}, {}, config_flag=written(tmp_path, "theme:\nkube:\nlog:\n  level:\n"))
    assert (config.theme, config.log.level) == ("", "info")


def test_instances_of_the_database_are_set_by_name(tmp_path: Path) -> None:
    """Each instance may have an address of its own, and the setting tells them by name."""
    path = tmp_path / "c.yaml"
    path.write_text("postgres:\n  instances:\n    pg-1: 127.0.0.1:5433\n    pg-2: 127.0.0.1:5434\nvip:\n  probe: 127.0.0.1:6000\n")
    config = load({}, {}, config_flag=str(path))
    assert value_of(config, "postgres.instances.NAME") == {"pg-1": "127.0.0.1:5433", "pg-2": "127.0.0.1:5434"}
    assert config.vip.probe == "127.0.0.1:6000"
