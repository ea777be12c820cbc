"""Files of plate solving: index files, tables of stars, catalogues, the program solve-field."""

from skyloom.calib.plate_solving.io.index import (
    IndexFile,
    find_indexes,
    index_directories,
    read_index,
    stars_in_cone,
)
from skyloom.calib.plate_solving.io.tables import (
    SolveInput,
    read_reference_catalog,
    read_solve_input,
    read_star_table,
    write_star_table,
)

__all__ = [
    "IndexFile",
    "SolveInput",
    "find_indexes",
    "index_directories",
    "read_index",
    "read_reference_catalog",
    "read_solve_input",
    "read_star_table",
    "stars_in_cone",
    "write_star_table",
]
