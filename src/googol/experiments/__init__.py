"""Experiments: choices as plain data, runs that repeat them, and what the runs are worth."""

from googol.experiments import config
from googol.experiments.editing import Edited, edit
from googol.experiments.evaluation import evaluate
from googol.experiments.experiment import Experiment
from googol.experiments.imputation import impute
from googol.experiments.questions import Answer, Belief, ask
from googol.experiments.run import Run, open_run, resume, train
from googol.experiments.scoring import Scores, Scoring, noise, score
from googol.experiments.scoring_figure import scoring_figure

__all__ = [
    "Answer",
    "Belief",
    "Edited",
    "Experiment",
    "Run",
    "Scores",
    "Scoring",
    "ask",
    "config",
    "edit",
    "evaluate",
    "impute",
    "noise",
    "open_run",
    "resume",
    "score",
    "scoring_figure",
    "train",
]
