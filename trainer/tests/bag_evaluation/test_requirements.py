"""Requirements decide as they are written, and malformed ones say what there is."""

import math

import pytest

from implicit_loc_trainer.bag_evaluation.figures import FIGURE_NAMES
from implicit_loc_trainer.bag_evaluation.requirements import (
    RequirementError,
    parse_requirements,
)


@pytest.mark.parametrize(
    ('text', 'is_met'),
    [
        ('availability<0.9', False),
        ('availability<=0.9', True),
        ('availability > 0.9', False),
        (' availability >= 9e-1 ', True),
        ('availability<inf', True),
    ],
)
def test_comparisons(text: str, is_met: bool) -> None:
    (requirement,) = parse_requirements(text)
    assert requirement.is_met({'availability': 0.9}) is is_met


def test_several_apart_by_commas() -> None:
    first, second = parse_requirements('median_translation_m<0.1, recall_25cm_10deg>0.95')
    figures = {'median_translation_m': 0.05, 'recall_25cm_10deg': 0.9}
    assert first.verdict(figures) == 'met: median_translation_m < 0.1, found 0.05'
    assert second.verdict(figures) == 'FAILED: recall_25cm_10deg > 0.95, found 0.9'


@pytest.mark.parametrize('comparison', ['<', '<=', '>', '>='])
def test_an_unknown_figure_meets_nothing(comparison: str) -> None:
    (requirement,) = parse_requirements(f'nees_mean{comparison}5')
    assert not requirement.is_met({'nees_mean': math.nan})
    assert 'not known' in requirement.verdict({'nees_mean': math.nan})


@pytest.mark.parametrize(
    ('text', 'error'),
    [
        ('', "'' is no comparison"),
        ('availability', "'availability' is no comparison"),
        ('availability=0.9', 'is no comparison'),
        ('availability<', 'is no comparison'),
        ('availability<0.1<0.2', "'0.1<0.2' is no number"),
        ('availability<a lot', 'is no comparison'),
        ('availability<much', "'much' is no number"),
        ('availability<nan', "'nan' is no number"),
        ('availability<0.1,', "'' is no comparison"),
        ('beauty>0.5', 'names no known figure'),
        ('rejected<5', 'names no known figure'),
    ],
)
def test_a_malformed_one_is_one_line_that_helps(text: str, error: str) -> None:
    with pytest.raises(RequirementError, match=error) as caught:
        parse_requirements(text)
    assert '\n' not in str(caught.value)
    if 'no number' not in error:
        assert all(name in str(caught.value) for name in FIGURE_NAMES)
