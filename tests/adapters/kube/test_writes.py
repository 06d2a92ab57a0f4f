"""Acts, byte by byte: what is sent, how often, and what each answer means."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from coldtui.adapters.kube.adapter import KubeAdapter, SystemClock
from coldtui.adapters.kube.credentials import Access, Fixed
from coldtui.adapters.kube.leases import micro_time
from coldtui.adapters.kube.writes import warning_texts
from coldtui.domain.errors import (
    BudgetRefused,
    ColdError,
    Conflict,
    EvictionImpossible,
    Forbidden,
    Invalid,
    NamespaceEnds,
    NotFound,
    NotInstalled,
    Throttled,
    Unauthorized,
    Unreachable,
)
from coldtui.domain.kinds import NODES, PG_CLUSTERS, PODS
from coldtui.domain.troubles import LineTrouble
from coldtui.ports import HeldLease, Kube, PatchForm
from tests.adapters.kube import shapes
from tests.adapters.kube.scripted import Answer, Scripted, body, refuse, silent
from tests.adapters.kube.shapes import NOW, listing

T = TypeVar("T")
UNKNOWN = "whether it was done is not known"
Act = Callable[[Kube], Coroutine[Any, Any, Any]]


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, 20))


def kube(server: Scripted, **more: Any) -> KubeAdapter:
    return KubeAdapter(Access(server.url, None, more.pop("auth", Fixed())), clock=SystemClock(), writable=True, **more)


def evict(port: Kube) -> Coroutine[Any, Any, None]:
    return port.evict("web", "p", uid="u-1", grace_s=7, deadline_s=1)


def patch(port: Kube) -> Coroutine[Any, Any, Any]:
    return port.patch(NODES, "n", {"spec": {"unschedulable": True}}, form=PatchForm.STRATEGIC, deadline_s=1)


def create(port: Kube) -> Coroutine[Any, Any, Any]:
    return port.create(PODS, {"metadata": {"name": "p"}}, "web", deadline_s=1)


def delete(port: Kube) -> Coroutine[Any, Any, None]:
    return port.delete(PODS, "p", "web", uid="u-1", deadline_s=1)


def put_lease(port: Kube) -> Coroutine[Any, Any, HeldLease]:
    return port.put_lease(HeldLease("kube-system", "coldtui-site", "me", "17", NOW, 30, 3), acquired=True, deadline_s=1)


ACTS: dict[str, Act] = {"evict": evict, "patch": patch, "create": create, "delete": delete, "put_lease": put_lease}


# --- what is sent


def test_an_eviction_as_it_is_sent() -> None:
    """policy/v1, grace and uid in the delete options, our name as field manager; dry, it says so in query and body."""
    with Scripted(body({}, 201), body({}, 201)) as server:
        adapter = kube(server)
        run(evict(adapter))
        run(adapter.evict("a b", "p/q", dry_run=True))
        first, second = server.requests
    assert (first.method, first.path, first.query) == ("POST", "/api/v1/namespaces/web/pods/p/eviction", {"fieldManager": "coldtui"})
    assert json.loads(first.body) == {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": "p", "namespace": "web"},
        "deleteOptions": {"gracePeriodSeconds": 7, "preconditions": {"uid": "u-1"}},
    }
    assert second.path == "/api/v1/namespaces/a%20b/pods/p%2Fq/eviction"
    assert second.query["dryRun"] == "All"
    assert json.loads(second.body)["deleteOptions"] == {"dryRun": ["All"]}


@pytest.mark.parametrize("form", PatchForm)
def test_a_patch_as_it_is_sent(form: PatchForm) -> None:
    """Its form is the content type, a subresource is part of the path."""
    with Scripted(body({"metadata": {"name": "n"}})) as server:
        run(kube(server).patch(NODES, "n", [{"op": "test"}], form=form, subresource="status", dry_run=True))
        (sent,) = server.requests
    assert (sent.method, sent.path, sent.headers["content-type"]) == ("PATCH", "/api/v1/nodes/n/status", form.value)
    assert sent.query == {"fieldManager": "coldtui", "dryRun": "All"}
    assert json.loads(sent.body) == [{"op": "test"}]


def test_a_deletion_as_it_is_sent() -> None:
    """Its options stand in the body, where the server looks; a dry run in the query too."""
    with Scripted(body({}), body({})) as server:
        adapter = kube(server)
        run(delete(adapter))
        run(adapter.delete(NODES, "n", grace_s=0, dry_run=True))
        first, second = server.requests
    assert (first.method, first.path, first.query) == ("DELETE", "/api/v1/namespaces/web/pods/p", {})
    assert json.loads(first.body) == {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": "u-1"}}
    assert (second.path, second.query) == ("/api/v1/nodes/n", {"dryRun": "All"})
    assert json.loads(second.body) == {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "dryRun": ["All"]}


def test_a_lease_as_it_is_sent() -> None:
    """Times have six digits of a second; taking a lease over counts a transition, and the version that was read stands as a guard."""
    held = {"metadata": {"name": "coldtui-site", "namespace": "kube-system", "resourceVersion": "18"}, "spec": {"holderIdentity": "me\x1b"}}
    with Scripted(body(held)) as server:
        told = run(put_lease(kube(server)))
        (sent,) = server.requests
    assert told == HeldLease("kube-system", "coldtui-site", "me\ufffd", "18", None, 0, 0)
    spec = json.loads(sent.body)["spec"]
    assert (sent.method, json.loads(sent.body)["metadata"]) == ("PATCH", {"resourceVersion": "17"})
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("me", 30, 4)
    assert spec["acquireTime"] == spec["renewTime"]
    assert micro_time(NOW) == "2026-03-01T12:00:00.000000Z"


def test_what_comes_back_is_made_plain() -> None:
    """The object after a patch is as `fetch` gives it: no managedFields, nothing that moves a cursor."""
    with Scripted(body({"metadata": {"name": "n\x1b[2J", "managedFields": [1]}})) as server:
        assert run(patch(kube(server))) == {"metadata": {"name": "n\ufffd[2J"}}


def test_warnings_of_the_server() -> None:
    """They are kept once each, plain, and whoever shows them takes them out."""
    said = '299 - "spec.x: \\"old\\" is deprecated\x1b", 299 - "second"'
    with Scripted(body({}, Warning=said), body({}, Warning=said), refuse(422, "Invalid", Warning='299 - "third"')) as server:
        adapter = kube(server)
        for _ in range(2):
            run(patch(adapter))
        with pytest.raises(Invalid):
            run(patch(adapter))
        assert list(adapter.warnings) == ['spec.x: "old" is deprecated\ufffd', "second", "third"]
        adapter.warnings.clear()
    assert warning_texts("no warning at all") == []


# --- how often


def drop(line: socket.socket) -> bool:
    """Takes the request, and hangs up without an answer."""
    return False


@pytest.mark.parametrize("name", ACTS)
@pytest.mark.parametrize("fault", [drop, silent], ids=["hangs up", "says nothing"])
def test_an_act_of_unknown_outcome_is_not_repeated(name: str, fault: Answer) -> None:
    """A connection that ends or stays silent after the request leaves the outcome open: said so, and never asked twice."""
    first = body({"metadata": {"name": "n"}})
    with Scripted(first, fault, first) as server:
        adapter = kube(server)
        run(adapter.fetch(NODES, "n"))

        async def act() -> None:
            await asyncio.wait_for(ACTS[name](adapter), 5)

        begun = time.monotonic()
        with pytest.raises(Unreachable) as caught:
            run(act())
        assert time.monotonic() - begun < 10
        assert UNKNOWN in caught.value.detail
        assert len(server.requests) == 2
        run(adapter.aclose())


def test_a_kept_connection_that_was_closed_is_not_used_for_an_act() -> None:
    """The server closed it while it was idle: the act goes by a new one, and is done."""
    with Scripted(body({}, 201, keep=False), body({}, 201)) as server:
        adapter = kube(server)
        run(evict(adapter))
        run(evict(adapter))
        assert [r.connection for r in server.requests] == [0, 1]


def test_a_server_that_is_not_there() -> None:
    """Where no connection came about nothing was done, and the error does not say otherwise."""
    with Scripted() as server:
        adapter = kube(server)
    with pytest.raises(LineTrouble) as caught:
        run(evict(adapter))
    assert caught.value.kind == "refused"
    assert UNKNOWN not in str(caught.value)


@pytest.mark.parametrize("name", ["evict", "delete"])
def test_an_accepted_act_whose_answer_breaks_off(name: str) -> None:
    """Accepted is accepted: the head of the answer suffices where its body is not needed."""
    with Scripted(cut(201)) as server:
        run(ACTS[name](kube(server)))


@pytest.mark.parametrize("name", ["patch", "create", "put_lease"])
def test_an_answer_that_breaks_off_where_it_is_needed(name: str) -> None:
    """What the object is now is not known, and that is said."""
    with Scripted(cut(200)) as server, pytest.raises(Unreachable) as caught:
        run(ACTS[name](kube(server)))
    assert UNKNOWN in caught.value.detail


def cut(code: int) -> Answer:
    def answer(line: socket.socket) -> bool:
        line.sendall(f"HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
        return False

    return answer


class Renewed:
    """Credentials that a 401 makes anew, and that may take their time."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.token, self.takes_s = "old", takes_s

    def headers(self) -> dict[str, str]:
        time.sleep(self.takes_s)
        return {"Authorization": f"Bearer {self.token}"}

    def renew(self) -> bool:
        self.token = "new"
        return True


