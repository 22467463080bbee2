"""What moves, and what is too far or too alike, found by a segmentation network of torchvision.

The weights come from a file of the user: nothing is downloaded.
"""

import pickle
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import segmentation as networks

from implicit_loc import preprocessing
from implicit_loc.errors import ImplicitLocError

# The auxiliary classifier serves training only; lraspp has none.
MODELS: dict[str, Callable[..., nn.Module]] = {
    'lraspp_mobilenet_v3_large': networks.lraspp_mobilenet_v3_large,
    'deeplabv3_mobilenet_v3_large': partial(networks.deeplabv3_mobilenet_v3_large, aux_loss=False),
    'deeplabv3_resnet50': partial(networks.deeplabv3_resnet50, aux_loss=False),
    'deeplabv3_resnet101': partial(networks.deeplabv3_resnet101, aux_loss=False),
    'fcn_resnet50': partial(networks.fcn_resnet50, aux_loss=False),
    'fcn_resnet101': partial(networks.fcn_resnet101, aux_loss=False),
}

# In the order of the networks' outputs.
_VOC = (
    'background', 'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair',
    'cow', 'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa',
    'train', 'tvmonitor',
)  # fmt: skip
_CITYSCAPES = (
    'road', 'sidewalk', 'building', 'wall', 'fence', 'pole', 'traffic light', 'traffic sign',
    'vegetation', 'terrain', 'sky', 'person', 'rider', 'car', 'truck', 'bus', 'train',
    'motorcycle', 'bicycle',
)  # fmt: skip
# Networks tell what they were trained on by their number of classes.
CLASSES = {len(names): names for names in (_VOC, _CITYSCAPES)}

# What may have moved since the training: the classes that are ignored unless others are named.
DYNAMIC = frozenset({
    'aeroplane', 'bicycle', 'bird', 'boat', 'bus', 'car', 'cat', 'cow', 'dog', 'horse',
    'motorbike', 'motorcycle', 'person', 'rider', 'sheep', 'train', 'truck',
})  # fmt: skip

# Height at which torchvision's networks were trained.
INPUT_HEIGHT = 520


class SegmentationError(ImplicitLocError):
    """A segmentation network cannot be used: its weights or the classes do not fit."""


class Segmenter:
    """Finds the pixels of some classes.

    Args:
        model: a key of MODELS.
        weights: its state dictionary as .safetensors, or as torch.save wrote it; of 21 classes
            (Pascal VOC, as torchvision's own) or 19 (Cityscapes).
        ignored: names of the classes to find; None for all that move.
        device: to run on.

    Raises:
        SegmentationError: an unknown model or class, or weights that are missing, damaged or of
            another network.
    """

    def __init__(
        self,
        model: str,
        weights: Path,
        ignored: Collection[str] | None = None,
        device: torch.device | str = 'cpu',
    ) -> None:
        if model not in MODELS:
            raise SegmentationError(f'the model {model!r} is not one of {", ".join(MODELS)}')
        tensors = _read(weights)
        self.classes = _classes(weights, tensors)
        self._ignored = torch.tensor(_indices(self.classes, ignored), device=device)
        tensors = {n: t for n, t in tensors.items() if not n.startswith('aux_classifier.')}
        network = MODELS[model](weights=None, weights_backbone=None, num_classes=len(self.classes))
        try:
            network.load_state_dict(tensors, strict=True)
        except RuntimeError as error:
            reason = str(error).splitlines()[1].strip()
            raise SegmentationError(f'{weights} holds no weights of {model}: {reason}') from error
        self._network = network.eval().to(device)
        self._device = device

    @torch.inference_mode()
    def mask(self, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Pixels of the ignored classes.

        Args:
            image: RGB, (H, W, 3).

        Returns:
            (H, W), True = ignore.
        """
        height, width = image.shape[:2]
        columns = max(1, round(INPUT_HEIGHT * width / height))
        resized = preprocessing.resize(image, columns, INPUT_HEIGHT)
        batch = preprocessing.to_tensor(resized)[None].to(self._device)
        scores: Tensor = self._network(preprocessing.normalise(batch))['out']
        whole = functional.interpolate(scores, (height, width), mode='bilinear')
        found = torch.isin(whole.argmax(dim=1)[0], self._ignored)
        return np.asarray(found.cpu().numpy(), dtype=np.bool_)


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        if path.suffix == '.safetensors':
            return load_file(path)
        content: Any = torch.load(path, map_location='cpu', weights_only=True)
    except OSError as error:
        raise SegmentationError(f'the weights {path} cannot be read: {error}') from error
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SegmentationError(f'{path} is damaged or holds no weights ({reason})') from error
    # torchvision's own training script saves the state of the optimiser beside that of the model.
    content = content.get('model', content) if isinstance(content, Mapping) else content
    if not isinstance(content, Mapping) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise SegmentationError(f'{path} holds no state dictionary, name by name of its tensors')
    return content


def _classes(path: Path, tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """The names of the classes, from the biases of the last layer."""
    last = ('classifier.4.bias', 'classifier.low_classifier.bias')
    counts = [len(tensors[name]) for name in last if name in tensors and tensors[name].ndim == 1]
    if not counts or counts[0] not in CLASSES:
        found = f'{counts[0]} classes' if counts else 'no classifier of torchvision'
        known = ' or '.join(map(str, CLASSES))
        raise SegmentationError(f'{path} has {found}: it must have {known} classes')
    return CLASSES[counts[0]]


def _indices(classes: tuple[str, ...], ignored: Collection[str] | None) -> list[int]:
    wanted = DYNAMIC & set(classes) if ignored is None else set(ignored)
    if unknown := sorted(wanted - set(classes)):
        raise SegmentationError(
            f'the network has no class {unknown[0]!r}: choose among {", ".join(classes)}'
        )
    if not wanted:
        raise SegmentationError('no class is to be ignored: name at least one')
    return [index for index, name in enumerate(classes) if name in wanted]
