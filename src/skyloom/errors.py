"""What can go wrong, and who has to act.

::

    SkyloomError
    ├── UserMistake                 stops before any work; exit status 2
    │   ├── ConfigError             the configuration file
    │   │   ├── UnknownKey          (KeyError)
    │   │   ├── WrongType           (TypeError)
    │   │   ├── WrongValue          (ValueError)
    │   │   └── MissingConfig       (FileNotFoundError)
    │   ├── Busy                    another run is at work in this directory
    │   ├── DisplayNotAvailable     (RuntimeError) no ds9, or none that answers
    │   ├── DisplayRefused          (RuntimeError) the display does not know what it was told
    │   ├── SolverNotAvailable      no program or package that solves plates
    │   └── InputError              images, catalogues, directories
    │       ├── MissingFile         (FileNotFoundError)
    │       ├── UnreadableFile      (OSError)
    │       ├── BadHeader           (RuntimeError)
    │       ├── BadTable            (ValueError)
    │       ├── UnknownColumn       (KeyError)
    │       ├── Mismatch            (RuntimeError)
    │       ├── Unwritable          (OSError)
    │       │   └── ReadOnlyError   a butler that was opened for reading
    │       ├── OutputExists        (FileExistsError)
    │       │   ├── FolderExists    (RuntimeError)
    │       │   └── ConflictError   a dataset that is there already
    │       ├── BadDataId           (ValueError)
    │       │   └── AmbiguousDataId several datasets fit
    │       ├── UnknownDatasetType  (KeyError)
    │       ├── DataNotFound        (FileNotFoundError)
    │       ├── OutsideImage        (ValueError)
    │       ├── UnknownMaskPlane    (KeyError)
    │       ├── TooManyMaskPlanes   (ValueError)
    │       ├── MissingComponent    (LookupError)
    │       ├── NotCalibrated       (ValueError)
    │       ├── UnsupportedFcr      (ValueError)
    │       └── NotProvided         (AttributeError) an old name that has no counterpart
    ├── DownloadFailed              (RuntimeError) the network, or what came through it
    ├── ShellCommandFailed          (RuntimeError) a program that was called broke off
    ├── Unprocessable               this unit is skipped, recorded and counted; exit status 1
    │   └── NotSolved               a star field was not recognised
    └── DataDamaged                 a product on disk fails its checksum or cannot be read

Each message says where (file, HDU, key, row), what, and the remedy; the numbers in it are also
attributes, so that reports can tabulate them.  Anything else that is raised is a bug of ours and
keeps its traceback.
"""

from __future__ import annotations

__all__ = [
    "AmbiguousDataId",
    "BadDataId",
    "BadHeader",
    "BadTable",
    "Busy",
    "ConfigError",
    "ConflictError",
    "DataDamaged",
    "DataNotFound",
    "DisplayNotAvailable",
    "DisplayRefused",
    "DownloadFailed",
    "FolderExists",
    "InputError",
    "Mismatch",
    "MissingComponent",
    "MissingConfig",
    "MissingFile",
    "NotCalibrated",
    "NotProvided",
    "NotSolved",
    "OutputExists",
    "OutsideImage",
    "ReadOnlyError",
    "ShellCommandFailed",
    "SkyloomError",
    "SolverNotAvailable",
    "TooManyMaskPlanes",
    "UnknownColumn",
    "UnknownDatasetType",
    "UnknownKey",
    "UnknownMaskPlane",
    "Unprocessable",
    "UnreadableFile",
    "UnsupportedFcr",
    "Unwritable",
    "UserMistake",
    "WrongType",
    "WrongValue",
]


class SkyloomError(Exception):
    """Base of every error that this package raises on purpose.

    Parameters
    ----------
    message : str
        Where, what, and the remedy, in one line.
    **facts
        The numbers and names of the message; they become attributes and stand in `facts`.
    """

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts

    def __str__(self) -> str:
        return self.message

    def __getattr__(self, name: str) -> object:
        facts = self.__dict__.get("facts", {})
        if name in facts:
            return facts[name]
        raise AttributeError(name)

    def __reduce__(self) -> tuple[object, ...]:
        # Errors travel from worker processes to the coordinator with their facts.
        return _rebuild, (type(self), self.message, self.facts)


