"""Images and depth of the demo room for any pose and camera."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc_trainer.demo_room.lighting import LEVELS, build_atlas
from implicit_loc_trainer.demo_room.raster import Frame, View, rasterise, view_of
from implicit_loc_trainer.demo_room.scene import build_scene
from implicit_loc_trainer.demo_room.shapes import Array, Patch
from implicit_loc_trainer.demo_room.shell import LAMP_COLOURS, LAMPS
from implicit_loc_trainer.demo_room.textures import TEXELS_PER_METRE

# Of the footprint's longer axis, seen at a slant, this much counts for the mip level: 1 would
# never alias but blur the floor, 0.5 (the area) would flicker.
SLANT_SHARE = 0.75
NOISE_STANDARD_DEVIATION = 2.2
NOISE_TILE = 1024


class DemoRoom:
    """The demo room, painted and lit once, then rendered from anywhere.

    Example:
        room = demo_room()
        rgb, depth = room.render(world_from_camera, camera, frame_seed=0)
    """

    def __init__(self) -> None:
        self._scene = build_scene()
        self._atlas = build_atlas(self._scene)
        surfaces = self._scene.surfaces
        self._gloss = np.array([surface.material.gloss for surface in surfaces], np.float32)
        self._sharpness = np.array(
            [surface.material.sharpness for surface in surfaces], np.float32
        )
        patches = [surface for surface in surfaces if isinstance(surface, Patch)]
        self._normals = np.array([patch.normal for patch in patches])
        self._origins = np.array([patch.origin for patch in patches])
        generator = np.random.default_rng(2024)
        shape = (NOISE_TILE, NOISE_TILE, 3)
        grain = generator.standard_normal(shape, dtype=np.float32)
        self._grain = NOISE_STANDARD_DEVIATION * grain

    def render(
        self, world_from_camera: NDArray[np.float64], camera: Camera, frame_seed: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Render one frame; equal arguments give equal bytes.

        Args:
            world_from_camera: (4, 4), metres, optical frame (x right, y down, z forward).
            camera: Any model; its rays are followed as they are.
            frame_seed: Seeds the sensor's noise and exposure.

        Returns:
            Image (height, width, 3) uint8 RGB, and depth along the optical axis, (height, width)
            float32 metres, 0 where the distortion model has no ray.
        """
        view = view_of(camera)
        pose = np.asarray(world_from_camera, np.float64)
        frame = rasterise(self._scene.surfaces, self._atlas, view, pose)
        picture = self._textured(frame, view)
        picture += self._highlights(frame, view, pose)
        return self._exposed(picture, frame, view, frame_seed), frame.depth

    def _textured(self, frame: Frame, view: View) -> Array:
        """Look the textures up, between the two nearest mip levels, (h, w, 3) float32."""
        # A surface at depth z and distance d from the camera's centre along its normal is seen
        # under the cosine d / (z |ray|).
        pixels = TEXELS_PER_METRE / view.focal_length * np.maximum(frame.depth, 1e-3)
        slant = frame.depth * view.ray_length / frame.plane_distance[frame.surface]
        level = np.log2(pixels) + SLANT_SHARE * np.log2(np.maximum(slant, 1.0))
        level = np.clip(level, 0.0, LEVELS - 1.001)
        coarse = np.floor(level)
        weight = (level - coarse).astype(np.float32)
        first = self._sampled(frame, coarse.astype(np.intp))
        second = self._sampled(frame, coarse.astype(np.intp) + 1)
        blended: Array = cv2.blendLinear(first, second, 1.0 - weight, weight)
        return blended.astype(np.float32)

    def _sampled(self, frame: Frame, level: NDArray[np.intp]) -> NDArray[np.uint8]:
        scale = (0.5 ** np.arange(LEVELS)).astype(np.float32)[level]
        left, top = (self._atlas.levels[:, axis][level] - np.float32(0.5) for axis in (0, 1))
        columns = (frame.u + np.float32(0.5)) * scale + left
        rows = (frame.v + np.float32(0.5)) * scale + top
        return np.asarray(cv2.remap(self._atlas.image, columns, rows, cv2.INTER_LINEAR), np.uint8)

    def _highlights(self, frame: Frame, view: View, world_from_camera: Array) -> Array:
        """Mirror images of the lamps, blurred by the gloss of the surface (Phong's model)."""
        total = np.zeros((*frame.depth.shape, 3), np.float32)
        centre, camera_from_world = world_from_camera[:3, 3], world_from_camera[:3, :3].T
        normals, origins = self._normals, self._origins
        for lamp, colour in zip(LAMPS, LAMP_COLOURS, strict=True):
            # A flat mirror shows the lamp at its reflection, wherever in the mirror one looks.
            height = ((lamp - origins) * normals).sum(axis=1)
            image = lamp - 2.0 * height[:, None] * normals
            away = image - centre
            away /= np.linalg.norm(away, axis=1, keepdims=True)
            towards = np.zeros((len(self._scene.surfaces), 3), np.float32)
            towards[: len(normals)] = np.where(
                height[:, None] > 0.0, away @ camera_from_world.T, 0.0
            )
            cosine = view.dot(towards, frame.surface) / view.ray_length
            self._add_round(cosine, frame, view, world_from_camera, lamp)
            strength = self._gloss[frame.surface]
            sharpness = self._sharpness[frame.surface]
            shine = 210.0 * strength * np.exp(sharpness * (cosine - 1.0))
            total += shine[..., None] * colour.astype(np.float32)
        return total

    def _add_round(
        self, cosine: Array, frame: Frame, view: View, world_from_camera: Array, lamp: Array
    ) -> None:
        """Cosine between the mirrored ray and the lamp, written where the surface is round."""
        for index in frame.round_surfaces:
            surface = self._scene.surfaces[index]
            if isinstance(surface, Patch) or surface.material.gloss == 0.0:
                continue
            rows, columns = np.nonzero(frame.surface == index)
            rays = view.rays[rows, columns].astype(np.float64) @ world_from_camera[:3, :3].T
            points = world_from_camera[:3, 3] + rays * frame.depth[rows, columns, None]
            normals = surface.normals(points)
            mirrored = rays - 2.0 * (rays * normals).sum(axis=1, keepdims=True) * normals
            towards = lamp - points
            length = np.linalg.norm(mirrored, axis=1) * np.linalg.norm(towards, axis=1)
            cosine[rows, columns] = (mirrored * towards).sum(axis=1) / length

    def _exposed(
        self, picture: Array, frame: Frame, view: View, frame_seed: int
    ) -> NDArray[np.uint8]:
        """What the sensor makes of the light: soft edges, vignetting, exposure, noise."""
        soft = cv2.GaussianBlur(picture, (3, 3), 0.7)
        np.copyto(picture, soft, where=frame.edges[..., None])
        generator = np.random.default_rng(frame_seed)
        exposure = generator.uniform(0.94, 1.06) * generator.uniform(0.985, 1.015, 3)
        picture *= view.vignette[..., None] * exposure.astype(np.float32)
        rows, columns = picture.shape[:2]
        top, left = generator.integers(0, NOISE_TILE, 2)
        down, across = np.arange(top, top + rows), np.arange(left, left + columns)
        picture += self._grain[np.ix_(down % NOISE_TILE, across % NOISE_TILE)]
        picture[frame.depth == 0.0] = 0.0
        return np.clip(picture + 0.5, 0.0, 255.0).astype(np.uint8)


@lru_cache(maxsize=1)
def demo_room() -> DemoRoom:
    """The room, built at the first call (about two seconds) and shared afterwards."""
    return DemoRoom()
