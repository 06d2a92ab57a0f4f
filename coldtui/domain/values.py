"""`dataclass` for values, made quickly.

The standard decorator compiles six functions for each frozen class: a hundred values cost 55 ms of CPU at every start, a tenth of all.
Here the standard library still finds the fields, makes the slots and serves `fields`, `replace` and `is_dataclass`; comparison, hash and
text are shared functions, and `__init__` is compiled when the first value of a class is made. To a type checker it is the standard one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    import dataclasses
    from operator import attrgetter

    def dataclass(*, frozen, slots):
        """`@dataclass(frozen=True, slots=True)` and nothing else."""
        if not (frozen and slots):
            raise TypeError("values are frozen and have slots")
        return _made

    def _made(cls):
        if not cls.__doc__:
            cls.__doc__ = cls.__name__  # else the standard library writes a signature there, at 50 µs a class
        made = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True)(cls)
        made.__dataclass_params__.frozen = True
        made.__dataclass_params__.eq = True
        fields = dataclasses.fields(made)
        compared = [f.name for f in fields if f.compare]
        part = attrgetter(*compared) if compared else lambda self: ()

        def __eq__(self, other):
            if other.__class__ is not self.__class__:
                return NotImplemented
            return self is other or part(self) == part(other)

        def __hash__(self):
            return hash(part(self))

        def __init__(self, *args, **kwargs):
            real = _init(made, fields)
            if made.__init__ is __init__:
                made.__init__ = real
            real(self, *args, **kwargs)

        if "__init__" not in cls.__dict__:
            made.__init__ = __init__
        for name, function in (("__eq__", __eq__), ("__hash__", __hash__), ("__repr__", _repr)):
            if cls.__dict__.get(name) is None:  # a class that defines __eq__ alone has __hash__ None
                setattr(made, name, function)
        made.__setattr__, made.__delattr__, made.__setstate__ = _refuse_set, _refuse_delete, _set_state
        return made

    def _init(cls, fields):
        """The `__init__` that the standard decorator would have made."""
        scope = {"_set": object.__setattr__, "_missing": dataclasses.MISSING}
        parameters, body, keyword_only = [], [], False
        for f in fields:
            if f.kw_only and not keyword_only:
                keyword_only = True
                parameters.append("*")
            text = f.name
            if f.default is not dataclasses.MISSING:
                scope[f"_default_{f.name}"] = f.default
                text += f"=_default_{f.name}"
            elif f.default_factory is not dataclasses.MISSING:
                scope[f"_factory_{f.name}"] = f.default_factory
                text += "=_missing"
            if f.init:
                parameters.append(text)
                value = f"_factory_{f.name}() if {f.name} is _missing else {f.name}" if "=_missing" in text else f.name
            else:
                value = f"_factory_{f.name}()" if f.default_factory is not dataclasses.MISSING else f"_default_{f.name}"
            body.append(f" _set(self, {f.name!r}, {value})")
        if hasattr(cls, "__post_init__"):
            body.append(" self.__post_init__()")
        exec(f"def __init__(self, {', '.join(parameters)}):\n" + "\n".join(body or [" pass"]), scope)
        made = scope["__init__"]
        made.__qualname__ = f"{cls.__qualname__}.__init__"
        return made

    def _repr(self):
        shown = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in dataclasses.fields(self) if f.repr)
        return f"{type(self).__qualname__}({shown})"

    def _set_state(self, state):
        """For copies: `object.__getstate__` gives (None, {slot: value})."""
        for name, value in state[1].items():
            object.__setattr__(self, name, value)

    def _refuse_set(self, name, value):
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def _refuse_delete(self, name):
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


__all__ = ["dataclass"]
