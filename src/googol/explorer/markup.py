"""What the page shows as HTML: real text, which screen readers read and search finds."""

from __future__ import annotations

import html

from torch import Tensor

from googol.data import Condition
from googol.explorer.bars import Bars
from googol.explorer.downloads import data_address, grid_file, png_address, table_file
from googol.explorer.scales import Scale
from googol.explorer.view import Changed, Explorer, Portrait, View
from googol.explorer.words import percent

SHOWN = 12  # bars of one condition; the rest is summed up

# Events of the grid: which picture was clicked (or chosen by the keyboard: the pictures are buttons).
GRID_SCRIPT = """
element.setAttribute('aria-live', 'off');
element.addEventListener('click', event => {
  const button = event.target.closest('button[data-index]');
  if (!button) return;
  element.querySelectorAll('button[data-index]').forEach(each => each.setAttribute('aria-pressed', each === button));
  trigger('click', {index: Number(button.dataset.index)});
});
"""

# What changes by itself is read aloud.
LIVE_SCRIPT = "element.setAttribute('aria-live', 'polite');"


def escaped(text: str) -> str:
    """Text for HTML that passes through a template: its braces and dollars are only text, too."""
    safe = html.escape(text)
    for sign in "{}$`":
        safe = safe.replace(sign, f"&#{ord(sign)};")
    return safe


def sentence(text: str, *, doubtful: bool = False) -> str:
    """A sentence, or a warning."""
    unbroken = escaped(text).replace(" %", "&nbsp;%")
    return f'<p class="said{" doubtful" if doubtful else ""}">{unbroken}</p>'


def drawn(view: View, explorer: Explorer) -> str:
    """What a view shows: pictures, or rows of a table; with links to their files."""
    if not len(view.images):
        return f'<p class="hint">No {explorer.things}.</p>'
    return _rows(view, explorer) if explorer.run.is_table else _grid(view, explorer.conditions)


def _rows(view: View, explorer: Explorer) -> str:
    """The rows of a view as a table, which scrolls by itself."""
    names = "".join(f'<th scope="col">{escaped(condition.name)}</th>' for condition in explorer.conditions)
    kinds = list(zip(explorer.conditions, explorer.scales, strict=True))
    rows = [
        f"<tr>{''.join(_cell(*each) for each in zip(row, kinds, strict=True))}</tr>" for row in view.conditions.tolist()
    ]
    link = _link("Save these rows", "rows.csv", table_file(view, explorer.conditions, numbered=False), "text/csv")
    region = '<div class="rows" role="region" aria-label="Rows that the model draws" tabindex="0">'
    table = f"<table><thead><tr>{names}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'{region}{table}</div><p class="links">{link}</p>'


def _cell(number: float, kind: tuple[Condition, Scale | None]) -> str:
    condition, scale = kind
    if scale is None:
        return f"<td>{escaped(condition.decode(number))}</td>"
    text = min(condition.decode(number), scale.text(number), key=len)  # numbers may have more digits than help
    return f'<td class="number">{escaped(text)}</td>'


def _grid(view: View, conditions: tuple[Condition, ...]) -> str:
    """The pictures of a view as buttons."""
    buttons = [
        f'<button type="button" data-index="{number}" aria-pressed="false" title="{escaped(caption)}">'
        f"{_picture(image, f'Picture {number + 1} of {len(view.images)}: {caption}')}</button>"
        for number, (image, caption) in enumerate(zip(view.images, view.captions, strict=True))
    ]
    links = [
        _link("Save the pictures", "pictures.png", grid_file(view), "image/png"),
        _link("Save their properties", "pictures.csv", table_file(view, conditions), "text/csv"),
    ]
    return f'<div class="pictures">{"".join(buttons)}</div><p class="links">{" ".join(links)}</p>'


def chances(bars: tuple[Bars, ...], *, answered: bool = True) -> str:
    """Distributions as lists of shares, each with a bar."""
    nothing = "Nothing is left open." if answered else "Nothing goes with what cannot be."
    return "".join(map(_bars, bars)) or f'<p class="hint">{nothing}</p>'


def figures(portrait: Portrait, edited: Changed | None = None) -> str:
    """A picture enlarged, and what became of it."""
    shown = [_figure(portrait.image, "the picture", portrait.caption)]
    if portrait.redrawn is not None:
        shown.append(_figure(portrait.redrawn, "as the model redraws it", portrait.caption))
    if edited is not None:
        shown.append(_figure(edited.image, "changed", edited.caption))
    return f'<div class="figures">{"".join(shown)}</div>'


def _bars(bars: Bars) -> str:
    shares = dict(bars.shares)
    if len(shares) > SHOWN:
        kept = sorted(shares, key=lambda name: -shares[name])[: SHOWN - 1]
        rest = sum(share for name, share in shares.items() if name not in kept)
        shares = {name: shares[name] for name in kept} | {f"{len(shares) - len(kept)} others": rest}
    rows = [
        f'<li><span class="value">{escaped(name)}</span><span class="track" aria-hidden="true">'
        f'<span class="fill" style="width:{100 * share:.1f}%"></span></span>'
        f'<span class="share">{percent(share)}</span></li>'
        for name, share in shares.items()
    ]
    note = f' <small class="note">{escaped(bars.note)}</small>' if bars.note else ""
    return f'<section class="bars"><h3>{escaped(bars.name)}{note}</h3><ul>{"".join(rows)}</ul></section>'


def _figure(images: Tensor, name: str, caption: str) -> str:
    text = escaped(f"{name}: {caption}")
    return f"<figure>{_picture(images[0], f'{name}, enlarged: {caption}')}<figcaption>{text}</figcaption></figure>"


def _picture(image: Tensor, text: str) -> str:
    # Enlarged pixels of small pictures are sharp squares rather than a blur.
    style = ' class="small"' if max(image.shape[-2:]) <= 32 else ""
    return f'<img src="{png_address(image)}" alt="{escaped(text)}"{style}>'


def _link(text: str, name: str, content: bytes, kind: str) -> str:
    return f'<a href="{data_address(content, kind)}" download="{name}">{text}</a>'
