"""Training: one loop for every model, with checkpoints, resuming, and pictures on the way."""

from googol.training.checkpoints import (
    disk_space_errors,
    load_checkpoint,
    load_config,
    load_weights,
    save_checkpoint,
    save_model,
    write_file,
)
from googol.training.control import TrainingInterrupted
from googol.training.figures import (
    STANDARD_FIGURES,
    FigureMaker,
    draw_figures,
    grid_png,
    image_grid,
    names_as_they_are,
    to_png,
)
from googol.training.history import NonFiniteLossError
from googol.training.loop import fit
from googol.training.progress import TrainingResult
from googol.training.settings import TrainingSettings
from googol.training.table_figures import TABLE_FIGURES

__all__ = [
    "STANDARD_FIGURES",
    "TABLE_FIGURES",
    "FigureMaker",
    "NonFiniteLossError",
    "TrainingInterrupted",
    "TrainingResult",
    "TrainingSettings",
    "disk_space_errors",
    "draw_figures",
    "fit",
    "grid_png",
    "image_grid",
    "load_checkpoint",
    "load_config",
    "load_weights",
    "names_as_they_are",
    "save_checkpoint",
    "save_model",
    "to_png",
    "write_file",
]
