"""What the answers to an act mean. (Those to a read are in `failures`.)"""

from __future__ import annotations

from collections.abc import Mapping

from ...domain.errors import BudgetRefused, ColdError, Conflict, EvictionImpossible, Forbidden, Invalid, NamespaceEnds, NotFound
from ...domain.text import plain
from .failures import Question, Status, refusal, status_of

_TWO_BUDGETS = "more than one PodDisruptionBudget"
"""Of the one 500 that is final; its Status has no reason and no cause to know it by."""


def write_refusal(code: int, headers: Mapping[str, str], body: bytes, question: Question, where: str) -> ColdError:
    """An answer to an act that is not 2xx."""
    status = status_of(body)
    evicts = question.resource.endswith("/eviction")
    found = _of_eviction(code, headers, status, question) if evicts else None
    return found or _of_act(code, status, question) or refusal(code, headers, body, question, where)


def _of_eviction(code: int, headers: Mapping[str, str], status: Status, question: Question) -> ColdError | None:
    budget = status.caused_by("DisruptionBudget")
    said = plain(budget.message if budget is not None and budget.message else status.message)[:500]
    wait_s = status.wait_s(headers)
    pod = _whole(question)
    if code in {403, 429} and budget is not None:
        return BudgetRefused(f"a disruption budget holds pod {pod}", retry_after_s=wait_s, detail=said)
    if code == 403 and status.caused_by("NamespaceTerminating"):
        return NamespaceEnds(f"pod {pod} goes with its namespace", detail=said)
    if code == 500 and _TWO_BUDGETS in status.message:
        hint = "let only one budget select the pod, or delete it (this bypasses budgets)"
        return EvictionImpossible(f"more than one disruption budget selects pod {pod}", detail=said, hint=hint)
    if code == 504 and wait_s is not None:
        return BudgetRefused(f"the disruption budget of pod {pod} could not be updated", retry_after_s=wait_s, detail=said)
    return None


def _of_act(code: int, status: Status, question: Question) -> ColdError | None:
    said = plain(status.message)[:500]
    plural, name = (plain(text) for text in status.about)
    singular = question.resource.partition("/")[0]
    match code:
        case 409 if status.reason == "AlreadyExists":
            return Conflict(f"{singular} {_whole(question)} exists already", detail=said)
        case 409:
            return Conflict(f"{singular} {_whole(question)} changed meanwhile", detail=said, hint="read it again")
        case 400 | 413 | 415 | 422 if status.kind:
            fields = "; ".join(plain(f"{cause.field}: {cause.message}" if cause.field else cause.message) for cause in status.causes)
            return Invalid(f"the API does not take this {question.verb} of {singular} {_whole(question)}", detail=(fields or said)[:500])
        case 403 if status.caused_by("NamespaceTerminating"):
            return NamespaceEnds(f"namespace {plain(question.namespace)} is being deleted", detail=said)
        case 403 if status.kind and " cannot " not in said:
            resource = f"{question.resource}.{question.group}" if question.group else question.resource
            title = f"the cluster's rules forbid {question}"
            return Forbidden(
                title, verb=question.verb, resource=resource, detail=said, hint="an admission rule or a quota, not a missing right"
            )
        case 404 if plural == "namespaces" and singular != "namespaces":
            return NotFound(f"namespace {name} does not exist")
        case _:
            return None


def _whole(question: Question) -> str:
    return plain(f"{question.namespace}/{question.name}" if question.namespace else question.name)
