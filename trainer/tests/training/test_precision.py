"""Mixed precision, as on a GPU: gradients are clipped, and the training moves the weights.

On a CPU there is no float16 with a scaled loss; bfloat16 takes the same way as on a GPU.
"""

from pathlib import Path
from typing import Any

import pytest
import small_training
import torch
from torch.optim import Optimizer

from implicit_loc_trainer.training import lightning_trainer, runs, scene_training
from implicit_loc_trainer.training.run_folder import CHECKPOINT, STATE

CLIP = 1e-3


@pytest.mark.parametrize('clip', [CLIP, 0.0])
@pytest.mark.parametrize('kind', ['adamw', 'adam'])
@pytest.mark.parametrize('precision', ['32-true', 'bf16-mixed'])
def test_gradients_are_clipped_in_every_precision(
    precision: str, kind: str, clip: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms: list[float] = []
    begun: list[dict[str, torch.Tensor]] = []
    build = scene_training.build_optimizer

    # After the step, which computes the gradients itself.
    def look(optimizer: Optimizer, *_: object) -> None:
        groups = optimizer.param_groups
        gradients = [p.grad for group in groups for p in group['params'] if p.grad is not None]
        norms.append(float(torch.nn.utils.get_total_norm(gradients)))

    def watched(config: Any, network: torch.nn.Module, *rest: Any, **options: Any) -> Any:
        begun.append({name: value.clone() for name, value in network.state_dict().items()})
        optimizer, schedule = build(config, network, *rest, **options)
        optimizer.register_step_post_hook(look)
        return optimizer, schedule

    small_training.use(monkeypatch, small_training.samples(8))
    monkeypatch.setattr(scene_training, 'build_optimizer', watched)
    monkeypatch.setattr(lightning_trainer, '_precision', lambda _: precision)
    recipe = small_training.with_epochs(
        small_training.recipe(tmp_path, validate_every=9), 1, kind=kind, clip_gradient=clip
    )
    runs.train(recipe)
    assert (tmp_path / CHECKPOINT).is_file()
    finite = [norm for norm in norms if norm < torch.inf]
    assert finite
    assert all((norm <= CLIP * 1.001) == (clip > 0) for norm in finite)
    state = torch.load(tmp_path / STATE, weights_only=True)['state_dict']
    for name in ('world_head', 'backbone'):
        names = [key for key in begun[0] if key.startswith(name) and key.endswith('weight')]
        assert any(not torch.equal(state[f'network.{key}'], begun[0][key]) for key in names)
