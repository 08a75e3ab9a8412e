"""Experiments: choices as plain data, runs that repeat them, and what the runs are worth."""

from googol.experiments import config
from googol.experiments.evaluation import evaluate
from googol.experiments.experiment import Experiment
from googol.experiments.imputation import impute
from googol.experiments.run import Run, open_run, resume, train

__all__ = ["Experiment", "Run", "config", "evaluate", "impute", "open_run", "resume", "train"]
