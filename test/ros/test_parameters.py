"""Parameters: declared once, described, validated with one clear error."""

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')

import rclpy
from rclpy.parameter import Parameter

from implicit_loc_ros.declaration import declare_parameters
from implicit_loc_ros.parameters import ParameterError, Parameters


@pytest.fixture(scope='module')
def context() -> Iterator[rclpy.Context]:
    context = rclpy.Context()
    rclpy.init(context=context)
    yield context
    context.try_shutdown()


@pytest.fixture
def make_node(context: rclpy.Context) -> Iterator[Callable[..., Any]]:
    nodes = []

    def make(**overrides: Any) -> Any:
        values = [Parameter(name, value=value) for name, value in overrides.items()]
        nodes.append(rclpy.create_node('parameters', context=context, parameter_overrides=values))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


def test_the_defaults_are_valid_and_complete(make_node: Callable[..., Any]) -> None:
    assert declare_parameters(make_node()) == Parameters()


def test_every_parameter_is_described_and_only_map_pace_and_gate_change_at_run_time(
    make_node: Callable[..., Any],
) -> None:
    node = make_node()
    declare_parameters(node)
    changeable = set()
    for item in fields(Parameters):
        descriptor = node.describe_parameter(item.name)
        assert descriptor.description, item.name
        if not descriptor.read_only:
            changeable.add(item.name)
    assert changeable == {
        'checkpoint',
        'world_alignment',
        'mode',
        'max_rate',
        'min_confidence',
        'max_speed',
        'max_turn_rate',
        'gate_slack_m',
        'gate_slack_rad',
        'gate_timeout_s',
        'reopen_after',
        'lost_after_s',
    }


def test_the_gate_demands_what_the_parameters_say() -> None:
    parameters = Parameters(gate_slack_m=0.7, gate_timeout_s=3.0, reopen_after=9)
    limits = parameters.gate_limits
    assert (limits.slack_m, limits.timeout_s, limits.reopen_after) == (0.7, 3.0, 9)
    for item in fields(limits):
        name = item.name if hasattr(parameters, item.name) else f'gate_{item.name}'
        assert getattr(limits, item.name) == getattr(parameters, name)


def test_values_of_the_user_arrive(make_node: Callable[..., Any]) -> None:
    parameters = declare_parameters(make_node(tf_mode='map_to_odom', min_confidence=0.4))
    assert parameters.tf_mode == 'map_to_odom'
    assert parameters.min_confidence == 0.4
    assert parameters.publishes_base


@pytest.mark.parametrize(
    ('name', 'value', 'reason'),
    [
        ('tf_mode', 'map', 'must be one of none, map_to_camera, map_to_base, map_to_odom'),
        ('qos', 'best', 'must be one of auto, reliable, best_effort'),
        ('image_transport', 'theora', 'must be one of raw, compressed'),
        ('pose_of', 'robot', 'must be one of auto, camera, base'),
        ('min_confidence', 1.5, 'out of range'),
        ('min_confidence', float('nan'), 'out of range'),
        ('min_confidence', 0, 'must be of type float'),
        ('threads', -1, 'out of range'),
        ('solver', 'magic', 'must be one of unweighted, weighted, rigid_ransac, pnp_ransac'),
        ('max_speed', -1.0, 'out of range'),
        ('max_turn_rate', float('inf'), 'out of range'),
        ('gate_slack_rad', 4.0, 'out of range'),
        ('gate_timeout_s', float('nan'), 'out of range'),
        ('reopen_after', 1, 'out of range'),
        ('lost_after_s', 1, 'must be of type float'),
        ('tf_tolerance_s', -0.1, 'out of range'),
        ('map_frame', '', "'map_frame' is empty"),
        ('base_frame', '/base_link', 'no leading slash'),
        ('mode', 'sometimes', 'must be one of continuous, on_demand'),
        ('max_rate', -1.0, 'out of range'),
        ('world_alignment', [0, 0, 0, 0, 0, 0, 1], 'must be of type list of floats'),
        ('world_alignment', [0.0, 0.0, 0.0], 'seven finite numbers'),
        ('world_alignment', [0.0, float('nan'), 0.0, 0.0, 0.0, 0.0, 1.0], 'seven finite numbers'),
        ('world_alignment', [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0], 'has length 1.41, not 1'),
        ('world_alignment', [0.0] * 7, 'has length 0, not 1'),
        ('checkpoint', 3, 'must be of type str'),
        ('autostart', 'yes', 'must be of type bool'),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(
    make_node: Callable[..., Any], name: str, value: Any, reason: str
) -> None:
    with pytest.raises(ParameterError, match=reason) as caught:
        declare_parameters(make_node(**{name: value}))
    assert name in str(caught.value)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    'values',
    [
        {'tf_mode': 'map_to_base', 'base_frame': ''},
        {'tf_mode': 'map_to_odom', 'odom_frame': ''},
        {'tf_mode': 'map_to_odom', 'odom_frame': 'base_link'},
        {'tf_mode': 'map_to_base', 'base_frame': 'map'},
        {'tf_mode': 'map_to_camera', 'child_frame': 'map'},
        {'tf_mode': 'map_to_base', 'pose_of': 'camera'},
    ],
)
def test_values_that_contradict_each_other_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        Parameters(**values)
