"""What the page shows, without the page: pictures or rows, what the model believes, and sentences."""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from googol.data import Given, load_image
from googol.experiments import Answer, Run, ask, edit
from googol.experiments.imputation import most_probable
from googol.experiments.questions import distribution_of_conditions
from googol.explorer.bars import Bars, bars_of_answer, bars_of_image
from googol.explorer.choices import Choice, ContradictionError, Pick, choose, describe, name_value
from googol.explorer.scales import Scale, scale_of
from googol.explorer.words import frequency, listed
from googol.metrics import evaluating
from googol.models import JointVAE, Tabular

DRAWN = 16


@dataclass(frozen=True, eq=False)
class View:
    """What belongs to one choice.

    Arguments:
        sentence: The choice, and how probable it is.
        doubtful: Whether the sentence is a warning.
        images: The pictures, ``(n, channels, height, width)``; none where the choice is impossible; of a table's rows
            those of no pixels.
        conditions: Theirs, ``(n, c)``.
        captions: The same in words.
        bars: The distribution of each condition that was not chosen exactly.
    """

    sentence: str
    doubtful: bool
    images: Tensor
    conditions: Tensor
    captions: tuple[str, ...] = ()
    bars: tuple[Bars, ...] = ()


@dataclass(frozen=True, eq=False)
class Portrait:
    """One picture, and what the model sees in it.

    Arguments:
        image: ``(1, channels, height, width)``.
        sentence: What it is.
        conditions: The conditions it has or is taken to have, ``(c,)``.
        caption: The same in words.
        bars: The distribution of each condition given the picture alone.
        redrawn: As the model draws it, if it is somebody's own.
    """

    image: Tensor
    sentence: str
    conditions: Tensor
    caption: str
    bars: tuple[Bars, ...]
    redrawn: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Changed:
    """A picture with one condition changed.

    Arguments:
        image: ``(1, channels, height, width)``.
        sentence: What was changed, what was kept, and what could not be.
        doubtful: Whether something could not be kept.
        caption: Its conditions in words.
    """

    image: Tensor
    sentence: str
    doubtful: bool
    caption: str


