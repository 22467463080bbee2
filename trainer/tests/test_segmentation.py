"""Masks from a segmentation network whose weights the user gives."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import get_model

from implicit_loc_trainer.segmentation import (
    CLASSES,
    DYNAMIC,
    SegmentationError,
    Segmenter,
)

MODEL = 'lraspp_mobilenet_v3_large'
LAST = ('classifier.low_classifier.bias', 'classifier.high_classifier.bias')
IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


def weights_that_see(seen, classes=21, model=MODEL):
    """Random weights whose last layer finds one class everywhere."""
    torch.manual_seed(0)
    network = get_model(model, weights=None, weights_backbone=None, num_classes=classes)
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    tensors[LAST[0]][CLASSES[classes].index(seen)] = 1e4
    return tensors


@pytest.fixture(scope='module')
def sees_person(tmp_path_factory):
    file = tmp_path_factory.mktemp('weights') / 'voc.safetensors'
    save_file(weights_that_see('person'), file)
    return file


def test_pixels_of_ignored_classes_are_masked_and_others_are_not(sees_person):
    ignored = Segmenter(MODEL, sees_person, ['person', 'car']).mask(IMAGE)
    assert ignored.shape == (48, 64)
    assert ignored.dtype == np.bool_
    assert ignored.all()
    assert not Segmenter(MODEL, sees_person, ['car']).mask(IMAGE).any()


def test_all_that_moves_is_ignored_unless_classes_are_named(sees_person):
    assert Segmenter(MODEL, sees_person).mask(IMAGE).all()


def test_every_class_that_moves_is_one_of_a_network():
    assert {name for names in CLASSES.values() for name in names} >= DYNAMIC


def test_nineteen_classes_are_those_of_cityscapes(tmp_path):
    torch.save(weights_that_see('sky', classes=19), tmp_path / 'city.pth')
    segmenter = Segmenter(MODEL, tmp_path / 'city.pth', ['sky', 'vegetation'])
    assert segmenter.mask(IMAGE).all()
    assert not Segmenter(MODEL, tmp_path / 'city.pth').mask(IMAGE).any()


def test_the_state_of_a_training_and_its_auxiliary_classifier_are_understood(tmp_path):
    torch.manual_seed(0)
    trained = get_model(
        'fcn_resnet50', weights=None, weights_backbone=None, num_classes=21, aux_loss=True
    )
    torch.save({'model': trained.state_dict(), 'epoch': 3}, tmp_path / 'fcn.pth')
    segmenter = Segmenter('fcn_resnet50', tmp_path / 'fcn.pth')
    assert segmenter.classes == CLASSES[21]


def refused(complaint, *arguments):
    with pytest.raises(SegmentationError, match=complaint) as raised:
        Segmenter(*arguments)
    assert '\n' not in str(raised.value)


def test_what_does_not_fit_is_one_clear_error(tmp_path, sees_person):
    refused('is not one of', 'unet', sees_person)
    refused('cannot be read', MODEL, tmp_path / 'none.pth')
    refused('cannot be read', MODEL, tmp_path / 'none.safetensors')
    refused("no class 'perso'", MODEL, sees_person, ['perso'])
    refused('no class is to be ignored', MODEL, sees_person, [])
    refused('no classifier of torchvision|holds no weights of', 'fcn_resnet50', sees_person)


@pytest.mark.parametrize('name', ['damaged.pth', 'damaged.safetensors'])
def test_a_damaged_file_is_one_clear_error(tmp_path, name):
    for content in (b'', b'nothing of the kind', b'\x80\x02K\x01.'):
        (tmp_path / name).write_bytes(content)
        refused('damaged or holds no weights|no state dictionary', MODEL, tmp_path / name)


def test_a_network_of_other_classes_is_refused(tmp_path):
    torch.save({LAST[0]: torch.zeros(7)}, tmp_path / 'seven.pth')
    refused('has 7 classes: it must have 21 or 19', MODEL, tmp_path / 'seven.pth')


def test_a_missing_weight_is_named(tmp_path):
    tensors = weights_that_see('person')
    del tensors[LAST[1]]
    torch.save(tensors, tmp_path / 'part.pth')
    refused('holds no weights of.*high_classifier', MODEL, tmp_path / 'part.pth')


def test_pickles_of_anything_but_weights_are_never_executed(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / 'harm'), 'w'))

    torch.save({'model': Evil()}, tmp_path / 'evil.pth')
    refused('damaged or holds no weights', MODEL, tmp_path / 'evil.pth')
    assert not (tmp_path / 'harm').exists()
