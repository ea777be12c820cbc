"""The names of the HSC pipeline tools, so that scripts written for them go on.

Either run a script as it is, ``python -m skyloom.compat.hsc script.py ...``, or let it begin with

>>> from skyloom.compat import hsc
>>> hsc.install()
>>> import lsst.daf.persistence as dafPersist
>>> hsc.uninstall()

The scripts must be Python 3.  Old objects are thin: each holds the new one (``exposure.new``) and
has the methods of the old name; whatever the new one has is there too.
"""

from skyloom.compat.hsc._install import MODULES, install, installed, uninstall
from skyloom.compat.hsc._table import Replacement, migration_table, replacements

__all__ = [
    "MODULES",
    "Replacement",
    "install",
    "installed",
    "migration_table",
    "replacements",
    "uninstall",
]
