# SPDX-License-Identifier: MIT
"""Charts as SVG."""

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 860, 360, 70, 40, 150, 40
WIDE, HIGH = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
COLOURS = ("#1b6ca8", "#7fb2d9", "#2e8b57", "#8d6a9f", "#c98a1b")


def _chart(title, most, names, marks):
    """Title, grid and legend around the marks."""
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
           'font-family="sans-serif" font-size="12">')
    yield '<rect width="100%" height="100%" fill="white"/>'
    yield f'<text x="{LEFT}" y="22" font-size="14">{title}</text>'
    for step in range(5):
        y, value = _y(most * step / 4, most), most * step / 4
        yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{LEFT + WIDE}" y2="{y:.1f}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:,.{0 if most > 10 else 2}f}</text>'
    for i, name in enumerate(names):
        y = TOP + 20 * i
        yield f'<rect x="{LEFT + WIDE + 14}" y="{y}" width="10" height="10" fill="{COLOURS[i]}"/>'
        yield f'<text x="{LEFT + WIDE + 30}" y="{y + 9}">{name}</text>'
    yield from marks
    yield "</svg>\n"


def _y(value, most):
    return TOP + HIGH * (1 - value / most)


def _label(x, text):
    return f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{text}</text>'


def bars(title, groups, series):
    """series: {name: [value for each group]}"""
    most = max(max(values) for values in series.values())
    step = WIDE / len(groups)
    wide = step * 0.8 / len(series)
    marks = [_label(LEFT + step * (g + 0.5), group) for g, group in enumerate(groups)]
    for i, values in enumerate(series.values()):
        for g, value in enumerate(values):
            x, y = LEFT + step * (g + 0.1) + wide * i, _y(value, most)
            marks.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{TOP + HIGH - y:.1f}" '
                         f'fill="{COLOURS[i]}"/>')
    return "\n".join(_chart(title, most, series, marks))


def lines(title, xs, series):
    """series: {name: [y for each x]}"""
    most = max(max(ys) for ys in series.values())

    def at(x):
        return LEFT + WIDE * x / max(xs)

    marks = [_label(at(x), f"{x:,}") for x in xs]
    for i, ys in enumerate(series.values()):
        points = " ".join(f"{at(x):.1f},{_y(y, most):.1f}" for x, y in zip(xs, ys))
        marks.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[i]}" stroke-width="2"/>')
    return "\n".join(_chart(title, most, series, marks))
