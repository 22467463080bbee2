"""Many scenes by one command; a small program stands in for the trainings themselves."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from implicit_loc.camera import Camera
from implicit_loc.checkpoint import CheckpointDescription, save_checkpoint
from implicit_loc.network import NetworkConfig, SceneNetwork
from implicit_loc_trainer import cli
from implicit_loc_trainer.many import cluster, jobs
from implicit_loc_trainer.many.jobs import Job, train_scene
from implicit_loc_trainer.many.scenes import INTERRUPTED, Scene, name_scenes
from implicit_loc_trainer.recipes.sections import ConfigError, RunConfig

# Ends as the recording's name says; a checkpoint is a copy of one that was made before.
TRAINING = """
import os, shutil, signal, sys, time
from functools import partial
from pathlib import Path
given = dict(word.removeprefix('--').split('=', 1) for word in sys.argv[2:])
folder = Path(given['run.output'])
print('training on', given['data.path'])
with (folder / 'starts').open('a') as file:
    file.write('started\\n')
kind = Path(given['data.path']).name
if kind == 'broken':
    sys.exit('implicit-loc train: line 3 is malformed')
if kind == 'crash':
    os.kill(os.getpid(), signal.SIGKILL)
if kind == 'slow':
    time.sleep(60)
shutil.copy(CHECKPOINT, folder / 'checkpoint.safetensors')
text = f"data: {{path: '{given['data.path']}'}}\\nrun: {{output: '{folder}'}}\\n"
(folder / 'recipe.yaml').write_text(text)
"""


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a network that knows nothing."""
    path = tmp_path_factory.mktemp('made') / 'checkpoint.safetensors'
    config = NetworkConfig(decoder_channels=8)
    description = CheckpointDescription(
        network=config,
        input_height=48,
        training_camera=Camera(64, 48, 50.0, 50.0, 31.5, 23.5),
        dataset='good',
        dataset_fingerprint='',
        extent=((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        validation={'median_translation_m': 0.123, 'median_rotation_deg': 4.5},
    )
    save_checkpoint(path, SceneNetwork(config), description)
    return path


@pytest.fixture
def work(tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a recipe and recordings; the program in the place of trainings."""
    program = tmp_path / 'program.py'
    program.write_text(f'CHECKPOINT = {str(checkpoint)!r}\n' + TRAINING)
    monkeypatch.setattr(jobs, 'PROGRAM', (sys.executable, str(program)))
    (tmp_path / 'recipe.yaml').write_text('{}')
    for name in ('good', 'broken', 'crash', 'other', 'slow'):
        (tmp_path / 'data' / name).mkdir(parents=True)
    return tmp_path


def _train_many(work: Path, *names: str, options: tuple[str, ...] = ()) -> int:
    recordings = [str(work / 'data' / name) for name in names]
    command = ['train-many', str(work / 'recipe.yaml'), '--data', *recordings]
    return cli.main([*command, '--output', str(work / 'out'), *options])


def _rows(work: Path) -> dict[str, dict[str, object]]:
    rows = json.loads((work / 'out' / 'scenes.json').read_text())['scenes']
    return {row['name']: row for row in rows}


def _starts(work: Path, name: str) -> int:
    return len((work / 'out' / name / 'starts').read_text().splitlines())


def test_a_failure_does_not_stop_the_rest(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _train_many(work, 'broken', 'crash', 'good') == 1
    rows = _rows(work)
    assert {name: row['state'] for name, row in rows.items()} == {
        'broken': 'failed',
        'crash': 'failed',
        'good': 'finished',
    }
    assert rows['broken']['message'] == 'line 3 is malformed'
    assert rows['crash']['message'] == ('ended by SIGKILL: the machine may have run out of memory')
    assert rows['good']['median_translation_m'] == 0.123
    assert Path(str(rows['good']['checkpoint'])).is_file()
    assert 'training on' in (work / 'out' / 'broken' / 'output.log').read_text()
    printed = capsys.readouterr().out
    assert 'line 3 is malformed' in printed
    assert '12.3 cm / 4.50 deg' in printed


def test_the_same_command_trains_only_what_is_not_finished(work: Path) -> None:
    assert _train_many(work, 'broken', 'good') == 1
    minutes = _rows(work)['good']['minutes']
    assert _train_many(work, 'broken', 'good') == 1
    assert (_starts(work, 'broken'), _starts(work, 'good')) == (2, 1)
    row = _rows(work)['good']
    assert row['state'] == 'finished earlier'
    assert row['minutes'] == minutes
    assert row['median_rotation_deg'] == 4.5
    assert _train_many(work, 'good') == 0


def test_a_checkpoint_of_another_recipe_is_not_taken_for_finished(work: Path) -> None:
    assert _train_many(work, 'good') == 0
    assert _train_many(work, 'good', options=('--set', 'optimizer.epochs=7')) == 0
    assert _starts(work, 'good') == 2
    # Another number of devices is no other recipe.
    assert _train_many(work, 'good', options=('--set', 'run.devices=2')) == 0
    assert _starts(work, 'good') == 2


def test_ctrl_c_writes_the_table_and_says_what_is_left(work: Path) -> None:
    program = (
        'import sys; from implicit_loc_trainer import cli; '
        'from implicit_loc_trainer.many import jobs; '
        f'jobs.PROGRAM = {jobs.PROGRAM!r}; sys.exit(cli.main(sys.argv[1:]))'
    )
    recordings = [str(work / 'data' / name) for name in ('good', 'slow', 'other')]
    command = ['train-many', str(work / 'recipe.yaml'), '--data', *recordings]
    process = subprocess.Popen(
        [sys.executable, '-c', program, *command, '--output', str(work / 'out')],
        stdout=subprocess.PIPE,
        text=True,
        # A shell starts what runs in the background with Ctrl-C switched off.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 200
    while not (work / 'out' / 'slow' / 'starts').is_file():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    states = {name: row['state'] for name, row in _rows(work).items()}
    assert states == {'good': 'finished', 'slow': INTERRUPTED, 'other': INTERRUPTED}
    assert '12.3 cm' in printed


def test_two_calls_do_not_share_an_output(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        from implicit_loc_trainer.training.folder_lock import folder_lock

        (work / 'out').mkdir()
        with folder_lock(work / 'out', '.lock', ''):
            os.write(write, b'x')
            time.sleep(60)
        os._exit(0)
    os.read(read, 1)
    try:
        assert _train_many(work, 'good') == 1
        assert 'is in use' in capsys.readouterr().err
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_scenes_are_named_by_their_recordings(tmp_path: Path) -> None:
    (tmp_path / 'kitchen').mkdir()
    (tmp_path / 'drive.mcap').touch()
    found = name_scenes(
        [
            f'{tmp_path}/kitchen/',
            f'{tmp_path}/drive.mcap',
            'demo-room',
            f'hall={tmp_path}/kitchen',
        ],
        tmp_path / 'out',
    )
    assert [scene.name for scene in found] == ['kitchen', 'drive', 'demo-room', 'hall']
    assert found[2].data == 'demo-room'
    assert found[3].data == str(tmp_path / 'kitchen')
    assert found[3].folder == tmp_path / 'out' / 'hall'


@pytest.mark.parametrize(
    ('recordings', 'message'),
    [
        (['a/kitchen', 'b/kitchen'], 'two recordings of the name kitchen'),
        (['=path'], 'NAME=path'),
        (['name='], 'give it a name'),
        (['../up=path'], 'give it a name'),
        (['good', '/nowhere/*'], r'--data /nowhere/\*: no recording matches this pattern'),
        (['all=runs/seq-0[12]'], 'no recording matches this pattern'),
    ],
)
def test_names_and_patterns_that_are_of_no_recording_are_refused(
    recordings: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        name_scenes(recordings, Path('out'))


def test_a_mistake_in_the_recipe_stops_before_anything_starts(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _train_many(work, 'good', options=('--set', 'optimizer.epoch=7')) == 1
    assert 'optimizer.epoch' in capsys.readouterr().err
    assert not (work / 'out').exists()


def test_a_table_that_is_no_table_is_named(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (work / 'out').mkdir()
    (work / 'out' / 'scenes.json').write_text('{"scenes": [3')
    assert _train_many(work, 'good') == 1
    assert 'scenes.json is not what train-many wrote' in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_the_failure_of_its_scene(work: Path) -> None:
    (work / 'taken').touch()
    scene = Scene('good', str(work / 'data' / 'good'), work / 'taken' / 'good')
    outcome = train_scene(Job(scene, (), str(work)))
    assert outcome.state == 'failed'
    assert 'taken' in outcome.message


def test_ray_that_is_missing_says_what_to_install(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, 'ray', None)
    assert _train_many(work, 'good', options=('--ray',)) == 1
    assert "pip install 'implicit-loc-trainer[ray]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ('run', 'resources', 'expected'),
    [
        (RunConfig(), {'CPU': 8, 'GPU': 2}, {'num_gpus': 1}),
        (RunConfig(devices=2), {'CPU': 8, 'GPU': 2}, {'num_gpus': 2}),
        (RunConfig(device='cpu', threads=3), {'CPU': 8, 'GPU': 2}, {'num_cpus': 3}),
        (RunConfig(), {'CPU': 8}, {'num_cpus': 1}),
    ],
)
def test_a_scene_takes_gpus_where_there_are_any(
    run: RunConfig, resources: dict[str, float], expected: dict[str, float]
) -> None:
    assert cluster._share(run, [{'Alive': True, 'Resources': resources}]) == expected


@pytest.mark.parametrize('run', [RunConfig(device='cuda'), RunConfig(device='cpu', threads=9)])
def test_a_scene_too_large_for_every_machine_is_refused(run: RunConfig) -> None:
    machines = [
        {'Alive': True, 'Resources': {'CPU': 8}},
        {'Alive': False, 'Resources': {'CPU': 64, 'GPU': 8}},
    ]
    with pytest.raises(cluster.ClusterError, match='no machine of the cluster has more than'):
        cluster._share(run, machines)


@pytest.mark.skipif(
    importlib.util.find_spec('ray') is None,
    reason="Ray is not installed (pip install 'implicit-loc-trainer[ray]')",
)
def test_ray_trains_what_can_be_trained(work: Path) -> None:
    """On a cluster of this machine; tasks get the program from their job."""
    recordings = ('good', 'broken', 'crash')
    assert _train_many(work, *recordings, options=('--ray', '--set', 'run.device=cpu')) == 1
    states = {name: row['state'] for name, row in _rows(work).items()}
    assert states == {'good': 'finished', 'broken': 'failed', 'crash': 'failed'}
