"""What lives while the node is active: subscriptions, the worker, and a change of the map."""

from rclpy.lifecycle import LifecycleNode

from implicit_loc.localizer import Localizer
from implicit_loc_ros.diagnostics import Inputs
from implicit_loc_ros.maps import MapChoice
from implicit_loc_ros.pipeline import Frame, Pipeline, Surroundings
from implicit_loc_ros.reception import Reception, Ways
from implicit_loc_ros.transforms import matrix_from_values
from implicit_loc_ros.waiting_callers import LONGEST_WAIT_S
from implicit_loc_ros.worker import NewestItemWorker


class Session:
    """From activation to deactivation; every method runs in the executor's thread.

    Args:
        node: that subscribes.
        around: what the pipelines work with.
        localizer: of the map.
        choice: the map.
    """

    def __init__(
        self, node: LifecycleNode, around: Surroundings, localizer: Localizer, choice: MapChoice
    ) -> None:
        self._around = around
        self._localizer, self.map = localizer, choice
        self._worker = self._worker_of(localizer, choice)
        # Of the next map, while it runs warm.
        self._next: tuple[NewestItemWorker[Frame], Localizer, MapChoice] | None = None
        around.stamp_gate.reset()
        around.pose_gate.reset()
        self._reception = Reception(
            node,
            around.parameters,
            around.stamp_gate,
            around.callers,
            around.statistics,
            around.log,
            Ways(submit=lambda frame: self._worker.submit(frame), jumped=self.time_jumped),
        )

    @property
    def enabled(self) -> bool:
        """Whether images are looked at."""
        return self._reception.enabled

    def enable(self, enabled: bool) -> None:
        """Look at images, or publish nothing from now on."""
        self._reception.enabled = enabled
        if enabled:
            # Meanwhile the robot may have been carried.
            self._around.pose_gate.reset()
        else:
            self._around.stamp_gate.begin_epoch()
            self._around.callers.cancel('localization was paused')

    @property
    def is_changing_map(self) -> bool:
        """Whether the next map is about to take over."""
        return self._next is not None

    def change_map(self, localizer: Localizer, choice: MapChoice) -> None:
        """Let another map take over as soon as its own worker is warm."""
        if self._next is not None:
            self._next[0].stop(timeout_s=0.0)
        self._next = (self._worker_of(localizer, choice), localizer, choice)

    def review(self) -> None:
        """What is due now and then: publishers, callers, the next map."""
        self._reception.review()
        topic = self._reception.images.topic_name
        self._around.callers.expire(f'none within {LONGEST_WAIT_S:.0f} s of images on {topic}')
        if self._next is not None and self._next[0].is_prepared:
            self._swap()

    def time_jumped(self, what: str) -> None:
        """Start anew: stamps, transforms and poses from before are of another time."""
        self._reception.restart()
        self._around.pose_gate.reset()
        self._around.statistics.time_jumped()
        self._around.frames.clear()
        self._around.log.warning('time jump', f'{what} jumped: starting anew')

    def inputs(self, map_change: str) -> Inputs:
        """For a report."""
        images, runtime = self._reception.images, self._localizer.runtime
        return Inputs(
            image_topic=images.topic_name,
            image_publishers=images.publisher_count(),
            image_reliable=images.reliable,
            camera_info_topic=self._reception.camera_infos.topic_name,
            has_camera_info=self._reception.has_camera_info,
            device=str(self._localizer.device),
            tracking=self._around.pose_gate.state,
            enabled=self.enabled,
            on_demand=self._around.parameters().mode == 'on_demand',
            runtime=': '.join(part for part in (runtime.name, runtime.note) if part),
            map_path=self.map.checkpoint,
            map_change=map_change,
        )

    def close(self) -> bool:
        """Unsubscribe and stop; whether the worker ended in time."""
        self._reception.destroy()
        # A new epoch, so that a frame that is still computed is not published.
        self._around.stamp_gate.reset()
        self._around.callers.cancel('the node was deactivated')
        if self._next is not None:
            self._next[0].stop(timeout_s=0.0)
        return self._worker.stop()

    def _worker_of(self, localizer: Localizer, choice: MapChoice) -> NewestItemWorker[Frame]:
        map_from_world = matrix_from_values(choice.world_alignment)
        pipeline = Pipeline(localizer, map_from_world, self._around)
        return NewestItemWorker(pipeline.process, 'localizer', pipeline.warm_up)

    def _swap(self) -> None:
        assert self._next is not None
        old = self._worker
        (self._worker, self._localizer, self.map), self._next = self._next, None
        # Waits for a pose that is just being published; the old map gives no later one.
        self._around.stamp_gate.begin_epoch()
        self._around.pose_gate.reset()
        self._around.callers.release()
        old.stop(timeout_s=0.0)
        self._around.log.info('map', f'the map is now {self.map.checkpoint}')
