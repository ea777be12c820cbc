"""Planning a stage: its units, what each reads, and whether that was done before."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from skyloom.butler import Butler, DataId, Handle, Value

from .dataset import Dataset, Dim, Field
from .datasets import Blocked, Datasets, View
from .keys import StageKey, canonical, digest_text
from .ledger import Ledger, Output, Past
from .stage import Stage
from .task import Binding

__all__ = ["PlannedUnit", "plan_stage"]

AnyStage: TypeAlias = Stage[Any, Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedUnit:
    """A unit and what is to become of it: run it, skip it, or it is blocked."""

    unit: DataId
    key: str = ""
    bindings: Mapping[str, Binding] = field(default_factory=dict)
    parts: Mapping[str, Any] = field(default_factory=dict)
    reuse: Sequence[Output] | None = None  # up to date: these are its outputs
    blocked: str | None = None  # what is missing
    reasons: Sequence[str] = ()  # why it has to run
    again: bool = False  # an earlier attempt did not end


def plan_stage(
    stage: AnyStage,
    *,
    datasets: Datasets,
    butler: Butler,
    ledger: Ledger,
    dimensions: Mapping[str, Sequence[Value]],
    force: bool,
    transient: Collection[str] = (),
) -> Iterator[PlannedUnit]:
    """Yield the units of a stage in their order.

    Products of the types ``transient`` need not be there for a unit to be up to date.

    Raises
    ------
    Blocked
        If the units themselves cannot be listed because something upstream failed.
    """
    allowed = [dataset.type for dataset in stage.input_types.values()] + list(stage.units_from)
    view = View(datasets, butler, allowed, dimensions)
    units = dict.fromkeys(_whole(stage, unit) for unit in stage.units(view))
    for hole, type_ in view.holes.items():
        # Nobody knows how many units are missing; they count as one.
        unit = stage.fixed.replace(hole).subset(stage.dimensions)
        if unit not in units:
            yield PlannedUnit(unit=unit, blocked=f"some {type_}({hole}) were not made")
    shared = StageKey.of(stage)
    past = ledger.past(stage.name)
    for unit in units:
        try:
            bindings = {f.name: _bind(stage, f, unit, datasets, butler) for f in stage.inputs}
        except Blocked as gap:
            yield PlannedUnit(unit=unit, blocked=str(gap))
            continue
        inputs = {name: _digest(binding) for name, binding in bindings.items()}
        key = shared.unit(unit, inputs)
        before = past.get(unit)
        reuse = None if force else _reusable(before, key, butler, ledger, transient)
        yield PlannedUnit(
            unit=unit,
            key=key,
            bindings=bindings,
            parts={"code": shared.code, "shape": shared.shape, "config": shared.config}
            | {"inputs": inputs},
            reuse=reuse,
            reasons=() if reuse is not None else _reasons(shared, before, inputs, force=force),
            again=before is not None and before.state == "running",
        )


def _whole(stage: AnyStage, unit: DataId) -> DataId:
    whole = stage.fixed.replace(unit).subset(stage.dimensions)
    if len(whole) != len(stage.dimensions) or not unit.agrees(whole):
        wanted = ", ".join(stage.dimensions) or "nothing"
        raise ValueError(f"stage {stage.name}: a unit ({unit}) has to say {wanted}")
    return whole


def _bind(
    stage: AnyStage, field_: Field, unit: DataId, datasets: Datasets, butler: Butler
) -> Binding:
    source = field_.source
    if isinstance(source, Dim):
        return Binding(value=unit if source.name is None else unit[source.name])
    dimensions = butler.layout[source.type].dimensions
    wanted = stage.locate(field_.name, unit).subset(
        [key for key in dimensions if key not in field_.spread]
    )
    if field_.spread:
        return _bind_many(stage, field_, source, wanted, datasets)
    handle = datasets.find(source.type, wanted)
    if handle is not None:
        return Binding(handles={None: handle}, lazy=source.lazy)
    lost = datasets.gap(source.type, wanted)
    if source.optional and (stage.tolerant or not lost):
        return Binding()
    why = "was not made" if lost else "does not exist"
    raise Blocked(f"{source.type}({wanted}) {why}" if wanted else f"{source.type} {why}")


def _bind_many(
    stage: AnyStage, field_: Field, source: Dataset, wanted: DataId, datasets: Datasets
) -> Binding:
    if not stage.tolerant and datasets.gap(source.type, wanted):
        raise Blocked(f"some {source.type}({wanted or ', '.join(field_.spread)}) were not made")
    handles: dict[Value | DataId | None, Handle[Any]] = {}
    for handle in datasets.select(source.type, wanted):
        key = handle.data_id.subset(field_.spread)
        handles[key[field_.spread[0]] if field_.by_value else key] = handle
    return Binding(handles=handles, many=True, lazy=source.lazy)


def _digest(binding: Binding) -> str:
    """Return what an input contributes to the key: its content.

    A stage that asks for a handle of a user's file may pass its path on, so there the path counts.
    """
    if binding.handles is None:
        value = binding.value
        return canonical(list(value.items()) if isinstance(value, DataId) else value)
    if not binding.many:
        return _content(binding, next(iter(binding.handles.values())))
    content = [[list(h.data_id.items()), _content(binding, h)] for h in binding.handles.values()]
    return digest_text(canonical(content))


def _content(binding: Binding, handle: Handle[Any]) -> str:
    return f"{handle.digest} {handle.path}" if binding.lazy and handle.external else handle.digest


def _reusable(
    past: Past | None, key: str, butler: Butler, ledger: Ledger, transient: Collection[str]
) -> Sequence[Output] | None:
    if past is None or past.state != "done" or past.key != key:
        return None
    for output in past.outputs:
        # The layout may have moved a directory since.
        is_gone = output.type in transient and not output.path.exists()
        if output.path != butler.path(output.type, output.data_id):
            return None
        if not is_gone and not ledger.is_intact(output):
            return None
    return past.outputs


def _reasons(
    shared: StageKey, past: Past | None, inputs: Mapping[str, str], *, force: bool
) -> Sequence[str]:
    if force:
        return ["forced"]
    if past is None:
        return ["not made before"]
    found = shared.reasons(past.parts, inputs)
    if found:
        return found
    return [
        "it failed or was interrupted"
        if past.state != "done"
        else "a product is missing or damaged"
    ]
