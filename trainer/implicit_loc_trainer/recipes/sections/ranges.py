"""The error of a recipe, and ranges of its numbers."""

import operator
from collections.abc import Mapping
from types import MappingProxyType

from implicit_loc.errors import ImplicitLocError


class ConfigError(ImplicitLocError):
    """A recipe cannot be used as it is."""


def require(
    section: str,
    values: object,
    at_least: Mapping[str, float] = MappingProxyType({}),
    above: Mapping[str, float] = MappingProxyType({}),
    at_most: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """Refuse numbers out of range, NaN included."""
    for limits, words, fits in (
        (at_least, 'at least', operator.ge),
        (above, 'above', operator.gt),
        (at_most, 'at most', operator.le),
    ):
        for name, limit in limits.items():
            found = getattr(values, name)
            if not fits(found, limit):
                raise ConfigError(f'{section}.{name} is {found}; it must be {words} {limit:.10g}')
