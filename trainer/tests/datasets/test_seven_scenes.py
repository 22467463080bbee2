"""The 7-Scenes reader: a small scene as its authors distribute it, and every way to spoil it."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from implicit_loc_trainer.datasets import DataError, Sample, open_dataset

# At (1, 2, 3), looking along the world's x axis, with z up: camera-to-world.
POSE = ' 0\t 0\t 1\t 1\n-1\t 0\t 0\t 2\n 0\t-1\t 0\t 3\n 0\t 0\t 0\t 1\n'
# The same camera, world-to-camera: w x y z, then the translation.
WORLD_TO_CAMERA = '0.5 0.5 -0.5 0.5 2 3 -1'


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """Two sequences: one of two frames for training, one of one for testing."""
    folder = tmp_path / 'chess'
    for sequence, frames in (('seq-01', 2), ('seq-02', 1)):
        (folder / sequence).mkdir(parents=True)
        for frame in range(frames):
            stem = folder / sequence / f'frame-{frame:06d}'
            image = np.zeros((480, 640, 3), np.uint8)
            image[..., 2] = 200  # OpenCV writes BGR: this is red
            cv2.imwrite(f'{stem}.color.png', image)
            cv2.imwrite(f'{stem}.depth.png', np.full((480, 640), 65535, np.uint16))
            Path(f'{stem}.pose.txt').write_text(POSE)
    (folder / 'TrainSplit.txt').write_text('sequence1\n')
    (folder / 'TestSplit.txt').write_text('sequence2\n')
    return folder


def assert_sees_known_points(sample: Sample, focal_length: float) -> None:
    """Two metres ahead is the principal point; the world's -y is to the right, -z below."""
    ahead = np.array([[3, 2, 3, 1], [3, 1.5, 3, 1], [3, 2, 2.5, 1]], np.float64)
    points = (np.linalg.inv(sample.world_from_camera) @ ahead.T).T[:, :3]
    expected = [
        (319.5, 239.5),
        (319.5 + focal_length / 4, 239.5),
        (319.5, 239.5 + focal_length / 4),
    ]
    np.testing.assert_allclose(sample.camera.project(points), expected, atol=1e-3)


def test_a_scene_is_read_as_its_authors_mean_it(scene: Path) -> None:
    train, test = open_dataset(scene, 'train'), open_dataset(scene, 'test')
    assert [sample.name for sample in train] == ['seq-01/frame-000000', 'seq-01/frame-000001']
    assert [sample.name for sample in test] == ['seq-02/frame-000000']
    assert [sample.timestamp for sample in train] == [0, pytest.approx(1 / 30)]
    assert_sees_known_points(train[0], 525.0)
    np.testing.assert_array_equal(train[0].load_image()[0, 0], (200, 0, 0))
    # The depth camera's own images are not registered to the colour image.
    assert train[0].load_depth is None
    assert train[0].load_mask is None


def test_alternative_labels_replace_poses_and_focal_length(scene: Path) -> None:
    for name, sequence in (('train', 'seq-01'), ('test', 'seq-02')):
        line = f'{sequence}/frame-000000.color.png {WORLD_TO_CAMERA} 530.5\n'
        (scene / f'chess_{name}.txt').write_text(line)
    (sample,) = open_dataset(scene, 'train')
    assert sample.name == 'seq-01/frame-000000'
    assert_sees_known_points(sample, 530.5)
    (scene / 'chess_test.txt').unlink()
    with pytest.raises(DataError, match=r'chess_test\.txt is missing: .*another world'):
        open_dataset(scene, 'train')


def test_registered_depth_and_masks_lie_beside_the_scene(scene: Path) -> None:
    for kind in ('depth', 'masks'):
        (scene / kind / 'seq-01').mkdir(parents=True)
    depth = np.array([[1500, 65535], [0, 2000]], np.uint16)
    cv2.imwrite(str(scene / 'depth' / 'seq-01' / 'frame-000000.png'), depth)
    mask = np.zeros((480, 640), np.uint8)
    mask[0, 1] = 1
    cv2.imwrite(str(scene / 'masks' / 'seq-01' / 'frame-000000.png'), mask)
    cv2.imwrite(str(scene / 'masks' / 'seq-01' / 'frame-000001.png'), mask[:10])
    first, second = open_dataset(scene, 'train')
    assert first.load_depth is not None
    np.testing.assert_allclose(first.load_depth(), [[1.5, 0], [0, 2]])
    assert first.load_mask is not None
    assert np.argwhere(first.load_mask()).tolist() == [[0, 1]]
    assert second.load_mask is not None
    with pytest.raises(DataError, match='640x10 pixels, the camera 640x480'):
        second.load_mask()


