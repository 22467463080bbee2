"""Every way to spoil the labels of a recording is diagnosed by its name."""

from dataclasses import replace

import numpy as np
import pytest
from check_scene import (
    BODY_FROM_CAMERA,
    CAMERA,
    FRAMES,
    RATE,
    check_labels,
    check_poses,
    check_seen_through,
    codes,
    flight,
    intact,
    message,
    reordered,
    sample,
    samples,
    turning,
    with_rotations,
)
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from implicit_loc.camera import Camera
from implicit_loc_trainer.check.checking import Report, check
from implicit_loc_trainer.check.recording import Recording
from implicit_loc_trainer.datasets.parsing import inverse
from implicit_loc_trainer.datasets.sample import DataError

FloatArray = NDArray[np.float64]
TRUE = flight()
R, C = TRUE[:, :3, :3], TRUE[:, :3, 3]


def errors(report: Report) -> set[str]:
    return {code for code, grade in codes(report).items() if grade == 'ERROR'}


def moved(translation: FloatArray) -> FloatArray:
    poses = TRUE.copy()
    poses[:, :3, 3] = translation
    return poses


def turned(*diagonal: float) -> FloatArray:
    return with_rotations(TRUE, R @ np.diag(diagonal))


def left_handed() -> FloatArray:
    flip = np.diag([1.0, -1.0, 1.0])
    poses = with_rotations(TRUE, flip @ R @ flip)
    poses[:, :3, 3] = C @ flip
    return poses


def test_true_labels_fit() -> None:
    report = intact()
    assert report.is_fit
    assert codes(report)['labels-fit'] == 'OK'
    assert report.labels is not None
    assert report.labels.given_px < 0.25
    # It is a flight of few frames, and nothing else.
    assert {code for code, grade in codes(report).items() if grade != 'OK'} == {'few-frames'}
    (few,) = (finding for finding in report.findings if finding.code == 'few-frames')
    assert few.values == {'frames': FRAMES}
    assert 'keyframe_distance_m' in few.advice


@pytest.mark.parametrize(
    ('poses', 'code'),
    [
        (inverse(TRUE), 'world-to-camera'),
        (with_rotations(TRUE, R.transpose(0, 2, 1)), 'rotation-world-to-camera'),
        (moved(inverse(TRUE)[:, :3, 3]), 'translation-world-to-camera'),
        (turned(1, -1, -1), 'axes-opengl'),
        (turned(-1, 1, -1), 'axes-left-down-backward'),
        (turned(-1, -1, 1), 'axes-left-up-forward'),
        (with_rotations(TRUE, R @ BODY_FROM_CAMERA.T), 'axes-body'),
        (left_handed(), 'axes-right-up-forward'),
        (reordered(TRUE, (3, 0, 1, 2)), 'quaternion-wxyz'),
        (reordered(TRUE, (1, 2, 3, 0)), 'quaternion-xyzw'),
        (inverse(reordered(inverse(TRUE), (1, 2, 3, 0))), 'quaternion-xyzw'),
        (moved(C * (1, -1, 1)), 'positions-other-axes'),
        (moved(-C), 'positions-other-axes'),
        (inverse(turned(1, -1, -1)), 'world-to-camera+axes-opengl'),
    ],
)
def test_a_wrong_convention_is_named(poses: FloatArray, code: str) -> None:
    report = check_poses(poses)
    assert errors(report) == {code}
    assert report.labels is not None
    assert report.labels.best_px < 0.25
    assert 'these poses look ' in message(report, code)


def test_the_repair_of_a_convention_gives_the_true_relative_poses() -> None:
    report = check_poses(inverse(TRUE))
    assert report.labels is not None
    repaired = report.labels.poses
    np.testing.assert_allclose(
        inverse(repaired[:1]) @ repaired, inverse(TRUE[:1]) @ TRUE, atol=1e-9
    )
    assert 'px as given' in message(report, 'world-to-camera')


