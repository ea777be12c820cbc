"""Old names of errors, for ``except`` clauses: ``lsst.pex.exceptions``."""

from skyloom.errors import DataNotFound, SkyloomError

__all__ = [
    "DomainError",
    "Exception",
    "InvalidParameterError",
    "InvalidParameterException",
    "LengthError",
    "LsstCppException",
    "LsstException",
    "NotFoundError",
    "NotFoundException",
    "OutOfRangeError",
    "RuntimeError",
]

Exception = LsstException = LsstCppException = SkyloomError  # noqa: A001 - their names
RuntimeError = InvalidParameterError = InvalidParameterException = SkyloomError  # noqa: A001
DomainError = LengthError = OutOfRangeError = SkyloomError
NotFoundError = NotFoundException = DataNotFound
