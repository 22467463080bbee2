"""A recorded bag on the desk: plays it with its clock, the node and RViz beside it.

Takes the arguments of localization.launch.py, and `bag`; the bag's clock is the time of all, and
RViz starts whatever use_sim_time and rviz say.
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

SHARE = Path(__file__).resolve().parent.parent


def generate_launch_description() -> LaunchDescription:
    """The node and RViz in simulated time, and the player."""
    return LaunchDescription(
        [
            DeclareLaunchArgument('bag', description='Folder or file of the recording.'),
            DeclareLaunchArgument('rate', default_value='1.0', description='Speed of the player.'),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(SHARE / 'launch' / 'localization.launch.py')),
                launch_arguments={'use_sim_time': 'true', 'rviz': 'true'}.items(),
            ),
            ExecuteProcess(
                cmd=[
                    *('ros2', 'bag', 'play', LaunchConfiguration('bag')),
                    *('--rate', LaunchConfiguration('rate')),
                    # Until the node has loaded its map, nothing would answer. An export of the
                    # network comes behind the images and needs no wait.
                    *('--clock', '100', '--delay', '10'),
                ],
                output='screen',
            ),
        ]
    )