def test_a_list_takes_frames_from_both_splits(scene: Path, tmp_path: Path) -> None:
    listing = tmp_path / 'some.txt'
    listing.write_text('# two\nseq-02/frame-000000\nseq-01/frame-000001\n')
    names = [sample.name for sample in open_dataset(scene, listing)]
    assert names == ['seq-02/frame-000000', 'seq-01/frame-000001']
    listing.write_text('seq-09/frame-000000\n')
    with pytest.raises(DataError, match=r'some\.txt:1: .*seq-09'):
        open_dataset(scene, listing)
    with pytest.raises(DataError, match='train and test'):
        open_dataset(scene, 'validation')


@pytest.mark.parametrize(
    ('pose', 'message'),
    [
        (POSE.replace('-1\t 0\t 0\t 2', '-1\t 0\t 2'), r'pose\.txt:2: .*found 3'),
        (POSE.replace('-1\t 0\t 0\t 2', '-1\t x\t 0\t 2'), r'pose\.txt:2: .*x'),
        (POSE[: POSE.index('-1')], r'pose\.txt: .*found 1'),
        (POSE.replace(' 2\n', ' nan\n'), r'pose\.txt: .*not finite'),
        (POSE.replace('-1\t 0\t 0', '-2\t 0\t 0'), r'pose\.txt: .*not a rotation'),
        (POSE.replace('-1\t 0\t 0', '1\t 0\t 0'), r'pose\.txt: .*mirror'),
        (POSE.replace('0\t 0\t 0\t 1', '0\t 0\t 1\t 1'), r'pose\.txt: the last row'),
    ],
)
def test_a_malformed_pose_is_named(scene: Path, pose: str, message: str) -> None:
    (scene / 'seq-01' / 'frame-000001.pose.txt').write_text(pose)
    with pytest.raises(DataError, match=message):
        open_dataset(scene, 'train')


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('seq-01/frame-000000.color.png 0.5 0.5 -0.5 0.5 2 3 -1', r'_train\.txt:2: .*8 values'),
        ('seq-01/frame-000000.color.png 1 0 0 1 2 3 4 525', r'_train\.txt:2: .*not a rotation'),
        ('seq-01/frame-000000.color.png 1 0 0 nan 2 3 4 525', r'_train\.txt:2: .*not finite'),
        ('seq-01/frame-000000.color.png 1 0 0 0 2 3 4 0', r'_train\.txt:2: the focal length'),
        ('seq-01/frame-000009.color.png 1 0 0 0 2 3 4 525', 'has no image'),
    ],
)
def test_a_malformed_label_names_file_and_line(scene: Path, line: str, message: str) -> None:
    (scene / 'poses_train.txt').write_text(f'# labels\n{line}\n')
    (scene / 'poses_test.txt').write_text('')
    with pytest.raises(DataError, match=message):
        open_dataset(scene, 'train')


def test_missing_files_and_empty_splits(scene: Path) -> None:
    (scene / 'seq-01' / 'frame-000001.pose.txt').unlink()
    with pytest.raises(DataError, match=r'cannot read .*frame-000001\.pose\.txt'):
        open_dataset(scene, 'train')
    (scene / 'TrainSplit.txt').write_text('sequence1\nsequence7\n')
    (scene / 'seq-01' / 'frame-000001.pose.txt').write_text(POSE)
    with pytest.raises(DataError, match=r'TrainSplit\.txt:2: .*seq-07'):
        open_dataset(scene, 'train')
    (scene / 'TrainSplit.txt').write_text('seq-01\n')
    with pytest.raises(DataError, match=r'TrainSplit\.txt:1: expected .*sequence1'):
        open_dataset(scene, 'train')
    (scene / 'TrainSplit.txt').write_text('\n')
    with pytest.raises(DataError, match='has no frames'):
        open_dataset(scene, 'train')
    (scene / 'TrainSplit.txt').unlink()
    with pytest.raises(DataError, match=r'cannot read .*TrainSplit\.txt'):
        open_dataset(scene, 'train')


def test_an_image_of_another_size_is_refused_before_it_is_loaded(scene: Path) -> None:
    cv2.imwrite(str(scene / 'seq-01' / 'frame-000001.color.png'), np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(DataError, match=r'frame-000001\.color\.png has 64x48 .*640x480'):
        open_dataset(scene, 'train')
