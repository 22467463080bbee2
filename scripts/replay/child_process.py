"""Child processes that never outlive their parent's work, and what they share."""

import os
import random
from pathlib import Path

from implicit_loc_trainer.child_processes import Child, running

__all__ = ['ROOT', 'Child', 'running', 'transport_environment']

ROOT = Path(__file__).resolve().parents[2]


def transport_environment() -> dict[str, str]:
    """Variables for all processes of one replay; those that the user has set stay.

    A DDS domain of their own on this machine only, and room for images in shared memory, which
    Fast DDS 2 (Jazzy) and 3 (Kilted) read from different variables.
    """
    profile = str(ROOT / 'config' / 'fastdds_large_images.xml')
    ours = {
        'ROS_DOMAIN_ID': str(random.randint(1, 100)),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'FASTRTPS_DEFAULT_PROFILES_FILE': profile,
        'FASTDDS_DEFAULT_PROFILES_FILE': profile,
    }
    return {name: os.environ.get(name) or value for name, value in ours.items()}
