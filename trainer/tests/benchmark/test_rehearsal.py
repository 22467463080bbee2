"""Networks that know nothing give out what they are told, also where the device solves it."""

import numpy as np
import pytest
import torch

from implicit_loc.checkpoint import load_checkpoint
from implicit_loc.device_solving import DeviceSolver, Outcome
from implicit_loc.localizer import Localizer, landmarks_on_host
from implicit_loc.runtimes.device_network import DeviceNetwork, fill
from implicit_loc.runtimes.half_precision import half_precision_copy
from implicit_loc_trainer.benchmark.candidates import Setting, Subject, build
from implicit_loc_trainer.benchmark.made_up import made_up_views
from implicit_loc_trainer.benchmark.rehearsal import Rehearsal
from implicit_loc_trainer.benchmark.situations import Situation, checkpoint_at
from implicit_loc_trainer.benchmark.views import View, view_at


@pytest.fixture(scope='module')
def views(place):
    """Two, of which the one is the other upside down."""
    (view,) = made_up_views(*place, 1)
    turned = view.geometry.map(lambda array: np.ascontiguousarray(array[::-1]))
    return view, View(view.image, view.camera, turned)


def test_eager_pytorch_gives_out_what_it_is_told(checkpoint, views):
    """Until it is told nothing; no copy of it says anything else."""
    network, description = load_checkpoint(checkpoint)
    rehearsal = Rehearsal(network)
    localizer = Localizer(network, description, 'cpu', runtime='eager')
    own = localizer.predict(views[0].image, views[0].camera)
    for view in views:
        rehearsal.give(view.geometry)
        found = localizer.predict(view.image, view.camera)
        for name, expected in vars(view.geometry).items():
            np.testing.assert_array_equal(getattr(found, name), expected)
    rehearsal.give(None)
    again = localizer.predict(views[0].image, views[0].camera)
    np.testing.assert_array_equal(again.world_points, own.world_points)
    np.testing.assert_array_equal(again.descriptors, own.descriptors)


def test_what_a_graph_captures_solves_what_it_is_told(checkpoint, views):
    """From memory that stays where it is, with the network executed all the same."""
    network, description = load_checkpoint(checkpoint)
    camera = description.training_camera
    rehearsal = Rehearsal(network)
    solver = DeviceSolver(camera, description.network.stride, landmarks_on_host(network))
    module = DeviceNetwork(half_precision_copy(network.eval()), camera, camera, solver)
    executed = []
    module.network.backbone.register_forward_hook(lambda *_: executed.append(1))
    upload = np.zeros(module.upload_bytes, np.uint8)
    fill(upload, views[0].image, camera.focal_length)
    reference = Localizer(*load_checkpoint(checkpoint), 'cpu')
    memory = set()
    for told in (None, views[0].geometry, None, views[0].geometry):
        rehearsal.give(told)
        with torch.inference_mode():
            packed, _ = module(torch.from_numpy(upload))
        _, parts = module.read(packed.numpy())
        outcome = Outcome(parts, camera.focal_length)
        assert outcome.is_decided == (told is not None)
        (given, counts), *others = rehearsal._memory.values()
        assert others == []
        memory.add(
            (given.world_points.data_ptr(), given.descriptors.data_ptr(), counts.data_ptr())
        )
    expected = reference.solve(views[0].geometry, camera)
    np.testing.assert_allclose(
        outcome.facts().world_from_camera, expected.world_from_camera, atol=1e-6
    )
    assert len(executed) == 4
    assert len(memory) == 1


def test_a_network_of_another_size_is_timed_with_the_pose_of_the_place(
    checkpoint, views, tmp_path
):
    """It solves on landmarks, as a trained one would; what it predicts itself has no such pose."""
    situation = Situation(120, 16)
    path = checkpoint_at(checkpoint, situation, tmp_path)
    view = view_at(views[0], situation)
    run = build(Subject('localize', 'eager'), Setting(path, view.camera, tmp_path, 'cpu', 1))
    run.prepare(view)
    stages = run.answer(view)
    assert {'network', 'alignment', 'landmarks'} <= set(stages)
    assert 'consensus' not in stages
    run.prepare(View(view.image, view.camera, None))
    assert 'consensus' in run.answer(view) or run.answer(view) == {}
