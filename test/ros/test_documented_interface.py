"""What the documentation and the layouts say about the node is what the node has."""

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

pytest.importorskip('rclpy', reason='rclpy is not installed')
pytest.importorskip('tf2_ros', reason='tf2_ros is not installed')

import rclpy

from implicit_loc_ros.counting import Statistics, Trust
from implicit_loc_ros.diagnostics import PAUSED, Inputs, status_of
from implicit_loc_ros.node import NAME, LocalizationNode
from implicit_loc_ros.parameters import TF_MODES, Parameters
from implicit_loc_ros.pipeline import REASONS
from implicit_loc_ros.pose_gate import Tracking

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'config'
README, OPERATION = ROOT / 'README.md', ROOT / 'docs' / 'operation.md'
PAGES = [README, OPERATION]

# What every node of rclpy has.
COMMON = re.compile(r'/(rosout|parameter_events|tf_static|clock|.*/transition_event)$')
COMMON_SERVICES = re.compile(
    r'/(\w+_parameters(_atomically)?|get_parameter_types|get_type_description|change_state'
    r'|get_state|get_available_states|get_available_transitions|get_transition_graph)$'
)

# Message classes of RViz's displays and tools.
RVIZ_CLASSES = {
    'PoseWithCovariance': 'geometry_msgs/msg/PoseWithCovarianceStamped',
    'Path': 'nav_msgs/msg/Path',
    'PointCloud2': 'sensor_msgs/msg/PointCloud2',
    'Image': 'sensor_msgs/msg/Image',
    'SetInitialPose': 'geometry_msgs/msg/PoseWithCovarianceStamped',
}


def tables(page: Path, heading: str) -> Iterator[list[str]]:
    """Cells of the rows of the tables with this first heading."""
    rows: list[list[str]] = []
    for line in [*page.read_text().splitlines(), '']:
        if line.startswith('|'):
            rows.append([cell.strip() for cell in line.strip('|').split('|')])
        else:
            if rows and rows[0][0] == heading:
                yield from rows[2:]
            rows = []


def names(cell: str) -> list[str]:
    return re.findall(r'`([^`]+)`', cell)


@pytest.fixture(scope='module')
def interface(tiny_checkpoint: Path) -> SimpleNamespace:
    """Names and types of an active node's topics and services, for raw and compressed images."""
    found = SimpleNamespace(publishers={}, subscriptions={}, services={})
    for transport in ('raw', 'compressed'):
        values = {
            'checkpoint': str(tiny_checkpoint),
            'device': 'cpu',
            'image_transport': transport,
            'runtime': 'eager',
            'tf_mode': 'map_to_odom',
            'use_sim_time': 'true',
        }
        arguments = [a for k, v in values.items() for a in ('-p', f'{k}:={v}')]
        # The graph remembers a node for a while: two of one name would be one.
        space = f'/{transport}'
        rclpy.init(args=['--ros-args', '-r', f'__ns:={space}', *arguments])
        node = LocalizationNode()
        assert node.start()
        for kind, get in (
            ('publishers', node.get_publisher_names_and_types_by_node),
            ('subscriptions', node.get_subscriber_names_and_types_by_node),
            ('services', node.get_service_names_and_types_by_node),
        ):
            own = {name.removeprefix(space): types[0] for name, types in get(NAME, space)}
            getattr(found, kind).update(own)
        node.close()
        node.destroy_node()
        rclpy.try_shutdown()
    return found


def test_the_security_policy_allows_what_the_node_needs_and_no_more(
    interface: SimpleNamespace,
) -> None:
    policy = ElementTree.parse(CONFIG / 'sros2_policy.xml')
    (profile,) = policy.iter('profile')
    assert (profile.get('ns'), profile.get('node')) == ('/', NAME)

    def allowed(kind: str, right: str) -> set[str]:
        groups = [group for group in profile.iter(f'{kind}s') if group.get(right) == 'ALLOW']
        return {full(item.text or '') for group in groups for item in group.iter(kind)}

    assert allowed('topic', 'publish') == set(interface.publishers)
    assert allowed('topic', 'subscribe') == set(interface.subscriptions)
    assert allowed('service', 'reply') == set(interface.services)
    assert not allowed('service', 'request')


def full(name: str) -> str:
    if name.startswith('/'):
        return name
    return name.replace('~', f'/{NAME}') if name.startswith('~') else f'/{name}'


def types_of(rows: Iterator[list[str]], middle: str) -> dict[str, str]:
    return {full(names(row[0])[0]): row[1].replace('/', f'/{middle}/') for row in rows}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_the_topics_are_those_of_the_node(interface: SimpleNamespace, page: Path) -> None:
    found = {**interface.publishers, **interface.subscriptions}
    own = {name: kind for name, kind in found.items() if not COMMON.match(name)}
    assert types_of(tables(page, 'topic'), 'msg') == own
    for row in tables(page, 'topic'):
        direction = interface.subscriptions if row[2].startswith('in') else interface.publishers
        assert row[2].startswith(('in', 'out'))
        assert full(names(row[0])[0]) in direction


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_the_services_are_those_of_the_node(interface: SimpleNamespace, page: Path) -> None:
    own = {n: k for n, k in interface.services.items() if not COMMON_SERVICES.search(n)}
    assert types_of(tables(page, 'service'), 'srv') == own


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_every_tf_mode_is_told(page: Path) -> None:
    assert tuple(names(row[0])[0] for row in tables(page, '`tf_mode`')) == TF_MODES


def written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f'[{", ".join(written(item) for item in value)}]'
    return f'{value:g}' if isinstance(value, float) else str(value) or "''"


