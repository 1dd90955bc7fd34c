"""
The chart of a report: an SVG with a panel per figure and a dot per peer, with its range.

The scale is logarithmic, since peers lie orders of magnitude apart; that is why there are dots and no bars, whose
lengths would say nothing. It follows the reader's light or dark theme and needs no script and no font of ours.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH = 860
NAME_WIDTH, VALUE_WIDTH = 150, 150
ROW_HEIGHT, RADIUS = 22, 5.5
TOP, PANEL_TOP, PANEL_BOTTOM = 74, 34, 30
OURS = "taskflow"

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2933; }
.title { font-size: 17px; font-weight: 600; }
.panel { font-size: 14px; font-weight: 600; }
.faint { fill: #616e7c; }
.grid { stroke: #d9dee4; }
.range { stroke-width: 5; stroke-linecap: round; opacity: .4; }
.ours { fill: #0b7a5c; stroke: #0b7a5c; } .postgresql { fill: #3f78b8; stroke: #3f78b8; }
.redis { fill: #c2702c; stroke: #c2702c; }
.name-ours { font-weight: 600; }
@media (prefers-color-scheme: dark) {
  text { fill: #e4e7eb; } .faint { fill: #9aa5b1; } .grid { stroke: #3a4550; }
  .ours { fill: #2bb48b; stroke: #2bb48b; } .postgresql { fill: #6f9fd8; stroke: #6f9fd8; }
  .redis { fill: #d99a63; stroke: #d99a63; }
}
"""


@dataclass(frozen=True, slots=True)
class Dot:
    """A median, and the range it lies in."""

    name: str
    store: str
    value: float
    lowest: float
    highest: float


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    unit: str
    more_is_better: bool
    dots: Sequence[Dot]


def draw(title: str, panels: Sequence[Panel], *, redis: str) -> str:
    """
    Return the SVG; *redis* is what the legend says of peers on Redis.

    What cannot be on a logarithmic scale, zero and less, is drawn at its beginning.
    """
    parts, y = [], float(TOP)
    for panel in panels:
        parts.append(_panel(panel, y))
        y += _height(panel)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y:g}" role="img" aria-labelledby="t d">',
            f'<title id="t">{escape(title)}</title>',
            f'<desc id="d">{escape(_in_words(panels))}</desc>',
            f"<style>{STYLE}</style>",
            f'<text class="title" x="12" y="28">{escape(title)}</text>',
            *_legend(redis),
            *parts,
            "</svg>\n",
        ]
    )


def ticks(lowest: float, highest: float) -> list[float]:
    """The powers of ten from the one at or below *lowest* to the one at or above *highest*."""
    first, last = math.floor(math.log10(lowest)), math.ceil(math.log10(highest))
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


def _height(panel: Panel) -> float:
    return PANEL_TOP + len(panel.dots) * ROW_HEIGHT + PANEL_BOTTOM


def _legend(redis: str) -> list[str]:
    entries = [
        ("ours", "TaskFlow (PostgreSQL, synced per commit)"),
        ("postgresql", "PostgreSQL, synced per commit"),
        ("redis", redis),
    ]
    parts, x = [], 12
    for style, text in entries:
        parts.append(f'<circle class="{style}" cx="{x + 6}" cy="48" r="{RADIUS}"/>')
        parts.append(f'<text x="{x + 18}" y="52">{text}</text>')
        x += 60 + 6 * len(text)
    return parts


def _panel(panel: Panel, top: float) -> str:
    positive = [value for dot in panel.dots for value in (dot.lowest, dot.value, dot.highest) if value > 0]
    scale = ticks(min(positive, default=1.0), max(positive, default=1.0))
    left, right = NAME_WIDTH, WIDTH - VALUE_WIDTH
    low, span = math.log10(scale[0]), math.log10(scale[-1]) - math.log10(scale[0])

    def x(value: float) -> float:
        return left + (right - left) * (math.log10(max(value, scale[0])) - low) / span

    better = "more is better" if panel.more_is_better else "less is better"
    parts = [
        f'<text class="panel" x="12" y="{top + 18:g}">{escape(panel.title)}, {escape(panel.unit)}</text>',
        f'<text class="faint" x="{right}" y="{top + 18:g}" text-anchor="end">{better}, logarithmic scale</text>',
    ]
    bottom = top + _height(panel) - PANEL_BOTTOM
    for tick in scale:
        at = f"{x(tick):.1f}"
        parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{top + PANEL_TOP - 6:g}" y2="{bottom:g}"/>')
        parts.append(f'<text class="faint" x="{at}" y="{bottom + 14:g}" text-anchor="middle">{tick:,g}</text>')
    for n, dot in enumerate(panel.dots):
        parts += _dot(dot, x(dot.lowest), x(dot.value), x(dot.highest), top + PANEL_TOP + n * ROW_HEIGHT)
    return "\n".join(parts)


def _dot(dot: Dot, lowest: float, value: float, highest: float, y: float) -> list[str]:
    ours = dot.name == OURS
    style = "ours" if ours else dot.store.lower()
    middle, line = y + ROW_HEIGHT / 2, y + ROW_HEIGHT / 2 + 4
    name = ' class="name-ours"' if ours else ""
    return [
        f'<text{name} x="{NAME_WIDTH - 10}" y="{line:g}" text-anchor="end">{escape(dot.name)}</text>',
        f'<line class="grid" x1="{NAME_WIDTH}" x2="{value:.1f}" y1="{middle:g}" y2="{middle:g}"/>',
        f'<line class="range {style}" x1="{lowest:.1f}" x2="{highest:.1f}" y1="{middle:g}" y2="{middle:g}"/>',
        f'<circle class="{style}" cx="{value:.1f}" cy="{middle:g}" r="{RADIUS}"/>',
        f'<text{name} x="{max(value, highest) + 12:.1f}" y="{line:g}">{_label(dot.value)}</text>',
    ]


def _label(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _in_words(panels: Sequence[Panel]) -> str:
    return " ".join(
        f"{panel.title} in {panel.unit}: {', '.join(f'{dot.name} {_label(dot.value)}' for dot in panel.dots)}."
        for panel in panels
    )
