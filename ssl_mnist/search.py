"""The database of a search (conf/search/optuna.yaml), which the same command again goes on with."""

import contextlib
import sqlite3
import warnings
from pathlib import Path

from ssl_mnist.errors import UserError

SQLITE = "sqlite:///"


def check_study(storage: str | None, name: str) -> None:
    """Read every trial of a study that is kept in an SQLite file. Raises UserError where the file is there and cannot be read.

    storage: of hydra.sweeper, such as sqlite:///outputs/optuna.db; name: of the study, which need not be there yet.
    """
    if not (storage or "").startswith(SQLITE):
        return
    path = Path(str(storage).removeprefix(SQLITE))
    if not path.is_file() or not path.stat().st_size:
        return
    from optuna import load_study
    from optuna.storages import RDBStorage

    try:
        with contextlib.closing(sqlite3.connect(path, timeout=60)) as database:
            (state,) = database.execute("pragma integrity_check").fetchone()
        if state != "ok":
            raise sqlite3.DatabaseError(state)
        kept = RDBStorage(str(storage))
        try:
            with warnings.catch_warnings(), contextlib.suppress(KeyError):  # KeyError: no study of this name, so that one is made
                warnings.simplefilter("ignore")
                load_study(study_name=name, storage=kept).get_trials(deepcopy=False)
        finally:
            kept.engine.dispose()
    except Exception as error:  # SQLite's, SQLAlchemy's, alembic's and optuna's, and whatever a changed value makes them raise
        raise UserError(f"{path} is not a database of optuna's, or it is damaged; choose another hydra.sweep.dir") from error