def _rebuild(cls: type[SkyloomError], message: str, facts: dict[str, object]) -> SkyloomError:
    return cls(message, **facts)


class UserMistake(SkyloomError):
    """Something that the user has to change; raised before any work starts."""


class ConfigError(UserMistake):
    """The configuration cannot be used."""


class UnknownKey(ConfigError, KeyError):
    """A configuration key that does not exist."""


class WrongType(ConfigError, TypeError):
    """A configuration value of the wrong type."""


class WrongValue(ConfigError, ValueError):
    """A configuration value outside its choices or range."""


class MissingConfig(ConfigError, FileNotFoundError):
    """The configuration file does not exist."""


class Busy(UserMistake):
    """Another run holds the working directory; two runs must not mix."""


class DisplayNotAvailable(UserMistake, RuntimeError):
    """The display that was asked for is not there, or does not answer."""


class DisplayRefused(UserMistake, RuntimeError):
    """The display answered a command or an image with an error."""


class SolverNotAvailable(UserMistake):
    """Plate solving needs a program or a package that is not installed."""


class InputError(UserMistake):
    """An input of the run cannot be used."""


class MissingFile(InputError, FileNotFoundError):
    """A file that the configuration or the image list names does not exist."""


class UnreadableFile(InputError, OSError):
    """A file exists but cannot be understood (truncated FITS, binary rubbish in a CSV)."""


class BadHeader(InputError, RuntimeError):
    """A FITS keyword is missing or has no usable value."""


class BadTable(InputError, ValueError):
    """A catalogue lacks a column or has rows that cannot be used."""


class UnknownColumn(InputError, KeyError):
    """A catalogue has no field of that name, in any vocabulary."""


class Mismatch(InputError, RuntimeError):
    """Inputs that should belong together do not: shapes, WCS, bands."""


class Unwritable(InputError, OSError):
    """An output directory cannot be created or written."""


class ReadOnlyError(Unwritable):
    """A butler that was opened for reading is asked to write."""


class OutputExists(InputError, FileExistsError):
    """A file that would be overwritten."""


class FolderExists(OutputExists, RuntimeError):
    """A folder that would be overwritten."""


class ConflictError(OutputExists):
    """A dataset that exists already, or that contradicts what the registry knows."""


class BadDataId(InputError, ValueError):
    """A data ID has an unknown key, lacks one, or holds a value that cannot name a file."""


class AmbiguousDataId(BadDataId):
    """A data ID that lacks keys for which there are several values."""


class UnknownDatasetType(InputError, KeyError):
    """A dataset type that the layout does not have."""


class DataNotFound(InputError, FileNotFoundError):
    """A dataset that has a place in the layout but no file there."""


class OutsideImage(InputError, ValueError):
    """A box that is not inside the image; boxes of exposures are in parent coordinates."""


class UnknownMaskPlane(InputError, KeyError):
    """A mask plane that this mask does not have."""


class TooManyMaskPlanes(InputError, ValueError):
    """A mask has no bit left for another plane."""


class MissingComponent(InputError, LookupError):
    """An exposure lacks a part (wcs, psf, ...), or holds one of a class that is not understood."""


class NotCalibrated(InputError, ValueError):
    """An image without a usable zero point, FLUXMAG0 = 0 among them."""


class UnsupportedFcr(InputError, ValueError):
    """A mosaic flux correction that is not in the documented format."""


class NotProvided(InputError, AttributeError):
    """A name of another package that has no counterpart here."""


class DownloadFailed(SkyloomError, RuntimeError):
    """A file could not be fetched, or is not what was announced; trying again may help."""


class Unprocessable(SkyloomError):
    """The data of one unit cannot be processed; the other units go on."""


class NotSolved(Unprocessable):
    """A star field was not recognised; the message says what speaks for which reason."""


class ShellCommandFailed(SkyloomError, RuntimeError):
    """A program that was called broke off; ``retcode`` is its status, the message has its log."""

    def __init__(self, message: str, retcode: int | None = None, **facts: object) -> None:
        super().__init__(message, retcode=retcode, **facts)


class DataDamaged(SkyloomError):
    """A product on disk is not what was written."""
