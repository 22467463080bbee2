"""The examples beside robot_localization, Nav2, a bag and a second camera fit the node."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

pytest.importorskip('rclpy', reason='rclpy is not installed')

import rclpy

from implicit_loc_ros.parameters import Parameters

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / 'config' / 'examples').glob('*.yaml'))
LAUNCH_FILES = sorted((ROOT / 'launch').glob('*.launch.py'))
ARGUMENTS = {
    'namespace',
    'params_file',
    'use_sim_time',
    'autostart',
    'log_level',
    'rviz',
    'image',
    'camera_info',
    'checkpoint',
    'device',
}

NAMES = {
    'launch': ['LaunchDescription'],
    'launch.actions': ['DeclareLaunchArgument', 'ExecuteProcess', 'IncludeLaunchDescription'],
    'launch.launch_description_sources': ['PythonLaunchDescriptionSource'],
    'launch.substitutions': ['LaunchConfiguration'],
    'launch_ros': [],
    'launch_ros.actions': ['Node'],
}


class Entity:
    """Remembers how it was built."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs = args, kwargs


def sections(example: Path) -> dict[str, dict[str, Any]]:
    content = yaml.safe_load(example.read_text())
    return {name: section['ros__parameters'] for name, section in content.items()}


@pytest.mark.parametrize('example', EXAMPLES, ids=lambda path: path.stem)
def test_an_example_sets_parameters_that_the_node_takes(example: Path) -> None:
    own = {n: v for n, v in sections(example).items() if n.endswith('/localization_node')}
    assert own
    for values in own.values():
        taken = Parameters(**values)
        for name, value in values.items():
            default = getattr(Parameters(), name)
            assert isinstance(value, list if isinstance(default, tuple) else type(default)), name
            assert getattr(taken, name) == value


@pytest.mark.parametrize(
    ('file', 'name', 'namespace', 'expected'),
    [
        ('nav2', 'localization_node', '', {'tf_mode': 'map_to_odom', 'autostart': False}),
        ('nav2', 'localization_node', '/robot/a', {'tf_mode': 'map_to_odom'}),
        ('nav2', 'lifecycle_manager_localizer', '', {'bond_timeout': 0.0}),
        ('robot_localization', 'ekf_map', '/robot', {'pose0_rejection_threshold': 4.1}),
        ('two_cameras', 'localization_node', '/front', {'tf_mode': 'map_to_odom'}),
        ('two_cameras', 'localization_node', '/rear', {'tf_mode': 'none'}),
    ],
)
def test_the_names_in_an_example_reach_their_nodes(
    file: str, name: str, namespace: str, expected: dict[str, Any]
) -> None:
    context = rclpy.Context()
    path = ROOT / 'config' / 'examples' / f'{file}.yaml'
    rclpy.init(args=['--ros-args', '--params-file', str(path)], context=context)
    node = rclpy.create_node(
        name,
        namespace=namespace,
        context=context,
        automatically_declare_parameters_from_overrides=True,
    )
    found = {key: node.get_parameter(key).value for key in expected}
    node.destroy_node()
    context.try_shutdown()
    assert found == expected


def test_no_two_of_a_robot_publish_map_to_odom() -> None:
    filters = sections(ROOT / 'config' / 'examples' / 'robot_localization.yaml')
    assert filters['/**/ekf_map']['publish_tf']
    assert filters['/**/localization_node']['tf_mode'] == 'none'
    cameras = sections(ROOT / 'config' / 'examples' / 'two_cameras.yaml')
    assert sorted(values['tf_mode'] for values in cameras.values()) == ['map_to_odom', 'none']


