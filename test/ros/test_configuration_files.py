"""The shipped launch file, parameters, RViz layout and transport profile fit the node."""

import ast
import re
from dataclasses import fields
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

pytest.importorskip('rclpy', reason='rclpy is not installed')

from implicit_loc_ros.operation import INITIAL_POSE_TOPIC
from implicit_loc_ros.parameters import Parameters

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'config'
LAUNCH = ROOT / 'launch' / 'localization.launch.py'


def test_the_yaml_file_lists_every_parameter_with_its_default() -> None:
    content = yaml.safe_load((CONFIG / 'localization.yaml').read_text())
    listed = content['/**']['ros__parameters']
    # YAML has lists, a frozen default is a tuple.
    found = {k: tuple(v) if isinstance(v, list) else v for k, v in listed.items()}
    assert found == {item.name: item.default for item in fields(Parameters)}
    assert {name: type(value) for name, value in found.items()} == {
        item.name: type(item.default) for item in fields(Parameters)
    }
    assert {type(value) for value in found['world_alignment']} == {float}


def test_every_parameter_in_the_yaml_file_has_a_comment() -> None:
    lines = (CONFIG / 'localization.yaml').read_text().splitlines()
    for line in lines:
        if re.match(r'    \w+:', line):
            assert '  # ' in line, line


def launch_arguments() -> dict[str, Any]:
    tree = ast.parse(LAUNCH.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'ARGUMENTS':
            assert isinstance(node.value, ast.Tuple)
            return {
                ast.literal_eval(entry.elts[0]): entry
                for entry in node.value.elts
                if isinstance(entry, ast.Tuple)
            }
    raise AssertionError('no ARGUMENTS')


def test_the_launch_file_has_the_documented_arguments() -> None:
    expected = 'namespace params_file use_sim_time autostart log_level rviz image camera_info'
    assert list(launch_arguments()) == [*expected.split(), 'checkpoint', 'device']


def test_the_launch_file_uses_each_of_its_arguments() -> None:
    source = LAUNCH.read_text()
    for name in launch_arguments():
        assert source.count(f"'{name}'") + source.count(f'"{name}"') >= 2, name


def test_the_launch_file_starts_what_setup_py_installs() -> None:
    installed = re.search(
        r"'(\w+) = implicit_loc_ros\.(\w+):main'", (ROOT / 'setup.py').read_text()
    )
    assert installed
    assert f"executable='{installed[1]}'" in LAUNCH.read_text()
    assert (ROOT / 'implicit_loc_ros' / f'{installed[2]}.py').is_file()


def test_the_launch_file_names_files_that_exist() -> None:
    for name in re.findall(r"CONFIG / '([^']+)'", LAUNCH.read_text()):
        assert (CONFIG / name).is_file()


def classes(tree: Any) -> list[str]:
    if isinstance(tree, dict):
        own = [tree['Class']] if 'Class' in tree else []
        return own + [name for value in tree.values() for name in classes(value)]
    if isinstance(tree, list):
        return [name for value in tree for name in classes(value)]
    return []


def test_the_rviz_layout_needs_no_other_plugins() -> None:
    layout = yaml.safe_load((CONFIG / 'localization.rviz').read_text())
    found = {name for name in classes(layout) if name}
    assert {name.split('/')[0] for name in found} == {'rviz_default_plugins', 'rviz_common'}
    assert {'PoseWithCovariance', 'TF', 'Image'} <= {name.split('/')[1] for name in found}


def test_rviz_sends_initial_poses_where_the_node_listens() -> None:
    layout = yaml.safe_load((CONFIG / 'localization.rviz').read_text())
    tools = {tool['Class']: tool for tool in layout['Visualization Manager']['Tools']}
    tool = tools['rviz_default_plugins/SetInitialPose']
    assert tool['Topic']['Value'] == INITIAL_POSE_TOPIC
    assert tool['Topic']['Reliability Policy'] == 'Reliable'


def test_the_transport_profile_has_room_for_large_images() -> None:
    text = (CONFIG / 'fastdds_large_images.xml').read_text()
    tree = ElementTree.fromstring(text)
    namespace = {'dds': tree.tag.split('}')[0].lstrip('{')}
    segment = tree.find('.//dds:segment_size', namespace)
    assert segment is not None
    assert int(segment.text or '') >= 32 * 2**20
    kinds = [node.text for node in tree.findall('.//dds:type', namespace)]
    assert kinds == ['SHM', 'UDPv4']
    used = {
        node.text for node in tree.findall('.//dds:userTransports/dds:transport_id', namespace)
    }
    defined = {
        node.text
        for node in tree.findall('.//dds:transport_descriptor/dds:transport_id', namespace)
    }
    assert used == defined