def test_a_401_is_no_unknown_outcome() -> None:
    """What was not authenticated was not done: it is sent again with the renewed token, once."""
    with Scripted(refuse(401), body({}, 201), refuse(401), refuse(401)) as server:
        adapter = kube(server, auth=Renewed())
        run(evict(adapter))
        assert [r.headers["authorization"] for r in server.requests] == ["Bearer old", "Bearer new"]
        with pytest.raises(Unauthorized):
            run(evict(adapter))
        assert len(server.requests) == 4


def test_an_act_is_not_sent_after_its_deadline() -> None:
    """Credentials that come too late: the caller was told that it failed, so nothing leaves afterwards."""
    with Scripted(body({}, 201)) as server:
        adapter = kube(server, auth=Renewed(takes_s=0.6))
        with pytest.raises(Unreachable):
            run(adapter.evict("web", "p", deadline_s=0.1))
        adapter._actors.shutdown(wait=True)
        assert server.requests == []


def test_acts_that_wait_for_a_thread() -> None:
    """More acts at once than threads: those that never got one say that they were not sent, and were not."""
    many = 12
    with Scripted(*[silent] * many) as server:
        adapter = kube(server)

        async def all_at_once() -> list[BaseException | None]:
            return await asyncio.gather(*(adapter.evict("web", f"p{n}", deadline_s=0.5) for n in range(many)), return_exceptions=True)

        errors = [str(error) for error in run(all_at_once())]
        adapter._actors.shutdown(wait=True)
        unsent = [error for error in errors if "not sent" in error]
        assert len(unsent) == many - len(server.requests) >= many - 8
        assert all(UNKNOWN in error for error in errors if error not in unsent)