def test_the_filter_takes_the_pose_of_the_base_with_its_covariance() -> None:
    values = sections(ROOT / 'config' / 'examples' / 'robot_localization.yaml')
    own, ekf = values['/**/localization_node'], values['/**/ekf_map']
    assert Parameters(**own).publishes_base
    assert ekf['pose0'] == 'localization_node/pose_with_covariance'
    assert ekf['pose0_config'] == [True] * 6 + [False] * 9
    assert ekf['odom0_config'][:6] == [False] * 6
    # 99 % of the chi-square distribution with six degrees of freedom.
    assert ekf['pose0_rejection_threshold'] == pytest.approx(16.81**0.5, abs=0.01)


def test_the_lifecycle_manager_of_nav2_can_drive_the_node() -> None:
    values = sections(ROOT / 'config' / 'examples' / 'nav2.yaml')
    assert values['/**/localization_node']['autostart'] is False
    manager = values['/**/lifecycle_manager_localizer']
    assert manager['node_names'] == ['localization_node']
    assert manager['bond_timeout'] == 0.0


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    for module_name, names in NAMES.items():
        module = ModuleType(module_name)
        for name in names:
            setattr(module, name, type(name, (Entity,), {}))
        monkeypatch.setitem(sys.modules, module_name, module)


def launched(path: Path) -> list[Any]:
    """What a launch file describes."""
    spec = importlib.util.spec_from_file_location('example', path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description().args[0]


def of_kind(entities: list[Any], name: str) -> list[Any]:
    return [entity for entity in entities if type(entity).__name__ == name]


def defaults(entities: list[Any]) -> dict[str, str]:
    declared = of_kind(entities, 'DeclareLaunchArgument')
    return {e.args[0]: e.kwargs['default_value'] for e in declared if 'default_value' in e.kwargs}


def performed(value: Any, arguments: dict[str, str]) -> str:
    """A text, or what a LaunchConfiguration of these arguments gives."""
    return arguments[value.args[0]] if isinstance(value, Entity) else value


@pytest.mark.usefixtures('stand_ins')
@pytest.mark.parametrize('example', ['nav2', 'robot_localization'])
def test_parameters_of_ones_own_reach_both_nodes_of_an_example(example: str) -> None:
    entities = launched(ROOT / 'launch' / f'with_{example}.launch.py')
    own = {**defaults(entities), 'params_file': '/robot/own.yaml'}
    (include,) = of_kind(entities, 'IncludeLaunchDescription')
    given = dict(include.kwargs['launch_arguments'])
    assert performed(given['params_file'], own) == '/robot/own.yaml'
    (beside,) = of_kind(entities, 'Node')
    assert performed(beside.kwargs['parameters'][0], own) == '/robot/own.yaml'
    (declared,) = of_kind(entities, 'DeclareLaunchArgument')
    assert declared.kwargs['description']


@pytest.mark.usefixtures('stand_ins')
@pytest.mark.parametrize(
    'path',
    [path for path in LAUNCH_FILES if path.name != 'localization.launch.py'],
    ids=lambda path: path.name,
)
def test_an_example_launches_the_node_with_arguments_that_it_has(path: Path) -> None:
    entities = launched(path)
    values = defaults(entities)
    includes = of_kind(entities, 'IncludeLaunchDescription')
    assert includes
    for include in includes:
        (source,) = include.args[0].args
        assert Path(source) == ROOT / 'launch' / 'localization.launch.py'
        arguments = dict(include.kwargs['launch_arguments'])
        assert set(arguments) <= ARGUMENTS
        if 'params_file' in arguments:
            assert Path(performed(arguments['params_file'], values)) in EXAMPLES
    for node in of_kind(entities, 'Node'):
        file = Path(performed(node.kwargs['parameters'][0], values))
        assert f'/**/{node.kwargs["name"]}' in sections(file)
    if path.stem.startswith('two_cameras'):
        spaces = {dict(include.kwargs['launch_arguments'])['namespace'] for include in includes}
        assert {f'/{space}/localization_node' for space in spaces} == set(
            sections(ROOT / 'config' / 'examples' / 'two_cameras.yaml')
        )
