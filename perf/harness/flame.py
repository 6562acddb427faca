# SPDX-License-Identifier: Apache-2.0
"""A flame graph as one SVG file: no scripts, no fonts, nothing from elsewhere. What it is shows on hover."""
from html import escape

from .stacks import numbered

WIDTH, ROW, MARGIN, HEAD = 1400, 18, 10, 46
# Average width of a character of 11 px sans-serif, and the least width that is drawn at all.
CHARACTER, LEAST = 6.3, 0.6
COLORS = {"kernel": ("#e8a07c", "#e2916a"), "user": ("#9cc3e6", "#8db8df"), "thread": ("#c9c9c9", "#c9c9c9")}


class Node:
    def __init__(self, name, kind):
        self.name, self.kind, self.count, self.children = name, kind, 0, {}

    def child(self, name, kind):
        return self.children.setdefault((name, kind), Node(name, kind))


def tree(stacks):
    """Threads first, then their frames, outermost first."""
    root = Node("all", "thread")
    for stack in stacks:
        root.count += 1
        node = root.child(numbered(stack.thread), "thread")
        node.count += 1
        border = len(stack.frames) - stack.kernel
        for depth, frame in enumerate(stack.frames):
            node = node.child(frame, "kernel" if depth >= border else "user")
            node.count += 1
    return root


def depth(node, scale):
    """Rows above `node` that are wide enough to be drawn."""
    return 1 + max((depth(child, scale) for child in node.children.values() if child.count * scale >= LEAST), default=0)


def render(stacks, title, subtitle=""):
    """The SVG's text."""
    root = tree(stacks)
    scale = (WIDTH - 2 * MARGIN) / max(1, root.count)
    rows = depth(root, scale)
    height = HEAD + rows * ROW + MARGIN + 20
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="11">',
        "<style>rect{stroke:#fff;stroke-width:.5}g:hover rect{stroke:#000;stroke-width:1}text{pointer-events:none}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{MARGIN}" y="20" font-size="15" font-weight="bold">{escape(title)}</text>',
        f'<text x="{MARGIN}" y="37" fill="#555">{escape(subtitle)}</text>',
    ]
    draw(root, MARGIN, 0, scale, rows, root.count, lines)
    legend = height - MARGIN
    for number, (kind, text) in enumerate((("user", "program and libraries"), ("kernel", "kernel"), ("thread", "threads"))):
        x = MARGIN + number * 160
        lines.append(f'<rect x="{x}" y="{legend - 11}" width="12" height="12" fill="{COLORS[kind][0]}"/>')
        lines.append(f'<text x="{x + 17}" y="{legend}" fill="#333">{text}</text>')
    lines.append("</svg>")
    return "\n".join(lines) + "\n"


def draw(node, x, level, scale, rows, total, lines):
    width = node.count * scale
    y = HEAD + (rows - 1 - level) * ROW
    share = f"{100 * node.count / max(1, total):.1f} %"
    color = COLORS[node.kind][sum(map(ord, node.name)) % 2]
    room = int((width - 6) / CHARACTER)
    text = node.name if len(node.name) <= room else node.name[:room - 1] + "…" if room > 3 else ""
    label = f'<text x="{x + 3:.1f}" y="{y + 12.5:.1f}">{escape(text)}</text>' if text else ""
    lines.append(f'<g><title>{escape(node.name)}: {share}, {node.count} samples</title>'
                 f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 1}" fill="{color}"/>{label}</g>')
    for child in sorted(node.children.values(), key=lambda child: child.name):
        if child.count * scale >= LEAST:
            draw(child, x, level + 1, scale, rows, total, lines)
        x += child.count * scale
