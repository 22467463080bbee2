"""One self-describing file; anything else is refused with its own reason."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from implicit_loc.calibration import Calibration
from implicit_loc.checkpoint import (
    CheckpointDescription,
    load_checkpoint,
    read_description,
    save_checkpoint,
    save_described_anew,
)
from implicit_loc.confidence import ConfidenceModel
from implicit_loc.errors import CheckpointError
from implicit_loc.network import NetworkConfig, SceneNetwork


def test_a_checkpoint_comes_back(
    tmp_path: Path, untrained_network: SceneNetwork, description: CheckpointDescription
) -> None:
    """The description exactly, the weights exactly in fp32 and nearly in fp16."""
    for half, tolerance in ((False, 0.0), (True, 2e-3)):
        path = tmp_path / f'{half}.safetensors'
        save_checkpoint(path, untrained_network, description, half_precision=half)
        network, read = load_checkpoint(path)
        assert read == description
        assert not network.training
        for name, tensor in untrained_network.state_dict().items():
            torch.testing.assert_close(
                network.state_dict()[name], tensor, rtol=tolerance, atol=tolerance / 10
            )
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith('.')] == []


def test_a_header_from_before_an_entry_existed_still_loads(
    tmp_path: Path, checkpoint_path: Path, description: CheckpointDescription
) -> None:
    """The layout that it leaves out is the one that all checkpoints had then."""
    first_entries = {
        *('backbone', 'stride', 'decoder_channels', 'near', 'far'),
        *('canonical_focal_length', 'scene_centre', 'scene_scale'),
    }
    network = {n: v for n, v in asdict(description.network).items() if n in first_entries}
    header = {**asdict(description), 'network': network}
    loaded, read = load_checkpoint(_rewrite(checkpoint_path, tmp_path / 'old', header))
    assert read == description
    image, focal_length = torch.randn(1, 3, 49, 67), torch.tensor([131.0])
    with torch.inference_mode():
        found = loaded(image, focal_length)
        expected = load_checkpoint(checkpoint_path)[0](image, focal_length)
    torch.testing.assert_close(found.world_points, expected.world_points, rtol=0, atol=0)
    torch.testing.assert_close(found.depth, expected.depth, rtol=0, atol=0)


def test_a_header_from_before_calibrations_has_that_of_an_unknown_map(
    tmp_path: Path, checkpoint_path: Path, description: CheckpointDescription
) -> None:
    header = {**asdict(description), 'covariance_calibration': []}
    del header['calibration']
    read = load_checkpoint(_rewrite(checkpoint_path, tmp_path / 'old', header))[1]
    assert read == description
    assert read.calibration == Calibration()


@pytest.mark.parametrize('half', [True, False])
def test_a_checkpoint_described_anew_keeps_its_weights(
    tmp_path: Path, untrained_network: SceneNetwork, description: CheckpointDescription, half: bool
) -> None:
    """Bit by bit, in the precision in which they are stored; also in its own place."""
    path = tmp_path / 'map.safetensors'
    save_checkpoint(path, untrained_network, description, half_precision=half)
    before = load_file(path)
    calibration = Calibration(1.5, 2.5, ConfidenceModel(bias=-1.0), 55)
    save_described_anew(path, path, replace(description, calibration=calibration))
    assert load_checkpoint(path)[1].calibration == calibration
    after = load_file(path)
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert after[name].dtype == tensor.dtype
        assert torch.equal(after[name], tensor)


def test_every_choice_of_a_layout_comes_back(
    tmp_path: Path, description: CheckpointDescription
) -> None:
    config = NetworkConfig(
        coarsest_stride=16,
        decoder_channels=8,
        depth_scale='logarithmic',
        canonical_depth=False,
        camera_output='points',
        world_output='homogeneous',
    )
    network, path = SceneNetwork(config).eval(), tmp_path / 'chosen.safetensors'
    save_checkpoint(path, network, replace(description, network=config), half_precision=False)
    loaded, read = load_checkpoint(path)
    assert read.network == config
    image, focal_length, rays = torch.randn(1, 3, 49, 67), torch.tensor([131.0]), torch.zeros(3)
    with torch.inference_mode():
        found, expected = loaded(image, focal_length), network(image, focal_length)
    torch.testing.assert_close(found.world_points, expected.world_points, rtol=0, atol=0)
    torch.testing.assert_close(
        found.camera_points(rays), expected.camera_points(rays), rtol=0, atol=0
    )


def test_an_existing_file_survives_a_failed_save(
    tmp_path: Path, untrained_network: SceneNetwork, description: CheckpointDescription
) -> None:
    """Weights that are not finite are not saved, and nothing is lost."""
    path = tmp_path / 'kept.safetensors'
    save_checkpoint(path, untrained_network, description)
    before = path.read_bytes()
    spoiled = SceneNetwork(untrained_network.config)
    with torch.no_grad():
        next(spoiled.parameters()).fill_(torch.nan)
    with pytest.raises(CheckpointError, match='not finite'):
        save_checkpoint(path, spoiled, description)
    assert path.read_bytes() == before


def _rewrite(path: Path, target: Path, header: object = None, drop: str = '', **extra) -> Path:
    tensors = load_file(path) | extra
    tensors.pop(drop, None)
    text = header if isinstance(header, str) else json.dumps(header)
    save_file(tensors, target, metadata={'implicit_loc': text})
    return target


def test_missing_and_foreign_files(tmp_path: Path, checkpoint_path: Path) -> None:
    """Each names the file and says what it is."""
    with pytest.raises(CheckpointError, match=r'nowhere\.safetensors does not exist'):
        load_checkpoint(tmp_path / 'nowhere.safetensors')
    with pytest.raises(CheckpointError, match='is a folder'):
        load_checkpoint(tmp_path)
    for content in (b'', b'not a checkpoint', b'\x80\x02}q\x00.', b'\xff' * 64):
        foreign = tmp_path / 'foreign.safetensors'
        foreign.write_bytes(content)
        with pytest.raises(CheckpointError, match='truncated or no safetensors file'):
            load_checkpoint(foreign)
    other = tmp_path / 'other.safetensors'
    save_file({'weight': torch.zeros(3)}, other)
    with pytest.raises(CheckpointError, match='something else'):
        load_checkpoint(other)
    whole = checkpoint_path.read_bytes()
    for length in (4, 100, len(whole) // 2, len(whole) - 1):
        cut = tmp_path / 'cut.safetensors'
        cut.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r'cut\.safetensors is truncated'):
            load_checkpoint(cut)


def test_the_description_alone_needs_no_weights(
    tmp_path: Path, checkpoint_path: Path, description: CheckpointDescription
) -> None:
    """It is the whole one, or the reason why there is none; the weights are not looked at."""
    assert read_description(str(checkpoint_path)) == description
    name = next(iter(load_file(checkpoint_path)))
    lacking = _rewrite(checkpoint_path, tmp_path / 'lacking', asdict(description), drop=name)
    assert read_description(lacking) == description
    cut = tmp_path / 'cut'
    cut.write_bytes(checkpoint_path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match='cut is truncated'):
        read_description(cut)
    with pytest.raises(CheckpointError, match='does not exist'):
        read_description(tmp_path / 'nowhere')
    header = asdict(replace(description, format_version=7))
    with pytest.raises(CheckpointError, match='has format 7'):
        read_description(_rewrite(checkpoint_path, tmp_path / 'new', header))


@pytest.mark.parametrize('name', ['n' * 300, '~nobody-has-this-name/map', 'nul\0'])
def test_names_that_no_file_can_have(name: str) -> None:
    """A parameter of a running node may hold anything."""
    for read in (read_description, load_checkpoint):
        with pytest.raises(CheckpointError, match=r'cannot be opened|does not exist'):
            read(name)


def test_another_version_says_what_helps(
    tmp_path: Path, checkpoint_path: Path, description: CheckpointDescription
) -> None:
    header = asdict(replace(description, format_version=7))
    path = _rewrite(checkpoint_path, tmp_path / 'new.safetensors', header)
    with pytest.raises(CheckpointError, match='has format 7, this version reads 1'):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ('entry', 'value', 'message'),
    [
        ('input_height', -1, 'input_height'),
        ('training_camera', {'width': 1}, 'malformed'),
        ('network', {'stride': 3, 'scene_centre': [0, 0, 0]}, 'stride 3 is not known'),
        ('network', {'depth_scale': 'cubic', 'scene_centre': [0, 0, 0]}, "'cubic' is not known"),
        ('network', {'backbone': ['resnet34'], 'scene_centre': [0, 0, 0]}, 'malformed'),
        ('network', {'unheard_of': 1, 'scene_centre': [0, 0, 0]}, 'unheard_of'),
        ('network', None, 'malformed'),
        ('network', {'decoder_channels': 12.5, 'scene_centre': [0, 0, 0]}, 'malformed'),
        ('network', {'scene_centre': ['a', 'b', 'c']}, 'malformed'),
        ('extent', [1], 'malformed'),
        ('surprise', 1, 'surprise'),
        ('calibration', {'frames': 3}, 'its calibration'),
        ('calibration', None, 'its calibration'),
    ],
)
def test_a_malformed_header_is_refused(
    tmp_path: Path,
    checkpoint_path: Path,
    description: CheckpointDescription,
    entry: str,
    value: object,
    message: str,
) -> None:
    header = {**asdict(description), entry: value}
    path = _rewrite(checkpoint_path, tmp_path / 'bad.safetensors', header)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


@pytest.mark.parametrize('header', ['', '{', '[]', '"text"', 'null'])
def test_a_header_that_is_no_header(tmp_path: Path, checkpoint_path: Path, header: str) -> None:
    path = _rewrite(checkpoint_path, tmp_path / 'bad.safetensors', header)
    with pytest.raises(CheckpointError, match='damaged'):
        load_checkpoint(path)


def test_weights_that_differ_from_the_header(
    tmp_path: Path, checkpoint_path: Path, description: CheckpointDescription
) -> None:
    """Missing, unknown, of another shape, not finite."""
    header, target = asdict(description), tmp_path / 'bad.safetensors'
    name = 'depth_head.8.bias'
    assert name in load_file(checkpoint_path)
    with pytest.raises(CheckpointError, match=f'lacks the weight {name}'):
        load_checkpoint(_rewrite(checkpoint_path, target, header, drop=name))
    with pytest.raises(CheckpointError, match='unknown weight stowaway'):
        load_checkpoint(_rewrite(checkpoint_path, target, header, stowaway=torch.zeros(1)))
    with pytest.raises(CheckpointError, match='has shape'):
        load_checkpoint(_rewrite(checkpoint_path, target, header, **{name: torch.zeros(2)}))
    not_finite = {name: torch.tensor([torch.inf])}
    with pytest.raises(CheckpointError, match='not finite'):
        load_checkpoint(_rewrite(checkpoint_path, target, header, **not_finite))
