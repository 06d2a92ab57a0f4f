"""`coldtui logs POD`: a container's log on stdout, as it is or as it comes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ..domain.errors import ColdError, Exit, NotFound, UsageError
from ..domain.kinds import PODS
from ..domain.text import one_of, plain
from . import out

if TYPE_CHECKING:
    from ..ports import Kube, LogLine
    from .run import Call

_SPAN = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
LIST_S = 5.0


def span_seconds(text: str) -> int:
    """Seconds in `90s`, `5m`, `1h30m`, `2d`. Raises UsageError."""
    found = _SPAN.fullmatch(text)
    if not text or found is None or not any(found.groups()):
        raise UsageError(f"--since cannot be {plain(text)!r}", hint="write 30s, 5m, 1h30m or 2d")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return max(1, int(timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()))


def run(call: Call) -> Exit:
    since = call.parsed.flags.get("since")
    since_s = None if since is None else span_seconds(since)
    try:
        return asyncio.run(_logs(call, since_s))
    except KeyboardInterrupt:
        return Exit.DONE if call.parsed.flags.get("follow") else Exit.CANCELLED


async def _logs(call: Call, since_s: int | None) -> Exit:
    from ..ports import LogRequest
    from ..wiring import reach

    site = call.site()
    kube = await reach(site)
    flags = call.parsed.flags
    try:
        namespace, pod = await _find(kube, call)
        container = await _container(kube, namespace, pod, flags.get("container"))
        request = LogRequest(
            namespace,
            pod,
            container,
            follow=bool(flags.get("follow")),
            previous=bool(flags.get("previous")),
            tail=flags.get("tail"),
            since_s=since_s,
            timestamps=True,
        )
        async for batch in kube.logs(request, told=_interrupted if request.follow else None):
            _write(batch, timestamps=bool(flags.get("timestamps")))
        return Exit.DONE
    finally:
        await kube.aclose()


def _interrupted(words: str) -> None:
    """From the thread that reads."""
    out.say(out.clean(words))


def _write(batch: tuple[LogLine, ...], *, timestamps: bool) -> None:
    lines = []
    for line in batch:
        at = line.at.isoformat(timespec="microseconds").replace("+00:00", "Z") + " " if timestamps and line.at is not None else ""
        lines.append(at + line.text)
    if lines:
        out.data("\n".join(lines))


async def _find(kube: Kube, call: Call) -> tuple[str, str]:
    """(namespace, name). Without a namespace the pod is looked for in all of them, as the listing shows them all."""
    word = call.parsed.words[0].removeprefix("pod/").removeprefix("pods/")
    namespace, slash, name = word.partition("/")
    if slash:
        return namespace, name
    if call.config.kube.namespace:
        return call.config.kube.namespace, word
    found = await asyncio.wait_for(asyncio.to_thread(_all_pods, kube), LIST_S)
    matches = sorted(key for key in found if key.partition("/")[2] == word)
    if len(matches) == 1:
        return matches[0].partition("/")[0], word
    if matches:
        raise UsageError(f"there are {len(matches)} pods {plain(word)}", hint=f"write one of {', '.join(matches[:4])}")
    near = one_of(tuple(key.partition("/")[2] for key in found), word)
    raise NotFound(f"no pod {plain(word)}", hint=f"did you mean {near}?" if near else "see coldtui pods")


def _all_pods(kube: Kube) -> list[str]:
    return [pod.key for page in kube.streams.pages(PODS, version=None, deadline_s=LIST_S) for pod in page.items]


async def _container(kube: Kube, namespace: str, pod: str, asked: str | None) -> str:
    """The container's name; the first one (or the pod's default) when none was asked for, and a word about it."""
    try:
        whole = await kube.fetch(PODS, pod, namespace)
    except NotFound:
        raise NotFound(f"no pod {plain(pod)} in namespace {plain(namespace)}", hint="see coldtui pods") from None
    except ColdError:
        if asked:
            return asked  # a log may be permitted where the pod is not
        raise
    spec: Mapping[str, Any] = whole.get("spec") or {}
    names = [str(c.get("name")) for c in spec.get("containers") or ()]
    every = [*names, *(str(c.get("name")) for c in spec.get("initContainers") or ())]
    if asked:
        if every and asked not in every:
            near = one_of(tuple(every), asked)
            raise UsageError(
                f"pod {plain(pod)} has no container {plain(asked)!r}",
                hint=f"did you mean {near}?" if near else f"it has {', '.join(every)}",
            )
        return asked
    if not names:
        return ""
    annotations = (whole.get("metadata") or {}).get("annotations") or {}
    first = str(annotations.get("kubectl.kubernetes.io/default-container") or names[0])
    if len(names) > 1:
        out.say(out.clean(f"container {first} of {', '.join(names)}; choose with -c"))
    return first
