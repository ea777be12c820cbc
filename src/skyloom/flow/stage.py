"""Stages: pure functions from datasets to datasets."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast, get_args, get_origin

from typing_extensions import override

from skyloom.butler import DataId, Value

from .dataset import Dataset, Dim, Field, fields_of
from .settings import ConfigView

__all__ = ["Stage", "Upstream"]

ConfigT = TypeVar("ConfigT")
InputsT = TypeVar("InputsT")
OutputsT = TypeVar("OutputsT")


class Upstream(Protocol):
    """What `Stage.units` may look at: products of earlier stages and the user's files."""

    def get(self, type_: str, **dims: Value) -> Any:
        """Read a dataset that the stage declares as input or in ``units_from``."""
        ...

    def ids(self, type_: str) -> Sequence[DataId]:
        """List the data IDs of a type, in the order of its producer."""
        ...

    def values(self, dimension: str) -> Sequence[Value]:
        """List the values of a dimension that is known from the start, such as the bands."""
        ...

    def dimensions(self, type_: str) -> tuple[str, ...]:
        """Return the dimensions of a dataset type."""
        ...


class Stage(abc.ABC, Generic[ConfigT, InputsT, OutputsT]):
    """One step of a pipeline; subclasses are final.

    The three parameters are the configuration, a frozen dataclass of inputs and one of outputs,
    whose fields are ``Annotated[type, Dataset(...)]`` (inputs also ``Dim(...)``)::

        @dataclass(frozen=True, slots=True, kw_only=True)
        class DetectInputs:
            band: Annotated[str, Dim("band")]
            image: Annotated[Handle[FitsImages], Dataset("raw_image", lazy=True)]
            cells: Annotated[Table, Dataset("cells")]

        @dataclass(frozen=True, slots=True, kw_only=True)
        class DetectOutputs:
            peaks: Annotated[dict[str, Table], Dataset("peaks", scatter="cell")]

        class Detect(Stage[TileConfig, DetectInputs, DetectOutputs]):
            \"\"\"Find peaks in the image of each band.\"\"\"
            name = "detect"
            version = 3                       # raise it when results change
            dimensions = ("band",)            # its unit
            config_keys = ("detect", "-detect.workers", "image.saturation")

            @override
            def run(self, inputs: DetectInputs) -> DetectOutputs:
                ...

    `run` needs nothing else, so a test or a notebook calls
    ``Detect(config).run(DetectInputs(...))`` with made-up arrays.  The same inputs have to
    give the same bytes: no dates, no host names, no order of a set, no number of workers.

    Class attributes
    ----------------
    name, version
        Both are part of the key of every product.
    dimensions
        What a unit is: ``()`` the whole tile, ``("band",)``, ``("patch",)`` ...
    config_keys
        Dotted keys or sections that it reads; they are part of the key, nothing else can be read.
        ``"-section.key"`` may be read and is not part of the key.
    units_from
        Dataset types that `units` reads and `run` does not.
    tolerant
        Gathered inputs go on with what there is when some unit upstream failed.
    light
        A second or so of work: may run in the coordinating process while no worker is up.
    late
        Its units wait until no others are waiting (pictures).
    log
        Dataset type (format text) that receives what each unit logs.

    Parameters
    ----------
    config : ConfigT
        The whole configuration.
    name : str, optional
        Tells instances of one class apart.
    fixed : DataId, optional
        Values of some dimensions, the same for all units (``{"pass": 2}``).
    """

    name: str = ""
    version: ClassVar[int] = 1
    dimensions: ClassVar[tuple[str, ...]] = ()
    config_keys: ClassVar[tuple[str, ...]] = ()
    units_from: ClassVar[tuple[str, ...]] = ()
    tolerant: ClassVar[bool] = False
    light: ClassVar[bool] = False
    late: ClassVar[bool] = False
    log: ClassVar[str | None] = None

    inputs_type: ClassVar[type[Any]]
    outputs_type: ClassVar[type[Any]]

    def __init__(
        self, config: ConfigT, *, name: str | None = None, fixed: DataId | None = None
    ) -> None:
        self.full_config = config
        self.fixed = DataId(fixed)
        if name is not None:
            self.name = name

    @override
    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in getattr(cls, "__orig_bases__", ()):
            if get_origin(base) is Stage:
                _, inputs, outputs = get_args(base)
                if not isinstance(inputs, TypeVar):
                    cls.inputs_type, cls.outputs_type = inputs, outputs
        cls.name = cls.__dict__.get("name", cls.name) or cls.__name__.lower()

    @property
    def config(self) -> ConfigT:
        """The configuration, as far as ``config_keys`` declares it."""
        view = ConfigView(self.full_config, self.config_keys, owner=self.name)
        return cast(ConfigT, view)

    @property
    def inputs(self) -> tuple[Field, ...]:
        """Fields of its inputs."""
        return fields_of(self.inputs_type)

    @property
    def outputs(self) -> tuple[Field, ...]:
        """Fields of its outputs."""
        return fields_of(self.outputs_type)

    @property
    def input_types(self) -> dict[str, Dataset]:
        """Datasets that it reads, by field name."""
        return {f.name: f.source for f in self.inputs if not isinstance(f.source, Dim)}

    @property
    def output_types(self) -> dict[str, Dataset]:
        """Datasets that it writes, by field name."""
        return {f.name: f.source for f in self.outputs if not isinstance(f.source, Dim)}

    @abc.abstractmethod
    def run(self, inputs: InputsT) -> OutputsT:
        """Do the work of one unit: memory in, memory out."""

    def units(self, upstream: Upstream) -> Iterable[DataId]:
        """List the units of work, in the order in which their products are to be gathered.

        By default the product of the dimensions: those known from the start (bands) as they were
        given, those that exist only once an upstream stage has run (patches) as the data IDs of
        the first single input that carries them.
        """
        known: dict[str, Sequence[Value]] = {k: (value,) for k, value in self.fixed.items()}
        known |= {key: upstream.values(key) for key in self.dimensions if key not in known}
        unknown = [key for key in self.dimensions if not known[key]]
        units = [DataId()]
        if unknown:
            units = self._carried(upstream, unknown)
        for key in self.dimensions:
            units = [
                unit if key in unit else unit.replace({key: value})
                for unit in units
                for value in (known[key] if key not in unit else ("",))
            ]
        return [unit.subset(self.dimensions) for unit in units]

    def _carried(self, upstream: Upstream, unknown: list[str]) -> list[DataId]:
        """Return the data IDs of the first single input that carries the unknown dimensions."""
        for field in self.inputs:
            dataset = field.source
            if isinstance(dataset, Dim) or field.spread:
                continue
            if set(unknown) <= set(upstream.dimensions(dataset.type)):
                wanted = self.locate(field.name, self.fixed)
                ids = [i for i in upstream.ids(dataset.type) if i.agrees(wanted)]
                own = [key for key in self.dimensions if key not in self.fixed]
                return list(dict.fromkeys(i.subset(own) for i in ids))
        raise TypeError(
            f"stage {self.name}: nothing tells the values of {', '.join(unknown)}; override units()"
        )

    def locate(self, field: str, unit: DataId) -> DataId:  # noqa: ARG002 - for subclasses
        """Return the data ID that an input field reads, of which its dimensions count.

        By default that of the unit.  Override it to read, say, the pass before.  It is also
        called with no more than the fixed part of a unit, to draw the graph.
        """
        return unit