class Explorer:
    """A run as the page asks it. One is shared by all visitors: it keeps nothing of what they do.

    Arguments:
        run: A finished run.

    Raises:
        ValueError: The model is no joint model of codes and conditions, nor one of a table.
    """

    def __init__(self, run: Run) -> None:
        if not isinstance(run.model, JointVAE | Tabular):
            raise ValueError(
                f"the model in {run.folder} cannot do all that the page offers; train a joint-vae, or a tabular model"
            )
        labels = distribution_of_conditions(run)
        self.run = run
        self.conditions = run.conditions
        self.scales: tuple[Scale | None, ...] = tuple(
            None if condition.is_categorical else scale_of(labels.marginal([number]))
            for number, condition in enumerate(run.conditions)
        )
        # Random numbers come from PyTorch's only generator: whoever draws has it for himself meanwhile.
        self._lock = threading.Lock()

    @property
    def things(self) -> str:
        """What the model draws, in a word: pictures or rows."""
        return "rows" if self.run.is_table else "pictures"

    def look(self, picks: Sequence[Pick], *, seed: int = 0, temperature: float = 1.0) -> View:
        """What belongs to a choice.

        Arguments:
            picks: What was picked for each condition.
            seed: Of the pictures.
            temperature: Of the model's ``generate``; it plays no part in a table.
        """
        nothing = torch.zeros(0, *self.run.image_shape), torch.zeros(0, len(self.conditions))
        try:
            choice = choose(picks, self.conditions, self.scales)
        except ContradictionError as error:
            return View(str(error), True, *nothing)
        try:
            answer = ask(self.run, choice.given)
        except ValueError:
            sentence = f"You chose {choice.words}. That is impossible for this model: choose less."
            return View(sentence, True, *nothing)
        with self._lock, evaluating(self.run.model, seed=seed):
            options = {} if self.run.is_table else {"temperature": temperature}
            images, conditions = self.run.model.generate(
                DRAWN, choice.given.values, within=choice.given.within, **options
            )
        captions = tuple(describe(row, self.conditions, self.scales) for row in conditions.tolist())
        bars = tuple(bars_of_answer(answer, self.run, self.scales))
        return View(_judged(choice, answer, self.things), answer.is_rare, images, conditions, captions, bars)

    def portrait_of_sample(self, view: View, index: int) -> Portrait:
        """One of the pictures of a view.

        Raises:
            IndexError: There is no such picture.
        """
        if index not in range(len(view.images)):
            raise IndexError(f"expected the index of one of {len(view.images)} pictures, got {index!r}")
        image = view.images[index : index + 1]
        bars, read = self._read(image)
        sentence = f"Picture {index + 1}, drawn as {view.captions[index]}."
        sentence += self._read_otherwise(read, view.conditions[index], range(len(self.conditions)))
        return Portrait(image, sentence, view.conditions[index], view.captions[index], bars)

    def portrait_of_upload(self, content: bytes) -> Portrait:
        """Somebody's own picture, its conditions filled in.

        Raises:
            DataError: It is no image, damaged, or too large.
        """
        image = load_image(io.BytesIO(content), self.run.image_shape)
        bars, conditions = self._read(image)
        with self._lock, evaluating(self.run.model, seed=0):
            redrawn = self.run.model.reconstruct(image)
        caption = describe(conditions.tolist(), self.conditions, self.scales)
        sentence = f"Your picture. The model takes it for {caption}."
        return Portrait(image, sentence, conditions, caption, bars, redrawn)

    def change(self, portrait: Portrait, number: int, value: float) -> Changed:
        """Changes one condition of a picture and keeps the others.

        Arguments:
            portrait: The picture.
            number: Which condition.
            value: The exact value that it shall have: a number, or the index of a category.

        Raises:
            ContradictionError: Nothing can have that value.
        """
        wanted = name_value(value, self.conditions[number], self.scales[number])
        nothing = Given(torch.full((len(self.conditions),), math.nan), {})
        with self._lock, evaluating(self.run.model, seed=0):
            change = nothing.with_value(number, value)
            try:
                edited = edit(self.run, portrait.image, change, known=Given(portrait.conditions, {}))
            except ValueError as error:
                raise ContradictionError(f"{wanted} is impossible for this model: choose another value.") from error
        (new,) = edited.conditions.tolist()
        others = [j for j in range(len(new)) if j != number]
        kept = [name_value(new[j], self.conditions[j], self.scales[j]) for j in others if not math.isnan(new[j])]
        left = [self.conditions[j].name for j in others if math.isnan(new[j])]
        sentence = f"Changed to {wanted}" + (f"; kept: {listed(kept)}." if kept else ".")
        if left:
            sentence += f" Left open, since it does not go with that: {listed(left)}."
        sentence += self._read_otherwise(self._read(edited.images)[1], edited.conditions[0], [number])
        if edited.is_guess:
            sentence += " The model has hardly ever met that: the picture is a guess."
        shown = [j for j in range(len(new)) if not math.isnan(new[j])]
        caption = ", ".join(name_value(new[j], self.conditions[j], self.scales[j]) for j in shown)
        return Changed(edited.images, sentence, bool(left) or edited.is_guess, caption)

    def _read_otherwise(self, read: Tensor, drawn: Tensor, numbers: Iterable[int]) -> str:
        """A sentence about the categories that the model reads in a picture in place of those it was drawn with."""
        other = [
            f"{self.conditions[j].name} {self.conditions[j].decode(read[j].item())}"
            for j in numbers
            if self.conditions[j].is_categorical and bool(read[j] != drawn[j])
        ]
        return f" In the picture itself it reads {listed(other)}." if other else ""

    def _read(self, image: Tensor) -> tuple[tuple[Bars, ...], Tensor]:
        """What the model reads in an image: distributions of its conditions, and the most probable or mean ones."""
        with self._lock, evaluating(self.run.model, seed=0):
            probabilities = self.run.model.impute(image)
            conditions, _ = most_probable(self.run, probabilities)
            return tuple(bars_of_image(probabilities, self.run, self.scales)), conditions[0]


def _judged(choice: Choice, answer: Answer, things: str) -> str:
    """A possible choice, and how probable it is."""
    probability = math.exp(min(answer.log_prob, 0.0))
    if not choice.words:
        return "You chose nothing, so the model draws whatever it likes."
    if answer.is_rare:
        return (
            f"You chose {choice.words}. The model has hardly ever met that: {frequency(probability)} of the "
            f"{things} it imagines are so. What it draws now is a guess, and may not be what you chose."
        )
    return f"You chose {choice.words}: {frequency(probability)} of the {things} that the model imagines are so."
