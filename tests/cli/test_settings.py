"""`coldtui settings`."""

from __future__ import annotations

from tests.cli.means import Cli


def test_each_value_tells_where_it_came_from(cli: Cli) -> None:
    """Flag, environment, file with line, default; in the table and as JSON."""
    config = cli.folder / "config.yaml"
    config.write_text("site:\n  name: cold-site\ntheme: cold\n")
    cli.environ["COLDTUI_THEME"] = "ansi"
    found = cli("--config", str(config), "--context", "x", "settings", "--json").json
    assert found["config"] == {"value": str(config), "origin": "flag --config"}
    assert found["site.name"] == {"value": "cold-site", "origin": f"file {config}:2"}
    assert found["theme"] == {"value": "ansi", "origin": "environment COLDTUI_THEME"}
    assert found["kube.context"] == {"value": "x", "origin": "flag --context"}
    assert found["log.level"] == {"value": "info", "origin": "default"}
    assert found["state_dir"]["value"] == str(cli.folder / "state")
    assert found["journal"] == {"value": str(cli.folder / "state/journal.db"), "origin": "default"}
    rows = cli("--config", str(config), "settings").rows
    assert ["theme", "ansi", "environment COLDTUI_THEME"] in rows


def test_secrets_are_bullets_and_odd_variables_are_said(cli: Cli) -> None:
    """No secret is printed; a variable that means nothing is named on stderr."""
    cli.environ |= {"K3S_TOKEN": "K10secret", "R2_SECRET_ACCESS_KEY": "hush", "COLDTUI_NAMSPACE": "x", "R2_BUCKET_NAME": "cold-backups"}
    found = cli("settings")
    assert "K10secret" not in found.out
    assert "hush" not in found.out
    assert ["K3S_TOKEN", "•••", "environment K3S_TOKEN"] in found.rows
    assert ["R2_BUCKET_NAME", "cold-backups", "environment R2_BUCKET_NAME"] in found.rows
    assert "COLDTUI_NAMSPACE means nothing here, did you mean COLDTUI_NAMESPACE?" in found.err


def test_settings_reach_nothing_and_write_nothing(cli: Cli) -> None:
    """Looking at the settings makes no state folder and no log."""
    assert cli("settings").code == 0
    assert not (cli.folder / "state").exists()


def test_what_is_shown_is_what_holds(cli: Cli) -> None:
    """The mouse is decided by the connection until it is set; read_only is off until it is set, and the flag beats the variable."""
    rows = {row[0]: row[1:] for row in cli("settings").rows}
    assert rows["mouse"] == ["auto (off over SSH)", "default"]
    assert rows["read_only"] == ["false", "default"]
    cli.environ |= {"COLDTUI_MOUSE": "false", "COLDTUI_READ_ONLY": "false"}
    rows = {row[0]: row[1:] for row in cli("settings").rows}
    assert rows["mouse"] == ["false", "environment COLDTUI_MOUSE"]
    assert rows["read_only"] == ["false", "environment COLDTUI_READ_ONLY"]
    assert cli("--read-only", "settings", "--json").json["read_only"] == {"value": True, "origin": "flag --read-only"}
