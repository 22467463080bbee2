"""Two cameras on one robot, a node for each in the namespaces `front` and `rear`.

Takes the arguments of localization.launch.py but for params_file and namespace: the parameters
are those of config/examples/two_cameras.yaml, which says more. Topics are those of each
namespace, such as /front/image.
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

SHARE = Path(__file__).resolve().parent.parent
PARAMETERS = str(SHARE / 'config' / 'examples' / 'two_cameras.yaml')


def generate_launch_description() -> LaunchDescription:
    """Two nodes on one map."""
    return LaunchDescription(
        [
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(SHARE / 'launch' / 'localization.launch.py')),
                launch_arguments={'params_file': PARAMETERS, 'namespace': namespace}.items(),
            )
            for namespace in ('front', 'rear')
        ]
    )