@pytest.mark.parametrize(
    ('camera', 'code', 'focal', 'centre'),
    [
        (Camera(240, 180, 219.0, 219.0, 119.5, 89.5), 'focal-length', 197, (119.5, 89.5)),
        (Camera(240, 180, 150.0, 150.0, 119.5, 89.5), 'focal-length', 197, (119.5, 89.5)),
        (Camera(240, 180, 197.0, 230.0, 119.5, 89.5), 'focal-length', 197, (119.5, 89.5)),
        (Camera(240, 180, 197.0, 197.0, 135.5, 80.5), 'principal-point', 197, (119.5, 89.5)),
        (Camera(240, 180, 197.0, 197.0, 89.5, 119.5), 'principal-point', 197, (119.5, 89.5)),
        (
            Camera(240, 180, 98.5, 98.5, 59.5, 44.5),
            'intrinsics-of-another-size',
            197,
            (119.5, 89.5),
        ),
        (
            Camera(240, 180, 219.0, 219.0, 131.5, 83.5),
            'focal-length+principal-point',
            197,
            (119.5, 89.5),
        ),
    ],
)
def test_a_wrong_camera_is_named_and_the_right_one_found(
    camera: Camera, code: str, focal: float, centre: tuple[float, float]
) -> None:
    report = check_poses(TRUE, camera)
    assert errors(report) == {code}
    values = next(finding.values for finding in report.findings if finding.code == code)
    assert values['fx'] == pytest.approx(focal, rel=0.02)
    assert (values['cx'], values['cy']) == pytest.approx(centre, abs=3.0)


def test_a_distortion_that_the_images_do_not_have_is_named() -> None:
    camera = replace(CAMERA, distortion_model='plumb_bob', distortion=(-0.28, 0.07, 0, 0, 0))
    assert errors(check_poses(TRUE, camera)) == {'images-are-rectified'}


def test_a_distortion_that_the_camera_does_not_say_is_measured() -> None:
    lens = replace(CAMERA, distortion_model='plumb_bob', distortion=(-0.2, 0, 0, 0, 0))
    report = check_seen_through(lens)
    assert errors(report) == {'distortion'}
    (finding,) = (one for one in report.findings if one.code == 'distortion')
    assert finding.values['k1'] == pytest.approx(-0.2, abs=0.04)


def test_the_transform_from_the_tracked_frame_to_the_camera_is_found() -> None:
    camera_from_tracked = np.eye(4)
    turn = Rotation.from_euler('xyz', (3, 10, -4), degrees=True)
    camera_from_tracked[:3, :3] = turn.as_matrix()
    camera_from_tracked[:3, 3] = (0.08, 0.02, 0.05)
    report = check_poses(TRUE @ camera_from_tracked)
    assert errors(report) == {'camera-mount'}
    (finding,) = (one for one in report.findings if one.code == 'camera-mount')
    found = np.array(finding.values['tracked_from_camera'])
    left = Rotation.from_matrix(camera_from_tracked[:3, :3] @ found[:3, :3])
    assert np.degrees(left.magnitude()) < 0.5
    np.testing.assert_allclose(camera_from_tracked @ [*found[:3, 3], 1], (0, 0, 0, 1), atol=0.02)


def test_labels_that_shake_are_loose() -> None:
    generator = np.random.default_rng(0)
    shaken = Rotation.from_rotvec(np.radians(generator.normal(0, 0.3, (FRAMES, 3))))
    poses = with_rotations(TRUE, R @ shaken.as_matrix())
    poses[:, :3, 3] += generator.normal(0, 0.005, (FRAMES, 3))
    assert errors(check_poses(poses)) == {'labels-loose'}


def test_a_camera_that_only_turns_shows_no_parallax() -> None:
    report = check(Recording.of({'train': turning()}))
    assert codes(report)['no-parallax'] == 'WARN'
    assert codes(report)['labels-fit'] == 'OK'
    assert errors(report) == {'coverage'}


def test_depth_images_that_cannot_be_read_are_counted() -> None:
    def damaged() -> NDArray[np.float32]:
        raise DataError('depth image 7 is truncated')

    frames = samples(with_depth=True)
    frames[7] = replace(frames[7], load_depth=damaged)
    report = check_labels(frames)
    assert codes(report)['unreadable-depth'] == 'WARN'
    assert message(report, 'unreadable-depth').startswith('1 depth images')
    assert 'depth image 7 is truncated' in message(report, 'unreadable-depth')


