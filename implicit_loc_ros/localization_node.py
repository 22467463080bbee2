"""Command of the node: `ros2 run implicit_loc_ros localization_node`."""

import gc
import os
import signal
import sys
import threading

from implicit_loc_ros.memory import bound_arenas

# Of a node that starts anew.
_LONGEST_END_S = 5.0


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to stop.

    Args:
        args: command line, including ROS arguments; None for the process's own.

    Returns:
        Exit status: 0 after SIGINT, SIGTERM or a shutdown of ROS; 1 if a parameter is wrong, or
        with autostart if the checkpoint cannot be used.
    """
    # In place before the slow imports: a KeyboardInterrupt in there would end in a traceback.
    # rclpy's own handlers, installed later, call these.
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda signum, frame: stop.set())
    bound_arenas()
    # NumPy's matrices are small here: its threads would only fight those of the network.
    os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')

    import rclpy
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
    from rclpy.impl.implementation_singleton import rclpy_implementation
    from rclpy.logging import get_logger
    from rclpy.utilities import ok, try_shutdown

    from implicit_loc_ros.deafness import DeafError, start_anew, was_active
    from implicit_loc_ros.node import NAME, LocalizationNode
    from implicit_loc_ros.parameters import ParameterError

    rclpy.init(args=args)
    resumes = was_active()
    node = None
    deaf = False
    try:
        node = LocalizationNode()
        starts = node.parameters.autostart or resumes
        if starts and not (stop.is_set() or node.start()):
            return 0 if stop.is_set() else 1
        # The objects of PyTorch never become garbage: without looking at them, collections pause
        # the node for less, and the process ends in a quarter of the time.
        gc.freeze()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while ok() and not stop.is_set():
            try:
                executor.spin()
            except rclpy_implementation.RCLError as error:
                # Such as a lifecycle transition that the current state does not have.
                if ok():
                    node.logger.error(f'{error}')
    except ExternalShutdownException:
        pass
    except DeafError as error:
        get_logger(NAME).error(f'{error}: starting anew')
        deaf = True
        # What is lost may hold up the end.
        late = threading.Timer(_LONGEST_END_S, lambda: None if stop.is_set() else start_anew())
        late.daemon = True
        late.start()
    except ParameterError as error:
        get_logger(NAME).fatal(f'wrong parameter: {error}')
        return 1
    except Exception:
        # A shutdown makes whatever runs at the moment fail.
        if ok() and not stop.is_set():
            raise
    finally:
        if node is not None:
            node.close()
            node.destroy_node()  # type: ignore[no-untyped-call]
        try_shutdown()
    if deaf and not stop.is_set():
        start_anew()
    return 0


if __name__ == '__main__':
    sys.exit(main())
