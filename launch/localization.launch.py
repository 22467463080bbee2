"""Start the localization node; `--show-args` after the launch command lists the arguments."""

import os
from pathlib import Path

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

# Beside this file both in the source tree and where colcon installs it.
SHARE = Path(__file__).resolve().parent.parent
CONFIG = SHARE / 'config'

NODE = 'localization_node'

# Name, default, description. An empty checkpoint or device leaves what params_file says.
ARGUMENTS = (
    ('namespace', '', 'Namespace of the node and of its topics.'),
    ('params_file', str(CONFIG / 'localization.yaml'), 'Parameters of the node.'),
    ('use_sim_time', 'false', 'Take the time from /clock.'),
    ('autostart', 'true', 'Configure and activate at start.'),
    ('log_level', 'info', 'debug, info, warn, error or fatal.'),
    ('rviz', 'false', 'Show poses and images in RViz.'),
    ('image', 'image', 'Topic of the images; /compressed is appended for compressed ones.'),
    ('camera_info', 'camera_info', 'Topic of their CameraInfo.'),
    ('checkpoint', '', 'Trained .safetensors file; a bare name is looked up in models/.'),
    ('device', '', 'auto, cpu, cuda or cuda:N.'),
)

# Fast DDS 2 (Jazzy) and 3 (Kilted) read different variables.
PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')


def generate_launch_description() -> LaunchDescription:
    """Arguments, the transport profile, the node, and RViz on request."""
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, default, description in ARGUMENTS
            ),
            *transport_profile(),
            OpaqueFunction(function=nodes),
        ]
    )


def transport_profile() -> list[LaunchDescriptionEntity]:
    """Room in shared memory for large images, unless the user has a profile of their own."""
    if any(variable in os.environ for variable in PROFILE_VARIABLES):
        return []
    profile = str(CONFIG / 'fastdds_large_images.xml')
    return [SetEnvironmentVariable(variable, profile) for variable in PROFILE_VARIABLES]


def nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The node with its arguments filled in."""
    argument = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    overrides: dict[str, bool | str] = {
        name: argument[name].lower() in ('true', '1') for name in ('use_sim_time', 'autostart')
    }
    if argument['checkpoint']:
        overrides['checkpoint'] = find_checkpoint(argument['checkpoint'])
    if argument['device']:
        overrides['device'] = argument['device']
    # Only this logger: those of the middleware write thousands of lines at level debug.
    logger = '.'.join([*argument['namespace'].strip('/').split('/'), NODE]).lstrip('.')
    node = LifecycleNode(
        package='implicit_loc_ros',
        executable='localization_node',
        name=NODE,
        namespace=argument['namespace'],
        parameters=[argument['params_file'], overrides],
        remappings=[
            ('image', argument['image']),
            ('image/compressed', f'{argument["image"]}/compressed'),
            ('camera_info', argument['camera_info']),
        ],
        arguments=['--ros-args', '--log-level', f'{logger}:={argument["log_level"]}'],
        output='screen',
        emulate_tty=True,
    )
    entities: list[LaunchDescriptionEntity] = [node]
    if argument['rviz'].lower() in ('true', '1'):
        rviz = Node(
            package='rviz2',
            executable='rviz2',
            namespace=argument['namespace'],
            arguments=['--display-config', str(CONFIG / 'localization.rviz')],
            parameters=[{'use_sim_time': overrides['use_sim_time']}],
            remappings=[('image', argument['image'])],
        )
        entities.append(rviz)
    # A node that cannot start must not leave a launch that looks alive.
    shutdown = EmitEvent(event=Shutdown(reason='the localization node has ended'))
    handler = OnProcessExit(target_action=node, on_exit=[shutdown])
    return [*entities, RegisterEventHandler(handler)]


def find_checkpoint(name: str) -> str:
    """A bare name that is not in the current folder means the package's models/."""
    shipped = SHARE / 'models' / name
    if os.sep not in name and not Path(name).exists() and shipped.is_file():
        return str(shipped)
    return name