def test_every_parameter_is_told_with_its_default_and_when_it_may_change() -> None:
    told = {names(row[0])[0]: (names(row[1])[0], row[2]) for row in tables(OPERATION, 'parameter')}
    expected = {
        item.name: (written(item.default), 'yes' if item.metadata['changes_at_run_time'] else '')
        for item in fields(Parameters)
    }
    assert told == expected


def test_the_choices_of_each_parameter_are_told() -> None:
    for row in tables(OPERATION, 'parameter'):
        item = next(item for item in fields(Parameters) if item.name == names(row[0])[0])
        assert set(item.metadata['choices']) <= set(names(row[3])), item.name


def test_the_parameters_of_the_readme_exist_with_these_defaults() -> None:
    known = {item.name: item.default for item in fields(Parameters)}
    rows = list(tables(README, 'parameter'))
    assert rows
    for row in rows:
        told = names(row[0])
        defaults = row[1].split(', ') if len(told) > 1 else [row[1]]
        for name, default in zip(told, defaults, strict=True):
            # A value, and its unit.
            pattern = re.escape(written(known[name])) + r'( [\w/]+)?'
            assert re.fullmatch(pattern, default.strip('`')), name


def diagnostic_keys() -> set[str]:
    statistics = Statistics()
    statistics.image_received(1)
    for reason in ('jump', 'stale'):
        statistics.refused(reason, 'text')
    statistics.skipped('max_rate')
    statistics.answered(Trust(0.9, 0.1, 0.1), {'network': 0.01, 'total': 0.02}, 0.1)
    inputs = Inputs(
        image_topic='/image',
        image_publishers=1,
        image_reliable=True,
        camera_info_topic='/camera_info',
        has_camera_info=True,
        device='cpu',
    )
    return {value.key for value in status_of('node', statistics.summary(), inputs).values}


def test_every_key_of_the_diagnostics_is_told_and_no_other() -> None:
    told = [names(row[0])[0] for row in tables(OPERATION, 'key')]
    patterns = [re.compile(re.escape(key).replace(r'\.\.\.', '.+') + '$') for key in told]
    keys = diagnostic_keys()
    for key in keys:
        # The stages' `... (ms)` also fits the age.
        assert key in told or any(p.match(key) for p in patterns if '.+' in p.pattern), key
    for key, pattern in zip(told, patterns, strict=True):
        assert any(pattern.match(found) for found in keys), key


def test_every_state_and_every_reason_is_told() -> None:
    states = {names(row[0])[0] for row in tables(OPERATION, 'state')}
    assert states == {*(state.value for state in Tracking), PAUSED}
    told = {names(row[0])[0] for row in tables(OPERATION, 'reason')}
    source = ''.join(path.read_text() for path in (ROOT / 'implicit_loc_ros').glob('*.py'))
    # Given as literals: refusals by the reception and the pipeline, verdicts of the gate, skips.
    given = re.findall(r"_refuse\((?:[\w.]*number, )?'([^']+)'", source)
    given += re.findall(r"Verdict\('([^']+)'", source)
    given += re.findall(r"\.skipped\('([^']+)'\)", source)
    assert {'no stamp', 'stale', 'jump', 'paused'} <= set(given)
    assert told == {*given, *REASONS.values(), 'other', 'defect', 'max_rate', 'on demand'}


def test_the_rviz_layout_shows_topics_that_the_node_has(interface: SimpleNamespace) -> None:
    manager = yaml.safe_load((CONFIG / 'localization.rviz').read_text())['Visualization Manager']
    found = {**interface.publishers, **interface.subscriptions}
    shown = set()
    for item in (*manager['Displays'], *manager['Tools']):
        kind = item['Class'].removeprefix('rviz_default_plugins/')
        assert kind in (*RVIZ_CLASSES, 'Grid', 'TF', 'MoveCamera', 'Select', 'FocusCamera')
        if 'Topic' in item:
            topic = full(item['Topic']['Value'])
            assert found[topic] == RVIZ_CLASSES[kind], item['Name' if 'Name' in item else 'Class']
            shown.add(topic)
    wanted = ('pose_with_covariance', 'path', 'points', 'debug_image')
    assert {full(f'~/{name}') for name in wanted} | {'/initialpose'} <= shown


def strings(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        yield from (text for key, value in tree.items() for text in (key, *strings(value)))
    elif isinstance(tree, list):
        yield from (text for value in tree for text in strings(value))
    elif isinstance(tree, str):
        yield tree


def test_the_foxglove_layout_shows_topics_that_the_node_has(interface: SimpleNamespace) -> None:
    layout = json.loads((CONFIG / 'foxglove_layout.json').read_text())
    found = {**interface.publishers, **interface.subscriptions}
    topics = {text.split('.')[0] for text in strings(layout) if text.startswith('/')}
    # The 3D panel's other tools publish there; nobody of ours listens.
    assert topics - set(found) == {'/goal_pose', '/clicked_point'}
    wanted = ('pose_with_covariance', 'path', 'points', 'debug_image')
    assert {full(f'~/{name}') for name in wanted} | {'/initialpose', '/diagnostics'} <= topics
    panels = layout['configById']
    assert {name.split('!')[0] for name in panels} == {'3D', 'Image', 'DiagnosticSummary', 'Plot'}
    # Each panel has its place.
    assert set(panels) <= set(strings(layout['layout']))
    image = panels['Image!debug']['imageMode']['imageTopic']
    assert found[image] == 'sensor_msgs/msg/Image'
    publish = panels['3D!localization']['publish']
    assert found[publish['poseEstimateTopic']] == RVIZ_CLASSES['SetInitialPose']
    assert publish['type'] == 'pose_estimate'


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r'\]\(([^)#:]+)(?:#[^)]*)?\)', page.read_text()):
        assert (page.parent / target).exists(), target
