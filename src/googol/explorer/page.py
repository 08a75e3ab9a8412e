"""The layout of the page, and which part of it answers to which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from googol.data import Condition, DataError
from googol.explorer import markup
from googol.explorer.choices import ContradictionError, Pick
from googol.explorer.scales import Scale
from googol.explorer.view import Explorer, Portrait, View
from googol.explorer.words import listed

STYLE = Path(__file__).with_name("style.css")
VARIETY = 0.2, 1.4  # ends of the temperature
FEW = 12  # values of a condition that are all shown; more are in a list that opens
LARGEST = 10  # megabytes of a picture of one's own
PROMPT = f"Click one of the pictures above to see it enlarged, or use a picture of your own, of up to {LARGEST} MB."

# Shows what was clicked for, and tells the keyboard where it is.
GO_TO_PICTURE = "() => document.getElementById('one-picture').scrollIntoView({behavior: 'smooth', block: 'nearest'})"

# gradio shows the names of its groups of boxes, but does not tell them to screen readers.
NAME_GROUPS = """() => {
  const name = () => document.querySelectorAll('fieldset:not([aria-label])').forEach(group => {
    const title = group.querySelector('[data-testid="block-info"]');
    if (title) group.setAttribute('aria-label', title.textContent.trim());
  });
  name();
  new MutationObserver(name).observe(document.body, {childList: true, subtree: true});
}"""


def build_page(explorer: Explorer) -> gr.Blocks:
    """The page of a run. Whatever a visitor does is kept in a state of his own."""
    things = explorer.things
    with gr.Blocks(title="googol explorer", analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        view: gr.State = gr.State(None)
        gr.HTML(_head(explorer), js_on_load=None)
        with gr.Row(equal_height=False):
            with gr.Column(scale=3, min_width=300):
                gr.HTML("<h2>1. Choose</h2>", js_on_load=None)
                picks = [part for number in range(len(explorer.conditions)) for part in _picker(explorer, number)]
                clear = gr.Button("Choose nothing", size="md")
                with gr.Group():
                    info = "Less: typical. More: daring."
                    temperature = _slider(
                        *VARIETY, 1.0, step=0.1, label="Variety", info=info, visible=not explorer.run.is_table
                    )
                    seed = gr.Number(0, label="Seed", info=f"The same number, the same {things}.", precision=0)
            with gr.Column(scale=4, min_width=300, elem_classes="stays"):
                gr.HTML("<h2>2. See what the model draws</h2>", js_on_load=None)
                said = gr.HTML(js_on_load=markup.LIVE_SCRIPT, elem_id="said")
                pictures = gr.HTML(js_on_load=markup.GRID_SCRIPT, elem_id="pictures")
                new = gr.Button(f"New {things}", variant="primary", size="md")
            with gr.Column(scale=3, min_width=300):
                gr.HTML("<h2>3. See what goes with it</h2>", js_on_load=None)
                chances = gr.HTML(js_on_load=None, elem_id="chances")
        _wire_choice(explorer, page, view, picks, (seed, temperature), (said, pictures, chances), new, clear)
        if not explorer.run.is_table:
            _one_picture(explorer, view, pictures)
    return page


def _head(explorer: Explorer) -> str:
    names = listed([condition.name for condition in explorer.conditions])
    if explorer.run.is_table:
        return (
            "<h1>What has this model learned?</h1>"
            "<p>It has seen the rows of a table and learned how its columns go together: "
            f"<b>{markup.escaped(names)}</b>. Choose what a row shall be like, as much or as little as you want: the "
            "model draws rows like that, and tells what it expects of the rest.</p>"
        )
    return (
        "<h1>What has this model learned?</h1>"
        f"<p>It has seen pictures and learned how they go with <b>{markup.escaped(names)}</b>. Choose what a picture "
        "shall be like, as much or as little as you want: the model draws pictures like that, and tells what it "
        "expects of the rest.</p>"
    )


def _slider(low: float, high: float, value: float, **options: Any) -> gr.Slider:
    """A slider beside whose handle any number can be typed: those beyond its ends stand for the ends (`_within`)."""
    slider = gr.Slider(low, high, value, buttons=[], **options)
    slider.preprocess = lambda payload: payload  # type: ignore[method-assign]
    return slider


def _within(number: float | None, low: float, high: float, otherwise: float) -> float:
    """What was typed beside a slider, as the slider shows it in the end."""
    return otherwise if number is None else min(max(number, low), high)


def _picker(explorer: Explorer, number: int) -> list[gr.components.Component]:
    """What a condition is chosen with."""
    condition, scale = explorer.conditions[number], explorer.scales[number]
    if scale is not None:
        ends = {"step": scale.step}
        with gr.Group():
            low = _slider(scale.low, scale.high, scale.low, label=f"{condition.name}, from", **ends)
            high = _slider(
                scale.low, scale.high, scale.high, label=f"{condition.name}, to", info="At both ends: any.", **ends
            )
        return [low, high]
    values = list(condition.values or ())
    info = "None: any. Several: one of them."
    if len(values) <= FEW:
        return [gr.CheckboxGroup(values, label=condition.name, info=info)]
    return [gr.Dropdown(values, value=[], multiselect=True, label=condition.name, info=info)]


def _picks(explorer: Explorer, values: tuple[Any, ...]) -> list[Pick]:
    """What the parts of all pickers say, by condition."""
    parts, picks = iter(values), []
    for scale in explorer.scales:
        if scale is None:
            picks.append(next(parts) or [])
        else:
            low, high = (_within(next(parts), scale.low, scale.high, end) for end in (scale.low, scale.high))
            picks.append((low, high))
    return picks


def _wire_choice(
    explorer: Explorer,
    page: gr.Blocks,
    view: gr.State,
    picks: list[gr.components.Component],
    dials: tuple[gr.Number, gr.Slider],
    shown: tuple[gr.HTML, gr.HTML, gr.HTML],
    new: gr.Button,
    clear: gr.Button,
) -> None:
    seed, temperature = dials
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

    def look(number: float | None, variety: float | None, *values: Any) -> tuple[View, str, str, str]:
        temperature = _within(variety, *VARIETY, 1.0)
        found = explorer.look(_picks(explorer, values), seed=int(number or 0) % 2**32, temperature=temperature)
        said = markup.sentence(found.sentence, doubtful=found.doubtful)
        return (
            found,
            said,
            markup.drawn(found, explorer),
            markup.chances(found.bars, answered=len(found.images) > 0),
        )

    inputs, outputs = [seed, temperature, *picks], [view, *shown]
    page.load(look, inputs, outputs, **quiet)
    page.load(None, js=NAME_GROUPS, **quiet)
    for part in inputs:
        part.input(look, inputs, outputs, trigger_mode="always_last", **quiet)  # type: ignore[attr-defined]
    new.click(lambda number: int(number or 0) + 1, seed, seed, **quiet).then(look, inputs, outputs, **quiet)
    untouched = [part.value for part in picks]
    clear.click(lambda: untouched if len(picks) > 1 else untouched[0], None, picks, **quiet).then(
        look, inputs, outputs, **quiet
    )


def _one_picture(explorer: Explorer, view: gr.State, pictures: gr.HTML) -> None:
    """The part of the page about a single picture."""
    portrait: gr.State = gr.State(None)
    gr.HTML("<h2>4. Take one picture and change it</h2>", js_on_load=None, elem_id="one-picture")
    with gr.Row(equal_height=False):
        with gr.Column(scale=7, min_width=300):
            said = gr.HTML(markup.sentence(PROMPT), js_on_load=markup.LIVE_SCRIPT, elem_id="said-of-one")
        with gr.Column(scale=3, min_width=300):
            upload = gr.UploadButton("Use a picture of your own", type="binary", size="md", elem_id="upload")
    with gr.Row(visible=False, equal_height=False) as details:
        with gr.Column(scale=4, min_width=300):
            figures = gr.HTML(js_on_load=None, elem_id="figures")
        with gr.Column(scale=3, min_width=300):
            gr.HTML("<h3>Change one thing, keep the rest</h3>", js_on_load=None)
            dials = [_dial(*each) for each in zip(explorer.conditions, explorer.scales, strict=True)]
        with gr.Column(scale=3, min_width=300):
            gr.HTML("<h3>What the model sees in the picture</h3>", js_on_load=None)
            seen = gr.HTML(js_on_load=None, elem_id="seen")
    outputs = [portrait, said, details, figures, seen, *dials]
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

    def shown(found: Portrait) -> list[Any]:
        texts = [markup.sentence(found.sentence), gr.update(visible=True), markup.figures(found)]
        return [found, *texts, markup.chances(found.bars), *_values(explorer, found)]

    def of_sample(now: View | None, event: gr.EventData) -> list[Any]:
        if now is None or event.index not in range(len(now.images)):
            return [gr.skip()] * len(outputs)
        return shown(explorer.portrait_of_sample(now, int(event.index)))

    # To skip a slider would make it anew, without what `_slider` did to it: it gets its own value instead.
    def of_upload(content: bytes | None, *values: Any) -> list[Any]:
        try:
            return shown(explorer.portrait_of_upload(content or b""))
        except DataError as error:
            text = f"This cannot be used: {error}. Choose a picture, such as a PNG or JPEG file."
            return [gr.skip(), markup.sentence(text, doubtful=True), *[gr.skip()] * 3, *values]

    pictures.click(of_sample, view, outputs, **quiet).then(None, js=GO_TO_PICTURE, **quiet)
    upload.upload(of_upload, [upload, *dials], outputs, **quiet)
    for number, dial in enumerate(dials):

        def change(now: Portrait | None, *values: Any, number: int = number) -> list[Any]:
            condition, scale, value = explorer.conditions[number], explorer.scales[number], values[number]
            if now is None or value is None:
                return [gr.skip(), gr.skip(), *values]
            numeric = condition.encode(value) if scale is None else _within(value, scale.low, scale.high, scale.low)
            try:
                edited = explorer.change(now, number, numeric)
            except ContradictionError as error:
                return [markup.sentence(str(error), doubtful=True), gr.skip(), *values]
            others = _values(explorer, now)
            others[number] = value if scale is None else numeric
            return [markup.sentence(edited.sentence, doubtful=edited.doubtful), markup.figures(now, edited), *others]

        dial.input(change, [portrait, *dials], [said, figures, *dials], trigger_mode="always_last", **quiet)


def _dial(condition: Condition, scale: Scale | None) -> Any:
    """What one condition of a picture is changed with."""
    if scale is not None:
        return _slider(scale.low, scale.high, scale.low, step=scale.step, label=condition.name)
    values = list(condition.values or ())
    kind = gr.Radio if len(values) <= FEW else gr.Dropdown
    return kind(values, value=None, label=condition.name)


def _values(explorer: Explorer, portrait: Portrait) -> list[Any]:
    """The conditions of a picture as the dials show them."""
    found: list[Any] = []
    for number, condition, scale in zip(
        portrait.conditions.tolist(), explorer.conditions, explorer.scales, strict=True
    ):
        if scale is None:
            found.append(condition.decode(number))
        else:
            rounded = float(f"{round(number / scale.step) * scale.step:.9g}")
            found.append(min(max(rounded, scale.low), scale.high))
    return found
