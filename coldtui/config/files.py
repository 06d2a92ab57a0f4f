"""The configuration file: found, read, and every mistake told with its line and the remedy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..domain.errors import Misconfigured
from ..domain.hosts import host_address
from ..domain.text import one_of, plain
from .settings import ANY, BY_KEY, SETTINGS, Setting

SYSTEM_FILE = "/etc/coldtui/config.yaml"


def user_file(environ: Mapping[str, str]) -> str:
    home = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".config")
    return os.path.join(home, "coldtui", "config.yaml")


def find(flag: str | None, environ: Mapping[str, str]) -> str:
    """The file in force, or empty when there is none. A file that was asked for by name must exist."""
    asked = flag or environ.get("COLDTUI_CONFIG", "")
    if asked:
        path = os.path.abspath(os.path.expanduser(asked))
        if not os.path.exists(path):
            named = "--config" if flag else "COLDTUI_CONFIG"
            raise Misconfigured("configuration file does not exist", detail=plain(path), hint=f"mend {named} or leave it out")
        return path
    for path in (user_file(environ), SYSTEM_FILE):
        if os.path.exists(path):
            return path
    return ""


def read(path: str) -> dict[str, Any]:
    """Setting key -> value, checked. Raises Misconfigured: one line with file, line and remedy."""
    text = _text(path)
    if not text.strip():
        return {}
    import yaml  # only where there is a file

    try:
        document = yaml.load(text, Loader=_loader())
    except yaml.YAMLError as error:
        raise _broken(path, error) from None
    except (ValueError, RecursionError, TypeError) as error:
        raise Misconfigured(
            "configuration file cannot be understood", detail=f"{plain(path)}: {plain(str(error))}", hint="mend the file"
        ) from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise Misconfigured("configuration must be keys and values", detail=f"{plain(path)}:1", hint="begin with e.g. `site:`")
    values: dict[str, Any] = {}
    _walk(document, (), values, path, text)
    return values


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(1_000_000)
    except UnicodeDecodeError:
        raise Misconfigured("configuration file is not UTF-8 text", detail=plain(path), hint="save it as UTF-8") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Misconfigured(
            "configuration file cannot be read", detail=f"{plain(path)}: {reason}", hint="mend its permissions or --config"
        ) from None


def _loader() -> Any:
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _broken(path: str, error: Exception) -> Misconfigured:
    mark = getattr(error, "problem_mark", None)
    where = f"{plain(path)}:{mark.line + 1}" if mark is not None else plain(path)
    problem = plain(str(getattr(error, "problem", None) or error).split("\n")[0])
    return Misconfigured("configuration is not valid YAML", detail=where, hint=f"{problem}: mend the indentation or quoting there")


def _walk(document: dict[Any, Any], at: tuple[str, ...], values: dict[str, Any], path: str, text: str, known: tuple[str, ...] = ()) -> None:
    """`at`: the keys down to here as written; `known`: the same as the table of settings has them."""
    for name, value in document.items():
        here = (*at, str(name))
        named = (*known, ANY)
        spelled = named if _inside(named) or ".".join(named) in BY_KEY else (*known, str(name))
        key, shown = ".".join(spelled), plain(".".join(here))
        setting = BY_KEY.get(key)
        if setting is not None:
            if value is not None:  # `theme:` with nothing behind it means the default
                checked = _checked(setting, value, path, text, here)
                if setting.each:
                    values.setdefault(key, {})[here[spelled.index(ANY)]] = checked
                else:
                    values[key] = checked
        elif inside := _inside(spelled):
            if value is None:
                continue
            if not isinstance(value, dict):
                raise Misconfigured(f"{shown} must hold keys", detail=_where(path, text, here), hint=f"such as {', '.join(inside)}")
            _walk(value, here, values, path, text, spelled)
        else:
            raise _unknown(shown, known, path, text, here)


def _inside(known: tuple[str, ...]) -> list[str]:
    """What of the table stands below these keys."""
    prefix = ".".join(known) + "."
    return [s.key.removeprefix(prefix) for s in SETTINGS if s.key.startswith(prefix)]


def _unknown(key: str, known: tuple[str, ...], path: str, text: str, here: tuple[str, ...]) -> Misconfigured:
    at, below = here[:-1], ".".join(known) + "." if known else ""
    siblings = sorted({s.key.removeprefix(below).split(".")[0] for s in SETTINGS if s.key.startswith(below)})
    near = one_of(siblings, here[-1])
    if near:
        hint = f"did you mean {'.'.join((*at, near))}?"
    else:
        whole = one_of([s.key for s in SETTINGS if not s.each], key)
        hint = f"did you mean {whole}?" if whole else f"known here: {', '.join(siblings)}"
    return Misconfigured(f"unknown key {key}", detail=_where(path, text, here), hint=hint)


def _where(path: str, text: str, at: tuple[str, ...]) -> str:
    """`file:line` of a key. The document is composed anew with its marks: only on the way to an error message."""
    line = line_of(text, at)
    return f"{plain(path)}:{line}" if line else plain(path)


def line_of(text: str, at: tuple[str, ...]) -> int | None:
    """Line of a key, counted from 1."""
    import yaml

    node = yaml.compose(text, Loader=_loader())
    line = None
    for name in at:
        if not isinstance(node, yaml.MappingNode):
            return line
        pair = next(((k, v) for k, v in node.value if str(k.value) == name), None)
        if pair is None:
            return line
        line, node = pair[0].start_mark.line + 1, pair[1]
    return line


_NAMES: dict[type, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    dict: "keys and texts",
    float: "a number",
    list: "a list",
    tuple: "a list of texts",
}


def _checked(setting: Setting, value: Any, path: str, text: str, at: tuple[str, ...]) -> Any:
    def wrong(hint: str) -> Misconfigured:
        is_ = _NAMES.get(type(value), type(value).__name__)
        return Misconfigured(f"{plain('.'.join(at))} must be {_NAMES[setting.kind]}, not {is_}", detail=_where(path, text, at), hint=hint)

    if setting.kind is dict:
        if not isinstance(value, dict):
            raise wrong("write `binding.id: key` lines under it")
        for name, keys in value.items():
            if not isinstance(keys, str):
                raise Misconfigured(
                    f"{setting.key}.{plain(str(name))} must be text",
                    detail=_where(path, text, (*at, str(name))),
                    hint="put the key in quotes",
                )
        return {str(name): str(keys) for name, keys in value.items()}
    if setting.kind is tuple:
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(t, str) and t for t in texts):
            raise wrong("write one text a line, each behind `- `")
        return tuple(resolve_path(t, os.path.dirname(path)) if setting.path else t for t in texts)
    if setting.kind is int and (not isinstance(value, int) or isinstance(value, bool)):
        raise wrong("write digits only")
    if setting.kind is bool and not isinstance(value, bool):
        raise wrong("write true or false without quotes")
    if setting.kind is str and not isinstance(value, str):
        raise wrong("put it in quotes" if isinstance(value, int | float | bool) else "write one text")
    problem = out_of_range(setting, value)
    if problem:
        raise Misconfigured(f"{plain('.'.join(at))} {problem[0]}", detail=_where(path, text, at), hint=problem[1])
    if setting.path and value:
        return resolve_path(value, os.path.dirname(path))
    return value


def out_of_range(setting: Setting, value: Any) -> tuple[str, str] | None:
    """(what is wrong, remedy) when a value of the right type is not allowed."""
    if setting.choices and value not in setting.choices:
        near = one_of(setting.choices, str(value))
        offer = f"did you mean {near}?" if near else f"one of {', '.join(setting.choices)}"
        return f"cannot be {plain(str(value))!r}", offer
    if setting.least is not None and value < setting.least:
        return f"is {value}, less than {setting.least}", f"at least {setting.least}"
    if setting.most is not None and value > setting.most:
        return f"is {value}, more than {setting.most}", f"at most {setting.most}"
    if setting.address and value:
        try:
            host_address(value)
        except ValueError as error:
            return f"is {plain(value)!r}", f"{error}, such as root@192.168.15.111:22"
    if isinstance(value, str) and "\0" in value:
        return "holds a NUL character", "remove it"
    return None


def resolve_path(value: str, base: str) -> str:
    """`~` expanded, relative to `base`; each part of a colon list."""
    parts = [os.path.join(base, os.path.expanduser(part)) for part in value.split(os.pathsep) if part]
    return os.pathsep.join(parts)
