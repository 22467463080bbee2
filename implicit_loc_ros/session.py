"""What lives while the node is active: subscriptions, the worker, and a change of the map."""

from dataclasses import dataclass, replace

from rclpy.lifecycle import LifecycleNode

from implicit_loc.localizer import Localizer
from implicit_loc_ros.diagnostics import Inputs
from implicit_loc_ros.maps import MapChoice
from implicit_loc_ros.memory import return_freed
from implicit_loc_ros.pipeline import Frame, Pipeline, Surroundings
from implicit_loc_ros.reception import Reception, Ways
from implicit_loc_ros.standstill import StandstillWatch
from implicit_loc_ros.transforms import matrix_from_values
from implicit_loc_ros.waiting_callers import LONGEST_WAIT_S
from implicit_loc_ros.worker import NewestItemWorker


@dataclass(frozen=True)
class _MapAtWork:
    """A map, and the thread that owns its localizer."""

    choice: MapChoice
    localizer: Localizer
    pipeline: Pipeline
    worker: NewestItemWorker[Frame]


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
        self._current = self._begin(localizer, choice)
        # While it runs warm.
        self._next: _MapAtWork | None = None
        # Until its worker has ended and its memory is free.
        self._last: _MapAtWork | None = None
        around.stamp_gate.reset()
        around.pose_gate.reset()
        self._reception = Reception(
            node,
            around.parameters,
            around.stamp_gate,
            around.callers,
            around.statistics,
            around.log,
            Ways(submit=lambda frame: self._current.worker.submit(frame), jumped=self.time_jumped),
        )
        self._standstill = StandstillWatch()

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
    def localizer(self) -> Localizer:
        """That of the map in use."""
        return self._current.localizer

    @property
    def is_alive(self) -> bool:
        """Whether any worker runs; after `close`, because a driver call hangs or takes long."""
        return any(at_work.worker.is_alive for at_work in self._at_work())

    @property
    def is_changing_map(self) -> bool:
        """Whether the next map is about to take over."""
        return self._next is not None

    def change_map(self, localizer: Localizer, choice: MapChoice) -> None:
        """Let another map take over as soon as its own worker is warm."""
        if self._next is not None:
            self._next.worker.stop(timeout_s=0.0)
        self._next = self._begin(localizer, choice)

    def realign(self, choice: MapChoice) -> None:
        """Place the newest map's world anew, without loading it again."""
        newest = self._next or self._current
        newest.pipeline.realign(matrix_from_values(choice.world_alignment))
        placed = replace(newest, choice=choice)
        if self._next is not None:
            self._next = placed
            return
        self._current = placed
        self._start_anew()
        self._around.log.info('map', f'the world of {choice.checkpoint} is placed anew')

    def review(self) -> None:
        """What is due now and then: a standstill, publishers, callers, the next map."""
        if stood_s := self._standstill.review():
            self._subscribe_anew(stood_s)
        self._reception.review()
        if self._around.frames.review():
            self._around.log.info('TF anew', 'TF lacks transforms for the images: subscribed anew')
        missing = self._reception.missing
        self._around.callers.expire(f'no {missing} within {LONGEST_WAIT_S:.0f} s')
        if self._next is not None and self._next.worker.is_prepared:
            self._swap()
        elif self._last is not None and not self._last.worker.is_alive:
            self._last = None
            return_freed()

    def time_jumped(self, what: str) -> None:
        """Start anew: stamps, transforms and poses from before are of another time."""
        self._reception.restart()
        self._around.pose_gate.reset()
        self._around.statistics.time_jumped()
        self._around.frames.restart()
        self._around.log.warning('time jump', f'{what} jumped: starting anew')

    def _subscribe_anew(self, stood_s: float) -> None:
        """After a standstill: what was missed would hold up what is new."""
        self._reception.renew()
        self._around.frames.renew()
        self._around.statistics.stood_still()
        text = f'the process stood still for {stood_s:.1f} s: subscribed anew'
        self._around.log.warning('standstill', text)

    def inputs(self, map_change: str, lost: str) -> Inputs:
        """For a report; of a change of the map, and of what the middleware has lost."""
        images, runtime = self._reception.images, self.localizer.runtime
        return Inputs(
            image_topic=images.topic_name,
            image_publishers=images.publisher_count(),
            image_reliable=images.reliable,
            camera_info_topic=self._reception.camera_infos.topic_name,
            has_camera_info=self._reception.has_camera_info,
            device=str(self.localizer.device),
            tracking=self._around.pose_gate.state,
            enabled=self.enabled,
            on_demand=self._around.parameters().mode == 'on_demand',
            runtime=runtime.name,
            runtime_note=runtime.note,
            map_path=self._current.choice.checkpoint,
            map_change=map_change,
            lost=lost,
        )

    def close(self) -> bool:
        """Unsubscribe and stop; whether every worker ended in time."""
        self._reception.destroy()
        # A new epoch, so that a frame that is still computed is not published.
        self._around.stamp_gate.reset()
        self._around.callers.cancel('the node was deactivated')
        for at_work in self._at_work():
            at_work.worker.stop(timeout_s=0.0)
        return all(at_work.worker.stop() for at_work in self._at_work())

    def _at_work(self) -> list[_MapAtWork]:
        return [self._current] if self._next is None else [self._current, self._next]

    def _begin(self, localizer: Localizer, choice: MapChoice) -> _MapAtWork:
        map_from_world = matrix_from_values(choice.world_alignment)
        pipeline = Pipeline(localizer, map_from_world, self._around)
        worker = NewestItemWorker(pipeline.process, 'localizer', pipeline.warm_up)
        return _MapAtWork(choice, localizer, pipeline, worker)

    def _swap(self) -> None:
        assert self._next is not None
        old = self._last = self._current
        self._current, self._next = self._next, None
        # Waits for a pose that is just being published; the old map gives no later one.
        self._around.stamp_gate.begin_epoch()
        self._start_anew()
        old.worker.stop(timeout_s=0.0)
        self._around.log.info('map', f'the map is now {self._current.choice.checkpoint}')

    def _start_anew(self) -> None:
        self._around.pose_gate.reset()
        self._around.callers.release()
