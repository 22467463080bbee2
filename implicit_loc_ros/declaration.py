"""Parameters on a node: declared from their description, their values checked."""

from dataclasses import MISSING, Field, fields
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterUninitializedException,
)
from rclpy.node import Node

from implicit_loc_ros.parameters import ParameterError, Parameters


def declare_parameters(node: Node) -> Parameters:
    """Declare every parameter on a node and return the values that the user gave.

    Raises:
        ParameterError: with the name, what was found and what is allowed.
    """
    return Parameters(**{item.name: _declare(node, item) for item in fields(Parameters)})


def _declare(node: Node, item: 'Field[Any]') -> Any:
    if item.default is MISSING:
        raise TypeError(f'the parameter {item.name} has no default')
    is_list = isinstance(item.default, tuple)
    default = list(item.default) if is_list else item.default
    try:
        value = node.declare_parameter(item.name, default, _descriptor(item)).value
        return tuple(value) if is_list else value
    except InvalidParameterTypeException as error:
        kind = 'list of floats' if is_list else type(default).__name__
        hint = f'write {default!r} with a decimal point' if 'float' in kind else 'see its yaml'
        raise ParameterError(f'{item.name!r} must be of type {kind} ({hint}): {error}') from error
    except (InvalidParameterValueException, ParameterUninitializedException) as error:
        raise ParameterError(f'{item.name!r}: {error}') from error


def _descriptor(item: 'Field[Any]') -> ParameterDescriptor:
    choices, limits = item.metadata['choices'], item.metadata['limits']
    descriptor = ParameterDescriptor(
        description=item.metadata['description'],
        additional_constraints=f'One of: {", ".join(choices)}.' if choices else '',
        read_only=not item.metadata['changes_at_run_time'],
    )
    if limits and isinstance(item.default, int):
        low, high = (int(limit) for limit in limits)
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
    elif limits:
        low, high = limits
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    return descriptor
