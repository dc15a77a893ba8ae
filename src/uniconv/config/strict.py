"""Strict conversion between YAML and dataclasses: every problem is named by its dotted key."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import yaml
from cattrs import ClassValidationError, Converter, IterableValidationError
from cattrs.errors import ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn

from uniconv.errors import ConfigError

T = TypeVar("T")

_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_KEY = re.compile(r"[^.\[\]]+(\[\d+\]|\.[^.\[\]]+)*")


def read_yaml(path: Path) -> Any:
    """The value of a YAML file; a key given twice is an error and ``1e-4`` a number.

    Raises:
        ConfigError: it can't be read or isn't YAML.
    """
    try:
        return yaml.load(path.read_text("utf-8"), Loader=_Loader)
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror or error})") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error


def override(value: Any, assignments: Sequence[str]) -> Any:
    """``value`` after assignments such as ``a.b=1`` or ``a[0].b=text``; the right side is YAML.

    Raises:
        ConfigError: it isn't an assignment, or leads through something that has no such part.
    """
    value = copy.deepcopy(value)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        steps = [int(number) if number else name for name, number in _STEP.findall(key)]
        if not equals or not _KEY.fullmatch(key):
            raise ConfigError(f"'{assignment}': expected key=value, such as optimisation.steps=100")
        try:
            inner = value
            for step in steps[:-1]:
                inner = inner.setdefault(step, {}) if isinstance(inner, dict) else inner[step]
            inner[steps[-1]] = yaml.load(text, Loader=_Loader)
        except (TypeError, IndexError, KeyError) as error:
            raise ConfigError(f"'{assignment}': there is no place for this setting") from error
        except yaml.YAMLError as error:
            raise ConfigError(f"'{assignment}': the value is not valid YAML") from error
    return value


def structure(value: Any, kind: type[T], where: str) -> T:
    """``value``, made of mappings and lists, as the dataclass ``kind``.

    Raises:
        ConfigError: a key is unknown, missing, or of the wrong type; ``where`` begins its text.
    """
    try:
        return _CONVERTER.structure(value, kind)
    except (ClassValidationError, IterableValidationError) as error:
        problems = list(_problems(error, ""))
    except ValueError as error:
        problems = [str(error)]
    raise _error(where, problems)


def unstructure(config: Any) -> dict[str, Any]:
    """A dataclass as mappings, lists, strings and numbers, for YAML and JSON."""
    result: dict[str, Any] = _CONVERTER.unstructure(config)
    return result


def raise_problems(where: str, problems: list[str]) -> None:
    """Raises a ConfigError that lists the problems, if there are any."""
    if problems:
        raise _error(where, problems)


def _error(where: str, problems: list[str]) -> ConfigError:
    if len(problems) == 1:
        return ConfigError(f"{where}: {problems[0]}")
    listing = "\n".join(f"  {problem}" for problem in problems)
    return ConfigError(f"{where}: {len(problems)} settings are wrong\n{listing}")


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"'{key.value}' is given twice", problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


# YAML 1.1 wants a dot in a float, so that 1e-4 would be a text.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def _build_converter() -> Converter:
    converter = Converter(forbid_extra_keys=True)

    def scalar(kind: type, name: str, *accepted: type) -> None:
        def structure(value: Any, _: Any) -> Any:
            if type(value) not in accepted:
                raise ValueError(f"expected {name}, not {value!r}")
            return kind(value)

        converter.register_structure_hook(kind, structure)

    scalar(bool, "true or false", bool)
    scalar(int, "a whole number", int)
    scalar(float, "a number", int, float)
    scalar(str, "a text", str)
    converter.register_structure_hook(Path, _path)
    converter.register_unstructure_hook(Path, str)
    converter.register_structure_hook_func(lambda kind: _is(kind, Literal), _literal)
    converter.register_structure_hook_func(lambda kind: kind == int | str, _place_or_name)
    converter.register_structure_hook_func(lambda kind: kind == dict[str, Any], _free)
    converter.register_structure_hook_factory(
        lambda kind: _is(kind, tuple),
        lambda kind: lambda value, _: _tuple(converter, value, kind),
    )
    converter.register_structure_hook_factory(
        dataclasses.is_dataclass, lambda kind: _mapping(converter, kind)
    )
    return converter


def _is(kind: Any, origin: Any) -> bool:
    return get_origin(kind) is origin


def _path(value: Any, _: Any) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError(f"expected a path, not {value!r}")
    return Path(value)


def _literal(value: Any, kind: Any) -> Any:
    if value not in get_args(kind) or isinstance(value, bool):
        raise ValueError(f"expected one of {', '.join(map(str, get_args(kind)))}, not {value!r}")
    return value


def _place_or_name(value: Any, _: Any) -> int | str:
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise ValueError(f"expected a place, counting from 0, or a name, not {value!r}")
    return value


def _free(value: Any, _: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected settings by name, not {value!r}")
    return {str(name): setting for name, setting in value.items()}


def _tuple(converter: Converter, value: Any, kind: Any) -> tuple[Any, ...]:
    item = get_args(kind)[0]
    if isinstance(value, str) and item in (str, Path, int | str):
        value = [value]  # one text stands for a list of one
    if not isinstance(value, list | tuple):
        raise ValueError(f"expected a list, not {value!r}")
    items: Any = list[item]  # type: ignore[valid-type]
    result: list[Any] = converter.structure(value, items)
    return tuple(result)


def _mapping(converter: Converter, kind: Any) -> Callable[[Any, Any], Any]:
    structure_fields = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True)

    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            names = ", ".join(one.name for one in dataclasses.fields(kind))
            raise ValueError(f"expected settings by name ({names}), not {value!r}")
        return structure_fields(dict(value), kind)

    return structure


def _problems(error: Any, prefix: str) -> Iterator[str]:
    """A line for each leaf of cattrs' tree of errors, with its dotted key."""
    for inner in error.exceptions:
        note: Any = next(iter(getattr(inner, "__notes__", ())), None)
        key = prefix
        if isinstance(error, IterableValidationError):
            key = f"{prefix}[{note.index}]"
        elif note is not None:
            key = f"{prefix}.{note.name}".lstrip(".")
        if isinstance(inner, ForbiddenExtraKeysError):
            names = [one.name for one in dataclasses.fields(inner.cl)]
            for extra in sorted(map(str, inner.extra_fields)):
                near = difflib.get_close_matches(extra, names, 1)
                hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(names)}"
                yield f"{key}.{extra}: unknown setting; {hint}".lstrip(".")
        elif isinstance(inner, ClassValidationError | IterableValidationError):
            yield from _problems(inner, key)
        elif isinstance(inner, KeyError):
            yield f"{key}: is missing"
        else:
            yield f"{key}: {inner}"


_CONVERTER = _build_converter()
