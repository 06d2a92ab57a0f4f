"""The keys of the structured log, all of them: what is not here cannot be logged under a name of its own."""

from __future__ import annotations

from enum import StrEnum


class Key(StrEnum):
    """Name of a field in a line of the log."""

    TIME = "time"
    LEVEL = "level"
    LOGGER = "logger"
    EVENT = "event"
    PID = "pid"

    SITE = "site"
    CONTEXT = "context"
    SERVER = "server"
    CLUSTER = "cluster_uid"
    VERSION = "version"
    CONFIG = "config"
    STATE_DIR = "state_dir"
    COMMAND = "command"
    EXIT = "exit"

    SOURCE = "source"
    KIND = "kind"
    NAMESPACE = "namespace"
    NAME = "name"
    NODE = "node"
    VERB = "verb"
    PATH = "path"
    HTTP_STATUS = "http_status"
    RESOURCE_VERSION = "resource_version"
    ITEMS = "items"
    SKIPPED = "skipped"
    ATTEMPT = "attempt"
    DELAY_S = "delay_s"
    TOOK_S = "took_s"
    AGE_S = "age_s"

    TROUBLE = "trouble"
    WORDS = "words"
    HINT = "hint"
    ERROR = "error"
    DETAIL = "detail"
    TRACEBACK = "traceback"

    SCREEN = "screen"
    KEYPRESS = "key"
    RUN = "run"
    OPERATION = "operation"
    BYTES = "bytes"
    TERMINAL = "terminal"
