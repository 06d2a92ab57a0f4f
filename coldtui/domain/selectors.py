"""Label selectors, as Kubernetes evaluates them (apimachinery/pkg/labels)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from .values import dataclass


@dataclass(frozen=True, slots=True)
class Expression:
    """One entry of matchExpressions."""

    key: str
    operator: str
    """In, NotIn, Exists or DoesNotExist."""
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        if self.operator == "In":
            return value is not None and value in self.values
        if self.operator == "NotIn":
            return value is None or value not in self.values
        if self.operator == "Exists":
            return value is not None
        return self.operator == "DoesNotExist" and value is None


@dataclass(frozen=True, slots=True)
class Selector:
    """matchLabels and matchExpressions, all of which must hold. An empty selector matches everything."""

    labels: dict[str, str] = field(default_factory=dict)
    expressions: tuple[Expression, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(labels.get(k) == v for k, v in self.labels.items()) and all(e.matches(labels) for e in self.expressions)