def test_a_dry_run_that_breaks_leaves_nothing_open() -> None:
    """It may be asked again, since it changes nothing; a server that then fails is only a server that fails."""
    with Scripted(body({}, 201), drop, refuse(500, "InternalError", "etcd")) as server:
        adapter = kube(server)
        run(evict(adapter))
        with pytest.raises(Unreachable) as caught:
            run(adapter.evict("web", "p", dry_run=True))
        assert UNKNOWN not in str(caught.value)
        assert len(server.requests) == 3


# --- what the answers mean

BUDGET = {"causes": [{"reason": "DisruptionBudget", "message": "The disruption budget b needs 2 healthy pods and has 2\x1b currently"}]}
ENDING = {"causes": [{"reason": "NamespaceTerminating", "message": "namespace web is being terminated", "field": "metadata.namespace"}]}
TWO = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
GONE = {"name": "p", "kind": "pods"}
FIELDS = {"causes": [{"field": "spec.a", "message": "Required value"}, {"field": "spec.b", "message": "Invalid value: 1"}]}
RBAC = 'nodes "n" is forbidden: User "u" cannot patch resource "nodes" in API group "" at the cluster scope'
LATE = {"retryAfterSeconds": 10}


@pytest.mark.parametrize(
    ("act", "answer", "error", "words", "wait_s"),
    [
        (evict, refuse(429, "TooManyRequests", details=BUDGET), BudgetRefused, "needs 2 healthy pods and has 2\ufffd", None),
        (evict, refuse(429, "TooManyRequests", details={**BUDGET, **LATE}), BudgetRefused, "budget b", 10),
        (evict, refuse(429, "TooManyRequests", details=BUDGET, Retry_After="3"), BudgetRefused, "budget b", 3),
        (evict, refuse(403, "Forbidden", details=BUDGET), BudgetRefused, "budget b", None),
        (evict, refuse(429, "TooManyRequests", "too many", Retry_After="1"), Throttled, "too many", 1),
        (evict, refuse(429, "TooManyRequests", X_Kubernetes_PF_FlowSchema_UID="u"), Throttled, "slow down", None),
        (patch, refuse(429, "TooManyRequests", details=LATE), Throttled, "slow down", 10),
        (evict, refuse(500, "", TWO), EvictionImpossible, "more than one disruption budget selects pod web/p", None),
        (patch, refuse(500, "", TWO), LineTrouble, UNKNOWN, None),
        (evict, refuse(500, "InternalError", "etcd"), LineTrouble, UNKNOWN, None),
        (evict, refuse(503, "ServiceUnavailable", Retry_After="5"), Throttled, "busy", 5),
        (evict, refuse(504, "Timeout", "couldn't update PodDisruptionBudget", details=LATE), BudgetRefused, "couldn't update", 10),
        (evict, refuse(504, "Timeout", "request did not complete"), LineTrouble, UNKNOWN, None),
        (evict, refuse(403, "Forbidden", details=ENDING), NamespaceEnds, "pod web/p goes with its namespace", None),
        (create, refuse(403, "Forbidden", details=ENDING), NamespaceEnds, "namespace web is being deleted", None),
        (evict, refuse(403, "Forbidden", "pods is forbidden: User x cannot create resource"), Forbidden, "create on pods/eviction", None),
        (patch, refuse(403, "Forbidden", RBAC), Forbidden, "needs patch on nodes", None),
        (create, refuse(403, "Forbidden", "exceeded quota: q"), Forbidden, "rules forbid create on pods", None),
        (evict, refuse(404, "NotFound", details=GONE), NotFound, "pods web/p does not exist", None),
        (delete, refuse(404, "NotFound", details=GONE), NotFound, "pods web/p does not exist", None),
        (create, refuse(404, "NotFound", details={"name": "web", "kind": "namespaces"}), NotFound, "namespace web", None),
        (evict, refuse(409, "Conflict", "UID in precondition"), Conflict, "web/p changed meanwhile", None),
        (create, refuse(409, "AlreadyExists"), Conflict, "web/p exists already", None),
        (patch, refuse(422, "Invalid", details=FIELDS), Invalid, "spec.a: Required value; spec.b: Invalid value: 1", None),
        (patch, refuse(400, "BadRequest", "strange\x1b"), Invalid, "strange\ufffd", None),
        (patch, refuse(415, "UnsupportedMediaType", "media"), Invalid, "media", None),
        (patch, refuse(405, "MethodNotAllowed", "no such method"), ColdError, "refused patch on nodes", None),
        (patch, body(b"<html>", 502), LineTrouble, "not as a Kubernetes API", None),
    ],
)
def test_an_answer_and_its_meaning(act: Act, answer: Answer, error: type[ColdError], words: str, wait_s: float | None) -> None:
    """Each answer of the API to an act is one error, in words that name the object, the number and when to ask again."""
    with Scripted(answer) as server, pytest.raises(error) as caught:
        run(act(kube(server)))
    assert type(caught.value) is error
    assert words in str(caught.value)
    assert getattr(caught.value, "retry_after_s", None) == wait_s
    assert len(server.requests) == 1


