"""The learning rate of every phase, which parameters decay, and the average of the weights."""

import copy

import pytest
import torch
from torch.optim import Adam, AdamW
from torch.optim.lr_scheduler import OneCycleLR

from implicit_loc.network import NetworkConfig, SceneNetwork
from implicit_loc_trainer.recipes.sections import ConfigError, OptimizerConfig
from implicit_loc_trainer.training.moving_average import MovingAverage
from implicit_loc_trainer.training.optimisation import build_optimizer, in_geometry_phase

STEPS = 40


@pytest.fixture(scope='module')
def network() -> SceneNetwork:
    return SceneNetwork(NetworkConfig(decoder_channels=8))


def _rates(config: OptimizerConfig, network: SceneNetwork) -> list[list[float]]:
    """Of every step, per group."""
    optimizer, schedule = build_optimizer(config, network, STEPS)
    rates = []
    for _ in range(STEPS):
        rates.append([group['lr'] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return rates


def test_the_default_is_adamw_under_one_cycle(network: SceneNetwork) -> None:
    """Rates and momentum of PyTorch's own; biases and norms are not decayed."""
    config = OptimizerConfig()
    optimizer, schedule = build_optimizer(config, network, STEPS)
    assert type(optimizer) is AdamW
    reference = AdamW([torch.zeros(1, requires_grad=True)], lr=config.learning_rate)
    cycle = OneCycleLR(reference, max_lr=1e-3, total_steps=STEPS, pct_start=0.05)
    for _ in range(STEPS):
        for group in optimizer.param_groups:
            assert group['lr'] == reference.param_groups[0]['lr']
            assert group['betas'] == reference.param_groups[0]['betas']
        for each in (optimizer, reference, schedule, cycle):
            each.step()
    decayed, others = optimizer.param_groups
    assert decayed['weight_decay'] == config.weight_decay
    assert others['weight_decay'] == 0
    assert all(parameter.ndim > 1 for parameter in decayed['params'])
    assert all(parameter.ndim <= 1 for parameter in others['params'])
    count = len(decayed['params']) + len(others['params'])
    assert count == len(list(network.parameters()))


def test_the_papers_optimiser_is_plain_adam(network: SceneNetwork) -> None:
    """One rate throughout, L2 on every parameter."""
    config = OptimizerConfig(
        kind='adam', schedule='constant', learning_rate=1e-4, weight_decay=5e-4
    )
    optimizer, _ = build_optimizer(config, network, STEPS)
    assert type(optimizer) is Adam
    (group,) = optimizer.param_groups
    assert (group['betas'], group['eps'], group['weight_decay']) == ((0.9, 0.999), 1e-8, 5e-4)
    assert {rate for rates in _rates(config, network) for rate in rates} == {1e-4}


@pytest.mark.parametrize('schedule', ['one_cycle', 'constant'])
def test_the_geometry_slows_down_in_the_second_phase(schedule: str, network: SceneNetwork) -> None:
    """The weights' head goes on as without phases."""
    plain = OptimizerConfig(schedule=schedule)  # type: ignore[arg-type]
    phased = OptimizerConfig(
        schedule=schedule,  # type: ignore[arg-type]
        geometry_share=0.75,
        late_geometry_rate=0.1,
    )
    optimizer, _ = build_optimizer(phased, network, STEPS)
    head = {id(parameter) for parameter in network.weight_head.parameters()}
    is_head = [id(group['params'][0]) in head for group in optimizer.param_groups]
    assert sum(is_head) == 2
    for step, (with_phases, without) in enumerate(
        zip(_rates(phased, network), _rates(plain, network), strict=True)
    ):
        late = not in_geometry_phase(phased, step / STEPS)
        assert late == (step >= 30)
        for rate, of_head in zip(with_phases, is_head, strict=True):
            factor = 0.1 if late and not of_head else 1.0
            assert rate == pytest.approx(factor * without[0], rel=1e-12)


def test_every_parameter_is_in_one_group(network: SceneNetwork) -> None:
    config = OptimizerConfig(geometry_share=0.5)
    optimizer, _ = build_optimizer(config, network, STEPS)
    members = [id(p) for group in optimizer.param_groups for p in group['params']]
    assert len(members) == len(set(members))
    assert set(members) == {id(parameter) for parameter in network.parameters()}


def test_a_schedule_goes_on_where_it_stopped(network: SceneNetwork) -> None:
    """Also across the border between the phases."""
    config = OptimizerConfig(geometry_share=0.5, late_geometry_rate=0.1)
    optimizer, schedule = build_optimizer(config, network, STEPS)
    for _ in range(15):
        optimizer.step()
        schedule.step()
    states = copy.deepcopy((optimizer.state_dict(), schedule.state_dict()))
    again, resumed = build_optimizer(config, network, STEPS)
    again.load_state_dict(states[0])
    resumed.load_state_dict(states[1])
    for _ in range(STEPS - 16):
        for each in (optimizer, again, schedule, resumed):
            each.step()
        assert [g['lr'] for g in again.param_groups] == [g['lr'] for g in optimizer.param_groups]


def test_the_average_follows_weights_and_batch_statistics(network: SceneNetwork) -> None:
    """It converges to a network that stands still, at the rate of its decay."""
    learning = copy.deepcopy(network)
    average = MovingAverage(learning, decay=0.9)
    with torch.no_grad():
        for tensor in (*learning.parameters(), *learning.buffers()):
            if tensor.is_floating_point():
                tensor.add_(1)
            else:
                tensor.add_(5)
    for _ in range(10):
        average.update(learning, steps=10**6)
    left = 0.9**10
    state = average.network.state_dict()
    for name, tensor in learning.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(state[name], tensor - left, rtol=1e-5, atol=1e-5)
        else:
            assert state[name] == tensor
    assert not any(parameter.requires_grad for parameter in average.network.parameters())


def test_a_young_average_forgets_the_random_beginning(network: SceneNetwork) -> None:
    """After 100 steps almost nothing of it is left, whatever the decay."""
    learning = copy.deepcopy(network)
    average = MovingAverage(learning, decay=0.9999)
    weight = learning.world_head[-1].weight
    assert isinstance(weight, torch.Tensor)
    with torch.no_grad():
        weight.add_(1)
    for step in range(1, 101):
        average.update(learning, step)
    averaged = average.network.world_head[-1].weight
    assert isinstance(averaged, torch.Tensor)
    torch.testing.assert_close(averaged, weight, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    'values',
    [
        {'ema_decay': 1.0},
        {'geometry_share': -0.1},
        {'late_geometry_rate': 1.5},
        {'clip_gradient': -1.0},
        {'ema_decay': float('nan')},
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        OptimizerConfig(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize('steps', [1, 2, 10, 20, 40])
@pytest.mark.parametrize('share', [0.0, 0.05, 0.1, 0.5, 1.0])
def test_a_warm_up_of_any_length_works(steps: int, share: float, network: SceneNetwork) -> None:
    """Also one of exactly one step, by which PyTorch divides by zero."""
    config = OptimizerConfig(warm_up_share=share)
    optimizer, schedule = build_optimizer(config, network, steps)
    for step in range(steps):
        assert 0 <= optimizer.param_groups[0]['lr'] <= config.learning_rate * (1 + 1e-9)
        optimizer.step()
        if step < steps - 1:
            schedule.step()
