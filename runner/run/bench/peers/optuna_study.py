"""An Optuna study in this folder: each trial writes one file of 1 KB.

usage: optuna_study.py journal|sqlite TRIALS

It runs the trials that the storage does not have yet. The sampler is the cheapest one, and
one thread is faster than two: the storage is locked for each record.
"""

import sys
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

kind, trials = sys.argv[1], int(sys.argv[2])
optuna.logging.set_verbosity(optuna.logging.WARNING)
storage = JournalStorage(JournalFileBackend("journal.log")) if kind == "journal" else "sqlite:///study.db"
study = optuna.create_study(study_name="bench", storage=storage, sampler=optuna.samplers.RandomSampler(0), load_if_exists=True)
Path("out").mkdir(exist_ok=True)


def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    Path("out", str(trial.number)).write_bytes(bytes(1024))
    return x


left = trials - len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
if left > 0:
    study.optimize(objective, n_trials=left, n_jobs=1)
