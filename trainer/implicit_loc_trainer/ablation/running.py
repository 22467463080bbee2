"""Runs the variants of a grid on every scene, each in a process of its own."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from implicit_loc.errors import ImplicitLocError
from implicit_loc_trainer.ablation.apart import Outcome, train_apart
from implicit_loc_trainer.ablation.grid import Budget, Grid, recipe_of
from implicit_loc_trainer.ablation.results import Result, Results
from implicit_loc_trainer.ablation.scenes import FrameChoice, Scene, choose_frames, write_list
from implicit_loc_trainer.recipes.recipe import Recipe
from implicit_loc_trainer.training.fine_tuning import refined, refining_loss
from implicit_loc_trainer.training.folder_lock import FolderInUseError
from implicit_loc_trainer.training.run_folder import CHECKPOINT

_RUNS, _SPLITS = 'runs', 'splits'


class _BeginningMissingError(ImplicitLocError):
    """The run that a fine-tuning begins with has left no checkpoint yet."""


@dataclass(frozen=True)
class Run:
    """One variant on one scene, ready to be trained."""

    variant: str
    scene: Scene
    recipe: Recipe
    frames: FrameChoice

    @property
    def fingerprint(self) -> str:
        """Of what determines the result; where it is kept and by what machine do not."""
        values = dataclasses.asdict(self.recipe)
        seed, start = values['run']['seed'], Path(values['run']['start_from']).parent.name
        values['run'] = {'seed': seed, 'start_from': start}
        values['data'] |= {'path': '', 'train_split': ''}
        scene = (self.variant, self.scene.group, self.scene.name, self.scene.path)
        content = json.dumps([values, scene, dataclasses.astuple(self.frames)], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Ablation:
    """A grid on its scenes.

    Attributes:
        grid: what varies.
        scenes: what is learned.
        budget: what every run may cost.
        changes: values by 'section.key' for every run.
        output: folder of everything that is written.
        report: takes a line for the person who watches.
    """

    grid: Grid
    scenes: Sequence[Scene]
    budget: Budget
    changes: Mapping[str, Any]
    output: Path
    report: Callable[[str], None]

    def runs(self) -> Iterator[Run]:
        """Every run, those that others begin with first.

        Raises:
            ConfigError: a recipe is not usable.
            DataError: a recording is not usable.
        """
        order = sorted(
            self.grid.variants, key=lambda name: bool(self.grid.variants[name].fine_tunes)
        )
        for scene in self.scenes:
            for name in order:
                yield self._run(name, scene)

    def carry_out(self, run: Run, results: Results, retry_failed: bool = False) -> Result:
        """The result of a run, which is trained and measured unless it has one.

        A run that could not begin has a reason, but keeps none: the next call tries again.

        Raises:
            OSError: nothing can be written.
        """
        label = f'{run.variant} on {run.scene.name}'
        known = results.find(run.variant, run.scene.group, run.scene.name, run.fingerprint)
        if known is not None and not (known.reason and retry_failed):
            self.report(f'{label}: has a result')
            return known
        self.report(f'{label}: {run.recipe.optimizer.epochs} epochs')
        reason, outcome, lasting = '', Outcome(), True
        try:
            outcome = self._figures(run)
        except ImplicitLocError as error:
            reason = ' '.join(str(error).split())
            lasting = not isinstance(error, (FolderInUseError, _BeginningMissingError))
            self.report(f'{label}: failed: {reason}')
        result = Result(
            run.variant,
            run.scene.group,
            run.scene.name,
            run.fingerprint,
            reason,
            outcome.figures,
            outcome.machine,
        )
        if lasting:
            results.add(result)
        return result

    def _run(self, name: str, scene: Scene) -> Run:
        variant = self.grid.variants[name]
        source = self.grid.variants[variant.fine_tunes] if variant.fine_tunes else variant
        frames = choose_frames(
            scene,
            self.budget.frames,
            self.budget.test_frames,
            source.every,
            others=bool(variant.fine_tunes),
        )
        recipe = recipe_of(self.grid, name, self.budget, self.changes)
        split = write_list(self.output / _SPLITS, frames.train)
        data = replace(
            recipe.data,
            path=scene.path,
            train_split=str(split),
            positions_only=bool(variant.fine_tunes),
        )
        start, loss, network = '', recipe.loss, recipe.network
        if variant.fine_tunes:
            start = str(self._folder(self._run(variant.fine_tunes, scene)) / CHECKPOINT)
            loss, network = refining_loss(loss, data), refined(network)
        run = replace(recipe.run, start_from=start, report=False)
        # They depend on each other, and are checked together.
        recipe = replace(recipe, data=data, network=network, loss=loss, run=run)
        place = self._folder(Run(name, scene, recipe, frames))
        recipe = replace(recipe, run=replace(run, output=str(place)))
        return Run(name, scene, recipe, frames)

    def _folder(self, run: Run) -> Path:
        name = f'{run.scene.group}-{run.scene.name}-{run.variant}'.lstrip('-')
        readable = ''.join(letter if letter.isalnum() else '-' for letter in name)
        return self.output / _RUNS / f'{readable}-{run.fingerprint[:8]}'

    def _figures(self, run: Run) -> Outcome:
        start = run.recipe.run.start_from
        if start and not Path(start).is_file():
            raise _BeginningMissingError(
                f'the checkpoint that it begins with is not there: {start}'
            )
        split = write_list(self.output / _SPLITS, run.frames.test)
        outcome = train_apart(run.recipe, run.scene, split)
        config = run.recipe.optimizer
        steps = len(run.frames.train) // config.batch_size * config.epochs
        return replace(
            outcome, figures={**outcome.figures, 'images_seen': steps * config.batch_size}
        )
