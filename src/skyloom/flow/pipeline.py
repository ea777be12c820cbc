"""Pipelines: stages in order, checked before anything runs."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeAlias, final

from skyloom.butler import DataId, Layout
from skyloom.errors import WrongValue

from .dataset import Dataset, Dim, Field
from .settings import key_values
from .stage import Stage

__all__ = ["Pipeline", "PipelineError"]

AnyStage: TypeAlias = Stage[Any, Any, Any]


class PipelineError(TypeError):
    """Stages do not fit together: a bug of the pipeline, found when it is built."""


@final
class Pipeline:
    """Stages in an order in which each finds its inputs made by earlier ones.

    Parameters
    ----------
    stages : iterable of Stage
        In order of work.
    layout : Layout
        Names the dataset types; those that are external come from the user.

    Raises
    ------
    PipelineError
        If names clash, an input is made by no earlier stage, two stages make one dataset, or an
        annotation does not fit the dimensions of its type.
    """

    def __init__(self, stages: Iterable[AnyStage], *, layout: Layout) -> None:
        self.stages: tuple[AnyStage, ...] = tuple(stages)
        self.layout = layout
        self._needs: dict[str, tuple[str, ...]] = {}
        seen: list[AnyStage] = []
        for stage in self.stages:
            if stage.name in self._needs:
                raise PipelineError(f"two stages are called {stage.name!r}")
            key_values(stage.full_config, stage.config_keys, owner=stage.name)
            self._check_fields(stage)
            self._check_writers(stage, seen)
            self._needs[stage.name] = tuple(self._producers(stage, seen))
            seen.append(stage)

    def __getitem__(self, name: str) -> AnyStage:
        return next(stage for stage in self.stages if stage.name == name)

    def producers(self, stage: AnyStage) -> tuple[str, ...]:
        """Return the names of the stages that make what a stage reads."""
        return self._needs[stage.name]

    def externals(self, stages: Iterable[AnyStage]) -> list[str]:
        """Return the user's dataset types that some stages read."""
        types = (t for stage in stages for t in [d.type for d in stage.input_types.values()])
        types_from = (t for stage in stages for t in stage.units_from)
        return sorted({t for t in (*types, *types_from) if self.layout[t].is_external})

    def select(self, targets: Collection[str] | None = None) -> tuple[AnyStage, ...]:
        """Return the stages that are named and all that they need, in order; None: all stages.

        Raises
        ------
        WrongValue
            If a name is not that of a stage.
        """
        if targets is None:
            return self.stages
        self.check_names(targets)
        wanted = set(targets)
        for stage in reversed(self.stages):
            if stage.name in wanted:
                wanted.update(self._needs[stage.name])
        return tuple(stage for stage in self.stages if stage.name in wanted)

    def check_names(self, names: Iterable[str]) -> None:
        """Raise `WrongValue` for a name that is not that of a stage."""
        for name in names:
            if name not in self._needs:
                near = difflib.get_close_matches(name, self._needs, n=1)
                hint = (
                    f"did you mean {near[0]!r}?" if near else f"there are {', '.join(self._needs)}"
                )
                raise WrongValue(f"no stage is called {name!r}; {hint}", name=name)

    def graph(self) -> str:
        """Draw the pipeline: a line per stage with its unit, what it reads, what it makes.

        A star marks the user's files, a question mark what may be absent, brackets what is
        gathered or scattered.
        """
        lines = []
        for stage in self.stages:
            unit = " x ".join(stage.dimensions) or "whole"
            reads = ", ".join(self._drawn(f) for f in stage.inputs if not isinstance(f.source, Dim))
            makes = ", ".join(self._drawn(f) for f in stage.outputs)
            lines.append(f"{stage.name} ({unit}): {reads or 'nothing'} -> {makes}")
        return "\n".join(lines)

    def _drawn(self, field: Field) -> str:
        dataset = field.source
        assert isinstance(dataset, Dataset)  # those with Dim are left out
        star = "*" if self.layout[dataset.type].is_external else ""
        over = f"[{', '.join(field.spread)}]" if field.spread else ""
        return f"{dataset.type}{star}{over}{'?' if dataset.optional else ''}"

    def _check_fields(self, stage: AnyStage) -> None:
        unknown = [key for key in stage.dimensions if key not in self.layout.dimensions]
        stray = [key for key in stage.fixed if key not in stage.dimensions]
        if unknown or stray:
            raise PipelineError(f"stage {stage.name}: {(unknown or stray)[0]!r} is no dimension")
        for side, fields in (("input", stage.inputs), ("output", stage.outputs)):
            for field in fields:
                where = f"stage {stage.name}, {side} {field.name}"
                if isinstance(field.source, Dim):
                    if side == "output" or field.source.name not in (None, *stage.dimensions):
                        raise PipelineError(f"{where}: its unit has no {field.source.name!r}")
                    continue
                self._check_spread(stage, field, field.source, where)
                if side == "output" and self.layout[field.source.type].is_external:
                    raise PipelineError(f"{where}: {field.source.type} is the user's file")

    def _check_spread(self, stage: AnyStage, field: Field, dataset: Dataset, where: str) -> None:
        dimensions = self.layout[dataset.type].dimensions
        alien = [key for key in field.spread if key not in dimensions]
        rest = [k for k in dimensions if k not in field.spread and k not in stage.dimensions]
        if alien:
            raise PipelineError(f"{where}: {dataset.type} has no dimension {alien[0]!r}")
        if rest:
            raise PipelineError(
                f"{where}: a unit does not say which {rest[0]} of {dataset.type} is meant; "
                f"gather or scatter over {rest[0]!r}"
            )

    def _check_writers(self, stage: AnyStage, seen: Sequence[AnyStage]) -> None:
        types = {dataset.type for dataset in stage.output_types.values()}
        if len(types) < len(stage.output_types):
            raise PipelineError(f"stage {stage.name}: two outputs are of one type")
        for other in seen:
            both = types & {dataset.type for dataset in other.output_types.values()}
            if both and other.fixed.agrees(stage.fixed):
                raise PipelineError(f"stages {other.name} and {stage.name} both make {both.pop()}")

    def _producers(self, stage: AnyStage, seen: Sequence[AnyStage]) -> list[str]:
        found: dict[str, None] = {}
        wanted = [(n, d.type, d.optional) for n, d in stage.input_types.items()]
        wanted += [("", type_, False) for type_ in stage.units_from]
        for field, type_, optional in wanted:
            fixed = self._fixed_part(stage, field, type_)
            makers = [
                other.name
                for other in seen
                if any(type_ == dataset.type for dataset in other.output_types.values())
                and other.fixed.subset(self.layout[type_].dimensions).agrees(fixed)
            ]
            if not makers and not optional and not self.layout[type_].is_external:
                raise PipelineError(f"stage {stage.name} reads {type_}, which no earlier one makes")
            found.update(dict.fromkeys(makers))
        return list(found)

    def _fixed_part(self, stage: AnyStage, field: str, type_: str) -> DataId:
        """Return what is known of the data ID that a field reads before there are units."""
        if not field:
            return DataId()
        source = next(f for f in stage.inputs if f.name == field)
        keys = [k for k in self.layout[type_].dimensions if k not in source.spread]
        return stage.locate(field, stage.fixed).subset(keys)
