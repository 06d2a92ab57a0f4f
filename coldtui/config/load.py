"""Flag over environment over file over default, and for each value where it came from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..domain.errors import Misconfigured
from ..domain.secret import Secret
from ..domain.text import one_of, plain
from .files import find, out_of_range, read, resolve_path
from .settings import (
    ANY,
    DEFAULT,
    OTHER_VARIABLES,
    SETTINGS,
    SITE_VARIABLES,
    Config,
    KubeSection,
    LogSection,
    NodeSection,
    Origin,
    PostgresSection,
    Setting,
    SiteSection,
    SshSection,
    VipSection,
)

_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})


def load(flags: Mapping[str, Any], environ: Mapping[str, str], *, config_flag: str | None = None) -> Config:
    """The configuration in force. `flags`: setting key -> value given on the command line.

    Raises Misconfigured with one line that names the place and the remedy.
    """
    path = find(config_flag, environ)
    from_file = read(path) if path else {}
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for setting in SETTINGS:
        found = _value(setting, flags, environ, from_file, path)
        if found is not None:
            values[setting.key], origins[setting.key] = found
    config = _build(values)
    secrets: dict[str, str | Secret] = {}
    for name, secret in SITE_VARIABLES.items():
        if environ.get(name):
            secrets[name] = Secret(environ[name]) if secret else plain(environ[name])
    return replace(config, file=path, origins=origins, site_variables=secrets, notes=_notes(environ))


def _value(
    setting: Setting, flags: Mapping[str, Any], environ: Mapping[str, str], from_file: Mapping[str, Any], path: str
) -> tuple[Any, Origin] | None:
    if flags.get(setting.key) is not None:
        value = flags[setting.key]
        _fits(setting, value, setting.flag)
        return _as_path(setting, value), Origin("flag", setting.flag)
    for variable in setting.variables:
        text = environ.get(variable)
        if text:  # set but empty means not set, as KUBECONFIG= does
            return _as_path(setting, _from_text(setting, text, variable)), Origin("environment", variable)
    if setting.key in from_file:
        return from_file[setting.key], Origin("file", path)
    return None


def _as_path(setting: Setting, value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(resolve_path(part, os.getcwd()) for part in value) if setting.path else value
    return resolve_path(value, os.getcwd()) if setting.path and value else value


def _from_text(setting: Setting, text: str, variable: str) -> Any:
    value: Any = text
    if setting.kind is bool:
        word = text.strip().lower()
        if word not in _TRUE | _FALSE:
            raise Misconfigured(
                f"{variable} must be true or false", detail=f"it is {plain(text)!r}", hint=f"set {variable}=true, or unset it"
            )
        value = word in _TRUE
    elif setting.kind is int:
        if not text.strip().isascii() or not text.strip().isdigit():
            raise Misconfigured(f"{variable} must be a whole number", detail=f"it is {plain(text)!r}", hint=f"mend or unset {variable}")
        value = int(text)
    elif setting.kind is tuple:
        value = tuple(part for part in text.split(os.pathsep) if part)
    _fits(setting, value, variable)
    return value


def _fits(setting: Setting, value: Any, given_by: str) -> None:
    problem = out_of_range(setting, value)
    if problem:
        raise Misconfigured(f"{given_by or setting.key} {problem[0]}", detail="", hint=problem[1])


def _build(values: Mapping[str, Any]) -> Config:
    def section(name: str) -> dict[str, Any]:
        return {key.partition(".")[2].removesuffix(f".{ANY}"): value for key, value in values.items() if key.startswith(name + ".")}

    return Config(
        site=SiteSection(**section("site")),
        kube=KubeSection(**section("kube")),
        postgres=PostgresSection(**section("postgres")),
        vip=VipSection(**section("vip")),
        ssh=SshSection(**section("ssh")),
        nodes={name: NodeSection(ssh) for name, ssh in values.get("nodes.NAME.ssh", {}).items()},
        log=LogSection(**section("log")),
        **{key: value for key, value in values.items() if "." not in key},
    )


def _notes(environ: Mapping[str, str]) -> tuple[str, ...]:
    known = {v for s in SETTINGS for v in s.variables} | OTHER_VARIABLES
    notes = []
    for name in sorted(environ):
        if name.startswith("COLDTUI_") and name not in known:
            near = one_of(sorted(known), name)
            notes.append(f"{plain(name)} means nothing here" + (f", did you mean {near}?" if near else ""))
    return tuple(notes)


def origin_lines(config: Config) -> dict[str, Origin]:
    """The origins with the line of each value that came from the file. Reads the file again: for `coldtui settings` only."""
    from .files import line_of

    lines: dict[str, Origin] = {}
    try:
        with open(config.file, encoding="utf-8") as file:
            text = file.read(1_000_000)
    except OSError:
        text = ""
    for setting in SETTINGS:
        origin = config.origins.get(setting.key, DEFAULT)
        if origin.source == "file" and text and (line := line_of(text, tuple(setting.key.split(".")))):
            origin = Origin("file", f"{config.file}:{line}")
        lines[setting.key] = origin
    return lines
