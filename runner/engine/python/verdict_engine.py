"""An example judge with GenEval's metadata: good, bad or skip for each image, and the parts of the verdict.

A row's `meta` has `include`, a list of objects such as {"class": "cup", "count": 1, "color": "red"}, as in
GenEval's prompt files; without it the first colour that the prompt names counts. This judge sees colours
only: the dominant colour of the picture must be the one asked for. It is made for random tiny models, whose
pictures show nothing else, and for tests of the path that `meta` takes; its numbers mean nothing beyond that.
A real judge has an object detector in the place of `dominant`.
"""
import colorsys

from ablate_engine import Engine, Failed, integer, number, read_png

engine = Engine("verdict", "1")
HUES = {"red": 0.0, "orange": 1 / 12, "yellow": 1 / 6, "green": 1 / 3, "blue": 2 / 3, "purple": 7 / 9, "pink": 11 / 12}
COLOURS = [*HUES, "brown", "black", "white"]


def name_of(rgb, grey):
    """The name of one colour."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(c / 255 for c in rgb))
    if saturation < grey:
        return "white" if value > 0.5 else "black"
    if value < 0.2:
        return "black"
    name = min(HUES, key=lambda n: min(abs(hue - HUES[n]), 1 - abs(hue - HUES[n])))
    return "brown" if name in ("orange", "yellow") and value < 0.6 else name


def dominant(file, cells, grey):
    """The most frequent name among the mean colours of cells × cells parts of a picture."""
    width, height, pixels = read_png(file)
    votes = dict.fromkeys(COLOURS, 0)
    cells = min(cells, width, height)
    for row in range(cells):
        for column in range(cells):
            xs = range(width * column // cells, width * (column + 1) // cells)
            ys = range(height * row // cells, height * (row + 1) // cells)
            sums = [sum(sum(pixels[3 * (y * width + xs[0]) + i:3 * (y * width + xs[-1] + 1):3]) for y in ys) for i in range(3)]
            votes[name_of([s / (len(xs) * len(ys)) for s in sums], grey)] += 1
    return max(votes, key=votes.get)  # the first of COLOURS where two are level


def wanted(row):
    """The colours that a row asks for; none where its metadata ask for things that this judge does not see."""
    include = (row.get("meta") or {}).get("include")
    if include is not None:
        return [part["color"] for part in include if "color" in part]
    return [word for word in row["prompt"].lower().split() if word in COLOURS][:1]


@engine.verb(revision=1, serve=True, columns={
    "correct": {"kind": "verdict", "better": "higher"},
    "colour": {"kind": "verdict", "better": "higher"},
    "count": {"kind": "verdict", "better": "higher"},
    "position": {"kind": "verdict", "better": "higher"},
}, params={
    "cells": integer(4, "parts in a row and in a column of a picture", minimum=1, maximum=64, probe=[1, 8]),
    "grey": number(0.12, "a colour of less saturation is black or white", minimum=0, maximum=1, probe=[0.0, 0.9]),
}, probe={"cells": 4, "grey": 0.12})
def score(task):
    for row in task.rows("images"):
        unknown = [c for c in wanted(row) if c not in COLOURS]
        if unknown:
            raise Failed(f"row {row['index']}: unknown colour {unknown[0]}; known are {', '.join(COLOURS)}", "data")
        colour = "skip"
        if wanted(row):
            seen = dominant(row["file"], task.params.cells, task.params.grey)
            colour = "good" if wanted(row) == [seen] else "bad"
        task.row("scores", index=row["index"], values={"correct": colour, "colour": colour, "count": "skip", "position": "skip"})


if __name__ == "__main__":
    engine.main()
