"""The node as pose0 of robot_localization's filter for map -> odom.

Takes the arguments of localization.launch.py. The parameters of both are those of params_file:
config/examples/robot_localization.yaml, which says more, or yours.
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

SHARE = Path(__file__).resolve().parent.parent
PARAMETERS = str(SHARE / 'config' / 'examples' / 'robot_localization.yaml')


def generate_launch_description() -> LaunchDescription:
    """The node and the filter; odom -> base_link comes from the robot."""
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
                launch_arguments={'params_file': parameters}.items(),
            ),
            Node(
                package='robot_localization',
                executable='ekf_node',
                name='ekf_map',
                parameters=[parameters, {'use_sim_time': LaunchConfiguration('use_sim_time')}],
                # The filter of odom -> base_link has this name already.
                remappings=[('odometry/filtered', 'odometry/filtered_map')],
                output='screen',
            ),
        ]
    )
