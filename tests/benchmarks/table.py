"""One Markdown table of what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from arena import Peer, ratio
from rows import Row

BEGIN = "<!-- begin of the table -->"
END = "<!-- end of the table -->"

_UNITS = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    "B": ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")),
}


def heading(peers: Sequence[Peer]) -> str:
    """The first two lines."""
    titles = ["", *(peer.title for peer in peers)]
    return f"| {' | '.join(titles)} |\n| {' | '.join(['---'] + ['---:'] * len(peers))} |"


def line(row: Row, peers: Sequence[Peer], measured: dict[str, list[float]]) -> str:
    """One row: our median, then theirs, each with our time divided by theirs."""
    ours = measured.get(peers[0].key)
    cells = [row.name]
    for peer in peers:
        theirs = measured.get(peer.key)
        if theirs is None:
            cells.append("–")
            continue
        text = amount(statistics.median(theirs) / row.calls, row.unit)
        cells.append(text if peer is peers[0] or ours is None else f"{text} ({ratio(ours, theirs):.2f})")
    return f"| {' | '.join(cells)} |"


def amount(value: float, unit: str) -> str:
    """Three digits and a unit."""
    scales = _UNITS[unit]
    scale, name = next(((scale, name) for scale, name in scales if value >= scale), scales[-1])
    number = value / scale
    return f"{number:.{0 if number >= 100 else 1 if number >= 10 else 2}f} {name}"


def insert(page: str, table: str) -> str:
    """The page with the table between its markers.

    Raises
    ------
    ValueError
        If the page does not have each marker once, in order.
    """
    before, begin, rest = page.partition(BEGIN)
    old, end, after = rest.partition(END)
    if not begin or not end or BEGIN in old + after or END in before + after:
        raise ValueError(f"the page expects the lines {BEGIN} and {END}, once each")
    return f"{before}{BEGIN}\n\n{table.strip()}\n\n{END}{after}"
