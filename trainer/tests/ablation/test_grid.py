"""A grid says what varies; whatever is wrong with it is found before the first training."""

from pathlib import Path

import pytest
import yaml

from implicit_loc_trainer.ablation.grid import Budget, load_grid, recipe_of
from implicit_loc_trainer.ablation.scenes import parse_scenes
from implicit_loc_trainer.recipes.recipe import load_recipe
from implicit_loc_trainer.recipes.sections import ConfigError

CONFIGS = Path(__file__).parents[2] / 'configs'
GRID = {
    'base': 'base.yaml',
    'budgets': {'short': {'frames': 9, 'optimizer.epochs': 2}},
    'variants': {
        'base': {},
        'pose': {'loss.consistency': 0.0, 'optimizer.epochs': 7},
        'third': {'every': 3, 'network.stride': 4},
        'tuned': {'fine_tunes': 'third', 'optimizer.epochs': 12},
    },
    'tables': [
        {
            'name': 'one',
            'title': 'One',
            'layout': 'scenes',
            'columns': ['Method'],
            'rows': [{'label': ['ours'], 'variant': 'base'}],
        }
    ],
}


def _write(folder: Path, **changes: object) -> Path:
    (folder / 'base.yaml').write_text('network: {input_height: 96}\n')
    path = folder / 'grid.yaml'
    path.write_text(yaml.safe_dump({**GRID, **changes}))
    return path


def test_a_variant_is_the_base_with_its_changes_and_the_budgets(tmp_path: Path) -> None:
    """What the budget says wins: all runs of a grid cost the same."""
    grid = load_grid(_write(tmp_path))
    free = recipe_of(grid, 'pose', Budget(), {})
    assert (free.loss.consistency, free.optimizer.epochs) == (0, 7)
    assert free.network.input_height == 96
    short = recipe_of(grid, 'pose', grid.budget('short'), {'loss.pose': 2.0})
    assert (short.optimizer.epochs, short.loss.pose, short.loss.consistency) == (2, 2, 0)
    assert grid.budget('short').frames == 9
    assert recipe_of(grid, 'tuned', Budget(), {}).network.stride == 4
    with pytest.raises(ConfigError, match="no budget 'long'; it has short"):
        grid.budget('long')


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'base': 'missing.yaml'}, 'missing.yaml does not exist'),
        ({'variants': {}}, 'there is no variants'),
        ({'variants': {'base': {'loss.speed': 1}}}, 'speed'),
        ({'variants': {'base': {'speed': 1}}}, "'speed' is no entry"),
        ({'variants': {'base': {'loss.pose': 'much'}}}, 'much'),
        ({'variants': {'base': {'loss.pose': -1}}}, 'loss.pose is -1'),
        ({'variants': {'base': {'every': 0}}}, 'every is 0'),
        ({'variants': {'base': {'fine_tunes': 'third'}}}, "fine-tunes 'third'"),
        ({'variants': {'base': {'fine_tunes': 'base', 'every': 3}}}, "fine-tunes 'base'"),
        ({'variants': ['base']}, 'must have entries'),
        ({'budgets': {'short': {'frames': 1.5}}}, 'frames is 1.5'),
        ({'tables': [{'name': 'one'}]}, 'a table has no title'),
        ({'tables': [{**GRID['tables'][0], 'layout': 'round'}]}, "'round' is none of"),
        (
            {'tables': [{**GRID['tables'][0], 'rows': [{'label': ['a', 'b']}]}]},
            'must have 1 entries',
        ),
        (
            {'tables': [{**GRID['tables'][0], 'rows': [{'label': ['a'], 'variant': 'x'}]}]},
            "shows 'x', no variant",
        ),
        ({'variant': {}}, "'variant' is none of"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        load_grid(_write(tmp_path, **changes))


@pytest.mark.parametrize('content', [b'', b'- a\n', b'a: [', b'\xff\xfe'])
def test_a_file_that_is_no_grid_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / 'grid.yaml'
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r'grid\.yaml'):
        load_grid(path)


@pytest.mark.parametrize('name', ['paper_tables.yaml', 'ideas.yaml'])
def test_the_shipped_grids_are_whole(name: str) -> None:
    """Every recipe of every budget can be used, and every variant is shown."""
    grid = load_grid(CONFIGS / name)
    shown = {row.variant for table in grid.tables for row in table.rows}
    assert shown - {''} == set(grid.variants)
    assert 'short' in grid.budgets
    # Landmarks would hide what the network brings.
    for budget in grid.budgets.values():
        assert recipe_of(grid, next(iter(grid.variants)), budget, {}).map.landmarks == 0


def test_the_papers_recipe_has_the_papers_numbers() -> None:
    """Altillawi et al. 2023, section IV-B."""
    recipe = load_recipe(CONFIGS / 'paper.yaml')
    loss, optimizer, network = recipe.loss, recipe.optimizer, recipe.network
    assert (loss.pose, loss.consistency, loss.reprojection) == (1, 1, 0.001)
    assert (loss.curve, loss.likelihood) == ('none', 0)
    assert (optimizer.kind, optimizer.schedule) == ('adam', 'constant')
    assert (optimizer.learning_rate, optimizer.weight_decay) == (1e-4, 5e-4)
    assert (optimizer.epochs, optimizer.geometry_share, optimizer.ema_decay) == (400, 0, 0)
    assert (network.near, network.far, network.depth_scale) == (0.1, 10, 'linear')
    assert (network.stride, network.input_height) == (8, 480)
    assert recipe.map.landmarks == 0
    assert (network.canonical_depth, network.backbone_weights) == (False, '')
    augmentation = recipe.augmentation
    assert (augmentation.roll_deg, augmentation.tilt_deg, augmentation.zoom) == (30, 0, 1)


def test_scenes_have_a_name_and_a_group() -> None:
    scenes = parse_scenes(['7Scenes/Chess=/data/a', 'Attic=/data/b', '/data/kitchen'])
    assert [(scene.group, scene.name, scene.path) for scene in scenes] == [
        ('7Scenes', 'Chess', '/data/a'),
        ('', 'Attic', '/data/b'),
        ('', 'kitchen', '/data/kitchen'),
    ]
    with pytest.raises(ConfigError, match="two scenes are called 'kitchen'"):
        parse_scenes(['/one/kitchen', '/two/kitchen'])