def test_a_convention_and_a_camera_that_are_both_wrong_are_both_named() -> None:
    camera = Camera(240, 180, 219.0, 219.0, 119.5, 89.5)
    assert errors(check_poses(inverse(TRUE), camera)) == {'world-to-camera', 'focal-length'}


@pytest.mark.parametrize('frames', [3, -2])
def test_a_time_offset_is_measured(frames: int) -> None:
    report = check_poses(flight(later=frames))
    assert errors(report) == {'time-offset'}
    (finding,) = (one for one in report.findings if one.code == 'time-offset')
    # Poses of three frames later have to be stamped three frames later.
    assert finding.values['offset_s'] == pytest.approx(frames / RATE, abs=0.2 / RATE)
    assert ('ahead of' if frames > 0 else 'behind') in finding.message


def test_shuffled_poses_are_named() -> None:
    order = np.random.default_rng(1).permutation(FRAMES)
    assert errors(check_poses(TRUE[order])) == {'shuffled-poses'}


def test_outlier_poses_are_listed() -> None:
    poses = TRUE.copy()
    poses[[10, 31], :3, :3] = R[[10, 31]] @ Rotation.from_euler('y', 9, degrees=True).as_matrix()
    poses[22, :3, 3] += (0.3, -0.2, 0.1)
    report = check_poses(poses)
    (finding,) = (one for one in report.findings if one.code == 'outlier-poses')
    assert finding.values['frames'] == ['0010', '0022', '0031']
    assert errors(report) == {'outlier-poses'}


def test_a_pose_jump_is_placed() -> None:
    poses = TRUE.copy()
    step = np.eye(4)
    step[:3, :3] = Rotation.from_euler('z', 6, degrees=True).as_matrix()
    step[:3, 3] = (0.4, 0.0, 0.2)
    poses[25:] = step @ poses[25:]
    report = check_poses(poses)
    (finding,) = (one for one in report.findings if one.code == 'pose-jump')
    assert finding.values['after'] == ['0024']
    assert not report.is_fit
    assert 'outlier-poses' not in codes(report)


@pytest.mark.parametrize('which', ['alternate', 'random', 'test split'])
def test_mixed_worlds_are_named(which: str) -> None:
    other = np.eye(4)
    other[:3, :3] = Rotation.from_euler('xyz', (4, 3, 8), degrees=True).as_matrix()
    other[:3, 3] = (0.2, -0.1, 0.1)
    chosen = {
        'alternate': np.arange(FRAMES) % 2 == 1,
        'random': np.random.default_rng(5).random(FRAMES) < 0.45,
        'test split': np.arange(FRAMES) >= 34,
    }[which]
    poses = np.where(chosen[:, None, None], other @ TRUE, TRUE)
    frames = [sample(index, pose) for index, pose in enumerate(poses)]
    report = check_labels(frames, training=34 if which == 'test split' else FRAMES)
    assert 'mixed-worlds' in errors(report)
    text = message(report, 'mixed-worlds')
    assert 'world' in text
    assert ('splits train and test' in text) == (which == 'test split')


def test_test_frames_are_held_against_the_training_frames() -> None:
    report = check_labels(samples(), training=34)
    assert report.is_fit
    (finding,) = (one for one in report.findings if one.code == 'test-coverage')
    distances = np.linalg.norm(C[34:, None] - C[:34], axis=-1).min(axis=1)
    assert np.median(distances) <= finding.values['median_m'] < 0.6


def test_poses_in_millimetres_are_named_with_and_without_depth() -> None:
    report = check_poses(moved(1000.0 * C), with_depth=True)
    assert errors(report) == {'scale'}
    assert 'millimetres' in message(report, 'scale')
    assert 'millimetres' in message(check_poses(moved(1000.0 * C)), 'scale')


def test_a_scale_that_is_no_unit_is_measured() -> None:
    report = check_poses(moved(1.4 * C), with_depth=True)
    assert errors(report) == {'scale'}
    assert '1.4 times' in message(report, 'scale')


def test_poses_at_one_place_give_a_finding() -> None:
    report = check_poses(moved(np.zeros_like(C)))
    assert codes(report)['coverage'] == 'ERROR'
