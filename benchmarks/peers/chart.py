"""
The chart of a report: an SVG of horizontal bars, one panel per figure, on a logarithmic scale since peers lie orders of
magnitude apart. It follows the reader's light or dark theme and needs no script and no font of ours.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH = 860
NAME_WIDTH, VALUE_WIDTH = 150, 150
BAR_HEIGHT, BAR_GAP = 16, 6
TOP, PANEL_TOP, PANEL_BOTTOM = 74, 34, 30
OURS = "taskflow"

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2933; }
.title { font-size: 17px; font-weight: 600; }
.panel { font-size: 14px; font-weight: 600; }
.faint { fill: #616e7c; }
.grid { stroke: #d9dee4; }
.range { stroke: #1f2933; stroke-width: 1.5; opacity: .55; }
.ours { fill: #0b7a5c; } .postgresql { fill: #5b8ec9; } .redis { fill: #d08a4e; }
.name-ours { font-weight: 600; }
@media (prefers-color-scheme: dark) {
  text { fill: #e4e7eb; } .faint { fill: #9aa5b1; } .grid { stroke: #3a4550; } .range { stroke: #e4e7eb; }
  .ours { fill: #2bb48b; } .postgresql { fill: #6f9fd8; } .redis { fill: #d99a63; }
}
"""


@dataclass(frozen=True, slots=True)
class Bar:
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
    bars: Sequence[Bar]


def draw(title: str, panels: Sequence[Panel], *, redis: str) -> str:
    """
    Return the SVG; *redis* is what the legend says of peers on Redis.

    What cannot be on a logarithmic scale, zero and less, is drawn as the smallest bar.
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
    return PANEL_TOP + len(panel.bars) * (BAR_HEIGHT + BAR_GAP) + PANEL_BOTTOM


def _legend(redis: str) -> list[str]:
    entries = [
        ("ours", "TaskFlow (PostgreSQL, synced per commit)"),
        ("postgresql", "PostgreSQL, synced per commit"),
        ("redis", redis),
    ]
    parts, x = [], 12
    for style, text in entries:
        parts.append(f'<rect class="{style}" x="{x}" y="42" width="12" height="12" rx="2"/>')
        parts.append(f'<text x="{x + 18}" y="52">{text}</text>')
        x += 60 + 6 * len(text)
    return parts


def _panel(panel: Panel, top: float) -> str:
    positive = [value for bar in panel.bars for value in (bar.lowest, bar.value, bar.highest) if value > 0]
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
    for n, bar in enumerate(panel.bars):
        parts += _bar(bar, x(bar.lowest), x(bar.value), x(bar.highest), top + PANEL_TOP + n * (BAR_HEIGHT + BAR_GAP))
    return "\n".join(parts)


def _bar(bar: Bar, lowest: float, value: float, highest: float, y: float) -> list[str]:
    ours = bar.name == OURS
    style = "ours" if ours else bar.store.lower()
    middle, line = y + BAR_HEIGHT / 2, y + BAR_HEIGHT - 4
    name = ' class="name-ours"' if ours else ""
    width = max(value - NAME_WIDTH, 2)
    return [
        f'<text{name} x="{NAME_WIDTH - 8}" y="{line:g}" text-anchor="end">{escape(bar.name)}</text>',
        f'<rect class="{style}" x="{NAME_WIDTH}" y="{y:g}" width="{width:.1f}" height="{BAR_HEIGHT}" rx="2"/>',
        f'<line class="range" x1="{lowest:.1f}" x2="{highest:.1f}" y1="{middle:g}" y2="{middle:g}"/>',
        f'<text{name} x="{max(value, highest) + 8:.1f}" y="{line:g}">{_label(bar.value)}</text>',
    ]


def _label(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _in_words(panels: Sequence[Panel]) -> str:
    return " ".join(
        f"{panel.title} in {panel.unit}: {', '.join(f'{bar.name} {_label(bar.value)}' for bar in panel.bars)}."
        for panel in panels
    )
