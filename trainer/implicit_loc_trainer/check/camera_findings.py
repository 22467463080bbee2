"""Findings about the camera's calibration."""

import math

from scipy.spatial.transform import Rotation

from implicit_loc.camera import Camera
from implicit_loc_trainer.check.calibration import CalibrationFit
from implicit_loc_trainer.check.findings import Finding, Grade
from implicit_loc_trainer.check.labels import LabelDiagnosis
from implicit_loc_trainer.check.mounting import MountFit
from implicit_loc_trainer.check.recording import Recording

# Relative to the given focal length, and to the image's width.
_NEAR_FOCAL, _NEAR_POINT = 0.03, 0.02


def findings(recording: Recording, labels: LabelDiagnosis) -> list[Finding]:
    """What the best camera says about the given one; empty where that fits."""
    camera = recording.samples[0].camera
    if labels.rectified:
        return [_rectified(camera)]
    if labels.mount is not None:
        return [_mounted(labels, labels.mount)]
    if labels.camera is None:
        return []
    fit = labels.camera
    scale_x, scale_y = fit.calibration.focal_scale
    shift_x, shift_y = fit.calibration.shift_px
    found = (
        f'fx {camera.fx * scale_x:.1f}, fy {camera.fy * scale_y:.1f}, '
        f'principal point ({camera.cx + shift_x:.1f}, {camera.cy + shift_y:.1f})'
    )
    given = f'fx {camera.fx:.1f}, fy {camera.fy:.1f}, ({camera.cx:.1f}, {camera.cy:.1f})'
    if fit.calibration.radial != 0.0:
        found += f', k1 about {_radial(fit):+.2f}'
    code, words, advice = _named(camera, fit)
    message = (
        f'{words}: {found} fits with a median error of {fit.error_px:.2f} px, as given '
        f'({given}) it is {labels.error_before_camera:.2f} px'
    )
    values = {
        'fx': camera.fx * scale_x,
        'fy': camera.fy * scale_y,
        'cx': camera.cx + shift_x,
        'cy': camera.cy + shift_y,
        'k1': _radial(fit),
        'focal_scale': math.sqrt(scale_x * scale_y),
        'error_px': fit.error_px,
        'given_error_px': labels.error_before_camera,
    }
    severe = labels.error_before_camera > 1.5 * fit.error_px
    return [Finding(code, Grade.ERROR if severe else Grade.WARN, message, advice, values)]


def _mounted(labels: LabelDiagnosis, mount: MountFit) -> Finding:
    angles = Rotation.from_matrix(mount.tracked_from_camera[:3, :3]).as_rotvec(degrees=True)
    lever = mount.tracked_from_camera[:3, 3]
    turned = ', '.join(f'{angle:.1f}' for angle in angles)
    moved = ', '.join(f'{value:.2f}' for value in lever)
    severe = labels.error_before_camera > 1.5 * mount.error_px
    return Finding(
        'camera-mount',
        Grade.ERROR if severe else Grade.WARN,
        f'the poses look like those of a frame that is rigidly joined to the camera: turned by '
        f'({turned}) deg and moved by ({moved}) m the median error is {mount.error_px:.2f} px, '
        f'without that {labels.error_before_camera:.2f} px',
        'the transform from the tracked frame to the camera is missing or wrong: put it right '
        '(TF, extrinsic calibration)',
        {
            'tracked_from_camera': mount.tracked_from_camera.tolist(),
            'error_px': mount.error_px,
            'given_error_px': labels.error_before_camera,
        },
    )


def _radial(fit: CalibrationFit) -> float:
    """k1 of plumb_bob, in the unit of the focal length found."""
    return fit.calibration.radial


def _named(camera: Camera, fit: CalibrationFit) -> tuple[str, str, str]:
    """Code, words and advice for a camera that is not the given one."""
    scale_x, scale_y = fit.calibration.focal_scale
    scale = math.sqrt(scale_x * scale_y)
    shift_x, shift_y = fit.calibration.shift_px
    found = camera.cx + shift_x, camera.cy + shift_y
    zoomed = scale * (camera.cx + 0.5) - 0.5, scale * (camera.cy + 0.5) - 0.5
    moved = math.hypot(shift_x, shift_y) > _NEAR_POINT * camera.width
    if moved and abs(scale - 1) > 0.1 and _near(found, zoomed, camera):
        size = f'{camera.width / scale:.0f}x{camera.height / scale:.0f}'
        return (
            'intrinsics-of-another-size',
            f'the intrinsics look like those of an image of about {size} pixels',
            f'multiply fx, fy, cx + 0.5 and cy + 0.5 by {scale:.3g} (then subtract the 0.5)',
        )
    if moved and _near(found, (camera.cy, camera.cx), camera):
        return 'principal-point', 'cx and cy look swapped', 'swap cx and cy'
    if fit.calibration.radial != 0.0 and abs(scale - 1) < _NEAR_FOCAL and not moved:
        return (
            'distortion',
            'the lens distorts otherwise than the camera says',
            'calibrate the distortion, or rectify the images',
        )
    if abs(scale_x / scale_y - 1) > _NEAR_FOCAL:
        return (
            'focal-length',
            'fx and fy look wrong, each by another factor',
            'calibrate the camera; images that were stretched need fx and fy stretched as well',
        )
    if moved and abs(scale - 1) > _NEAR_FOCAL:
        words = 'focal length and principal point look wrong'
        return 'focal-length+principal-point', words, 'calibrate the camera'
    if moved:
        return (
            'principal-point',
            f'the principal point looks ({shift_x:+.0f}, {shift_y:+.0f}) px off',
            'calibrate the camera; images that were cropped need cx and cy moved as well',
        )
    return (
        'focal-length',
        f'the focal length looks {100 * abs(1 / scale - 1):.1f} % too '
        f'{"large" if scale < 1 else "small"}',
        f'use {camera.focal_length * scale:.1f} px, or calibrate the camera; many RGB-D cameras '
        'have another focal length for depth than for colour',
    )


def _near(one: tuple[float, float], other: tuple[float, float], camera: Camera) -> bool:
    return math.hypot(one[0] - other[0], one[1] - other[1]) < _NEAR_POINT * camera.width


def _rectified(camera: Camera) -> Finding:
    return Finding(
        'images-are-rectified',
        Grade.ERROR,
        f'the camera states a distortion ({camera.distortion_model}), but without it the labels '
        'fit clearly better: these images look rectified',
        'state the camera without distortion (of CameraInfo use P, not K and D)',
    )
