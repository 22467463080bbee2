"""Build description of the ROS package, which ships the core and the node."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = 'implicit_loc_ros'


def shared_files(folder: str) -> list[tuple[str, list[str]]]:
    """Return the data_files entries of a folder and its subfolders, relative to the prefix.

    Without exported networks, which belong to the machine that made them.
    """
    entries: dict[str, list[str]] = {}
    for path in sorted(Path(folder).rglob('*')):
        if path.is_file() and path.suffix != '.onnx' and '__pycache__' not in path.parts:
            entries.setdefault(f'share/{NAME}/{path.parent.as_posix()}', []).append(str(path))
    return list(entries.items())


setup(
    name=NAME,
    version='0.1.0',
    description='Localizes a camera in a place that it was shown before, from one image.',
    license='Apache-2.0',
    maintainer='Implicit Loc maintainers',
    maintainer_email='maintainers@implicit-loc.org',
    python_requires='>=3.11',
    packages=find_packages(
        include=['implicit_loc', 'implicit_loc.*', 'implicit_loc_ros', 'implicit_loc_ros.*']
    ),
    package_data={'implicit_loc': ['py.typed'], 'implicit_loc_ros': ['py.typed']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (f'share/{NAME}', ['package.xml']),
        *shared_files('launch'),
        *shared_files('config'),
        *shared_files('models'),
    ],
    install_requires=[
        'numpy',
        'opencv-python-headless',
        'safetensors',
        'torch',
        'torchvision',
    ],
    extras_require={
        'hrnet': ['timm>=1.0'],
        'onnx': ['onnx', 'onnxruntime', 'onnxscript'],
        'test': ['pytest'],
    },
    entry_points={
        'console_scripts': [
            'localization_node = implicit_loc_ros.localization_node:main',
            'evaluate_bag = implicit_loc_ros.evaluate_bag:main',
        ],
    },
    zip_safe=False,
)