def test_a_kind_that_is_not_served() -> None:
    """A 404 that names no object is about the kind."""
    with Scripted(body(b"404 page not found\n", 404), refuse(404, "NotFound", details={})) as server:
        adapter = kube(server)
        with pytest.raises(NotInstalled, match=r"clusters.postgresql.cnpg.io is not installed"):
            run(adapter.read(PG_CLUSTERS, "c", "a"))
        with pytest.raises(NotInstalled):
            run(adapter.patch(PG_CLUSTERS, "c", {}, "a"))


# --- fresh reads


def test_a_list_is_a_consistent_one() -> None:
    """No version is asked for, selectors stand on every page, and no version stands beside a token."""
    first, second = listing(shapes.pod("a"), token="t/1"), listing(shapes.pod("b"))
    with Scripted(body(first), body(second)) as server:
        found = run(kube(server).read_all(PODS, namespace="web", fields="spec.nodeName=n", labels="a=b"))
        asked = [r.query for r in server.requests]
        assert server.requests[0].path == "/api/v1/namespaces/web/pods"
    selectors = {"fieldSelector": "spec.nodeName=n", "labelSelector": "a=b"}
    assert [p.name for p in found] == ["a", "b"]
    assert asked == [{**selectors, "limit": "500"}, {**selectors, "limit": "500", "continue": "t/1"}]


def test_a_page_that_expired() -> None:
    """410 on a later page: the half that is there is dropped, and all is listed in one go."""
    whole = listing(shapes.pod("b"), shapes.pod("c"))
    with Scripted(body(listing(shapes.pod("a"), token="t")), refuse(410, "Expired"), body(whole)) as server:
        assert [p.name for p in run(kube(server).read_all(PODS))] == ["b", "c"]
        assert server.requests[2].query == {}


def test_what_cannot_be_decoded_is_an_error() -> None:
    """A plan must not overlook an object because it is strange."""
    strange = shapes.pod("b", spec={"containers": 7})
    with Scripted(body(listing(shapes.pod("a"), strange)), body(strange), body(b"{}{")) as server:
        adapter = kube(server)
        for work in (adapter.read_all(PODS), adapter.read(PODS, "b", "web"), adapter.read_all(PODS)):
            with pytest.raises(LineTrouble) as caught:
                run(work)
            assert caught.value.kind == "garbage"


def test_one_deadline_for_all_pages() -> None:
    """A list whose second page does not come ends when the whole should have."""
    with Scripted(body(listing(shapes.pod("a"), token="t")), silent) as server:
        begun = time.monotonic()
        with pytest.raises(LineTrouble):
            run(kube(server).read_all(PODS, deadline_s=0.5))
        assert time.monotonic() - begun < 3
