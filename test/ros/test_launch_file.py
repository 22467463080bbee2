"""The launch file, executed with stand-ins for launch and launch_ros that record their calls."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / 'launch' / 'localization.launch.py'

NAMES = {
    'launch': ['LaunchContext', 'LaunchDescription', 'LaunchDescriptionEntity'],
    'launch.actions': [
        'DeclareLaunchArgument',
        'EmitEvent',
        'OpaqueFunction',
        'RegisterEventHandler',
        'SetEnvironmentVariable',
    ],
    'launch.event_handlers': ['OnProcessExit'],
    'launch.events': ['Shutdown'],
    'launch.substitutions': ['LaunchConfiguration'],
    'launch_ros': [],
    'launch_ros.actions': ['LifecycleNode', 'Node'],
}


class Entity:
    """Remembers how it was built."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs = args, kwargs

    def perform(self, context: dict[str, str]) -> str:
        """What a LaunchConfiguration does."""
        return context[self.args[0]]


@pytest.fixture
def launch_file(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The launch file as a module."""
    for module_name, names in NAMES.items():
        stand_in = ModuleType(module_name)
        for name in names:
            setattr(stand_in, name, type(name, (Entity,), {}))
        monkeypatch.setitem(sys.modules, module_name, stand_in)
    for variable in ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'):
        monkeypatch.delenv(variable, raising=False)
    spec = importlib.util.spec_from_file_location('localization_launch', LAUNCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def of_kind(entities: list[Any], name: str) -> list[Any]:
    return [entity for entity in entities if type(entity).__name__ == name]


Launched = Callable[..., SimpleNamespace]


@pytest.fixture
def launched(launch_file: Any) -> Launched:
    """Run the launch file with arguments, the others as declared."""

    def run(**arguments: str) -> SimpleNamespace:
        description = launch_file.generate_launch_description().args[0]
        declared = of_kind(description, 'DeclareLaunchArgument')
        defaults = {entity.args[0]: entity.kwargs['default_value'] for entity in declared}
        assert set(arguments) <= set(defaults)
        (opaque,) = of_kind(description, 'OpaqueFunction')
        entities = opaque.kwargs['function']({**defaults, **arguments})
        (node,) = of_kind(entities, 'LifecycleNode')
        return SimpleNamespace(
            description=description,
            declared=declared,
            entities=entities,
            node=node,
            overrides=node.kwargs['parameters'][1],
        )

    return run


def test_all_ten_arguments_are_declared_with_a_description(launched: Launched) -> None:
    declared = launched().declared
    documented = 'namespace params_file use_sim_time autostart log_level rviz image camera_info'
    names = [entity.args[0] for entity in declared]
    assert names == [*documented.split(), 'checkpoint', 'device']
    assert all(entity.kwargs['description'] for entity in declared)


def test_without_arguments_the_parameter_file_decides(launched: Launched) -> None:
    result = launched()
    file = Path(result.node.kwargs['parameters'][0])
    assert file == ROOT / 'config' / 'localization.yaml'
    assert result.overrides == {'use_sim_time': False, 'autostart': True}
    assert not of_kind(result.entities, 'Node')


def test_given_arguments_override_the_parameter_file(launched: Launched) -> None:
    result = launched(
        checkpoint='/maps/hall.safetensors', device='cuda:1', use_sim_time='true', autostart='0'
    )
    assert result.overrides == {
        'checkpoint': '/maps/hall.safetensors',
        'device': 'cuda:1',
        'use_sim_time': True,
        'autostart': False,
    }


def test_a_bare_name_means_a_shipped_map_unless_it_lies_here(
    launch_file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'models').mkdir()
    shipped = tmp_path / 'models' / 'room.safetensors'
    shipped.touch()
    monkeypatch.setattr(launch_file, 'SHARE', tmp_path)
    monkeypatch.chdir(tmp_path)
    assert launch_file.find_checkpoint('room.safetensors') == str(shipped)
    assert launch_file.find_checkpoint('other.safetensors') == 'other.safetensors'
    (tmp_path / 'room.safetensors').touch()
    assert launch_file.find_checkpoint('room.safetensors') == 'room.safetensors'


def test_topics_are_remapped_and_the_logger_has_the_namespace(launched: Launched) -> None:
    kwargs = launched(
        image='/front/image_raw', camera_info='/front/info', namespace='/robot', log_level='debug'
    ).node.kwargs
    assert kwargs['remappings'] == [
        ('image', '/front/image_raw'),
        ('image/compressed', '/front/image_raw/compressed'),
        ('camera_info', '/front/info'),
    ]
    assert kwargs['namespace'] == '/robot'
    assert kwargs['arguments'] == ['--ros-args', '--log-level', 'robot.localization_node:=debug']


def test_rviz_starts_on_request_with_the_shipped_layout(launched: Launched) -> None:
    (rviz,) = of_kind(launched(rviz='true', image='/front/image_raw').entities, 'Node')
    assert Path(rviz.kwargs['arguments'][-1]).is_file()
    assert rviz.kwargs['remappings'] == [('image', '/front/image_raw')]


def test_the_transport_profile_is_set_unless_the_user_has_one(
    launched: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = of_kind(launched().description, 'SetEnvironmentVariable')
    assert [entity.args[0] for entity in variables] == [
        'FASTRTPS_DEFAULT_PROFILES_FILE',
        'FASTDDS_DEFAULT_PROFILES_FILE',
    ]
    assert all(Path(entity.args[1]).is_file() for entity in variables)
    monkeypatch.setenv('FASTRTPS_DEFAULT_PROFILES_FILE', '/etc/own.xml')
    assert not of_kind(launched().description, 'SetEnvironmentVariable')


def test_the_launch_ends_with_the_node(launched: Launched) -> None:
    result = launched()
    (registration,) = of_kind(result.entities, 'RegisterEventHandler')
    (handler,) = registration.args
    assert handler.kwargs['target_action'] is result.node
    (event,) = handler.kwargs['on_exit']
    assert type(event).__name__ == 'EmitEvent'
    assert type(event.kwargs['event']).__name__ == 'Shutdown'
