"""Which topic of a bag holds the images, and the camera that took them."""

from implicit_loc.camera import Camera
from implicit_loc.errors import CameraError
from implicit_loc_trainer.datasets.bag_images import COMPRESSED, RAW
from implicit_loc_trainer.datasets.bag_options import Recording
from implicit_loc_trainer.datasets.bag_poses import choose_topic
from implicit_loc_trainer.datasets.bag_reader import Bag
from implicit_loc_trainer.datasets.camera_info import camera_from_info, read_camera_yaml
from implicit_loc_trainer.datasets.parsing import make_camera
from implicit_loc_trainer.datasets.sample import DataError

CAMERA_INFO = 'sensor_msgs/msg/CameraInfo'


def find_image_topic(bag: Bag, options: Recording) -> str:
    """The topic of the images; of a topic and its compressed copy the first.

    Raises:
        DataError: it is not there, of another type, or cannot be chosen; lists what there is.
    """
    types = (RAW, COMPRESSED)
    if options.image_topic is None:
        topics = [topic for topic in bag.topics(types) if 'depth' not in topic.lower()]
        originals = [
            topic
            for topic in topics
            if not topic.endswith('/compressed') or topic.removesuffix('/compressed') not in topics
        ]
        if len(originals) == 1:
            return originals[0]
    return choose_topic(bag, options.image_topic, types, 'image_topic')


def find_camera(bag: Bag, options: Recording, image_topic: str) -> Camera:
    """The camera of the images: from a file, or from the CameraInfo beside them.

    Raises:
        DataError: there is none, or it is not calibrated.
    """
    if options.camera is not None:
        return read_camera_yaml(options.camera)
    given = options.camera_info_topic
    # REP and drivers put the CameraInfo beside the image: camera/image_raw, camera/camera_info.
    beside = image_topic.removesuffix('/compressed').rpartition('/')[0] + '/camera_info'
    if given is None and bag.types.get(beside) == CAMERA_INFO:
        given = beside
    topic = choose_topic(bag, given, (CAMERA_INFO,), 'camera_info_topic')
    info = next(bag.messages(topic), None)
    if info is None:
        raise DataError(f'{bag.path}: the topic {topic} has no messages')
    place = f'{bag.path}: {topic}'
    size = (int(info.width), int(info.height))
    if _is_rectified(options, image_topic):
        camera = make_camera(place, size, (info.p[0], info.p[5], info.p[2], info.p[6]))
    else:
        k, d = ([float(value) for value in values] for values in (info.k, info.d))
        camera = camera_from_info(place, size, k, info.distortion_model, d)
    roi = info.roi
    try:
        # All zeros means the full image.
        if roi.width or roi.height:
            camera = camera.cropped(
                int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height)
            )
        columns, rows = max(int(info.binning_x), 1), max(int(info.binning_y), 1)
        width, height = camera.width // columns, camera.height // rows
        # Pixels that do not fill a bin are cut off, they do not shrink the others.
        return camera.cropped(0, 0, width * columns, height * rows).scaled(width, height)
    except CameraError as error:
        raise DataError(f'{place}: {error}') from error


def _is_rectified(options: Recording, image_topic: str) -> bool:
    if options.rectified is not None:
        return options.rectified
    # image_proc publishes rectified images beside the CameraInfo of the raw ones.
    return image_topic.removesuffix('/compressed').rpartition('/')[2].startswith('image_rect')
