"""The node in the place of AMCL, with a lifecycle manager of its own.

Takes the arguments of localization.launch.py but for autostart: the manager starts the node. The
parameters of both are those of params_file: config/examples/nav2.yaml, which says more, or yours.
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

SHARE = Path(__file__).resolve().parent.parent
PARAMETERS = str(SHARE / 'config' / 'examples' / 'nav2.yaml')


def generate_launch_description() -> LaunchDescription:
    """The node, and the manager that configures and activates it."""
    parameters = LaunchConfiguration('params_file')
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'params_file',
                default_value=PARAMETERS,
                description='Parameters of both nodes; begin with a copy of it.',
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(SHARE / 'launch' / 'localization.launch.py')),
                launch_arguments={'params_file': parameters, 'autostart': 'false'}.items(),
            ),
            Node(
                package='nav2_lifecycle_manager',
                executable='lifecycle_manager',
                name='lifecycle_manager_localizer',
                parameters=[parameters, {'use_sim_time': LaunchConfiguration('use_sim_time')}],
                output='screen',
            ),
        ]
    )
