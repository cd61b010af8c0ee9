"""From the detector's map of text probabilities to boxes, and from boxes to lines in reading order. numpy only."""

import numpy as np

TEXT_PIXEL = 0.3  # a pixel of at least this probability belongs to text
TEXT_BOX = 0.5  # mean probability that a box must have
GROWTH = 1.6  # the detector was trained on text shrunk by this measure; boxes are grown by it again
SMALLEST_SIDE = 3


def components(mask):
    """Bounding boxes [n, 4] (left, top, right, bottom; the last two exclusive) of the 8-connected areas of a mask."""
    height, width = mask.shape
    padded = np.zeros((height, width + 2), np.int8)
    padded[:, 1:-1] = mask
    steps = np.diff(padded, axis=1)
    rows, starts = np.nonzero(steps == 1)  # runs of set pixels, row by row, left to right
    ends = np.nonzero(steps == -1)[1]
    parent = np.arange(len(rows))

    def root(run):
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    first = np.searchsorted(rows, np.arange(height + 1))  # first run of each row
    for row in range(1, height):
        above, here = first[row - 1], first[row]
        while above < first[row] and here < first[row + 1]:
            if starts[here] <= ends[above] and starts[above] <= ends[here]:
                parent[root(here)] = root(above)
            if ends[above] < ends[here]:
                above += 1
            else:
                here += 1
    if not len(rows):
        return np.zeros((0, 4), np.int64)
    _, area = np.unique([root(run) for run in range(len(rows))], return_inverse=True)
    boxes = np.empty((area.max() + 1, 4), np.int64)
    boxes[:, :2], boxes[:, 2:] = max(height, width), 0
    np.minimum.at(boxes[:, 0], area, starts)
    np.minimum.at(boxes[:, 1], area, rows)
    np.maximum.at(boxes[:, 2], area, ends)
    np.maximum.at(boxes[:, 3], area, rows + 1)
    return boxes


def find_boxes(probabilities, width, height):
    """Boxes int32 [n, 4] on the picture of width x height, in reading order, and their scores float32 [n]."""
    map_height, map_width = probabilities.shape
    mask = probabilities > TEXT_PIXEL
    mask[:, 1:] |= mask[:, :-1]  # joins letters that all but touch
    mask[1:] |= mask[:-1]
    boxes, scores = [], []
    for left, top, right, bottom in components(mask):
        wide, high = right - left, bottom - top
        if min(wide, high) < SMALLEST_SIDE:
            continue
        score = probabilities[top:bottom, left:right].mean()
        if score < TEXT_BOX:
            continue
        margin = wide * high * GROWTH / (2 * (wide + high))
        box = np.array([left - margin, top - margin, right + margin, bottom + margin])
        box *= np.array([width / map_width, height / map_height] * 2)
        boxes.append(np.clip(np.round(box), 0, [width, height, width, height]))
        scores.append(score)
    order = reading_order(boxes)
    return (
        np.array([boxes[i] for i in order], np.int32).reshape(-1, 4),
        np.array([scores[i] for i in order], np.float32),
    )


def reading_order(boxes):
    """Top to bottom; boxes whose middles lie in the height of the line's first box are one line, left to right."""
    waiting = sorted(range(len(boxes)), key=lambda i: boxes[i][1] + boxes[i][3])
    order = []
    while waiting:
        _, top, _, bottom = boxes[waiting[0]]
        line = [i for i in waiting if top <= (boxes[i][1] + boxes[i][3]) / 2 <= bottom]
        order += sorted(line, key=lambda i: boxes[i][0])
        waiting = [i for i in waiting if i not in line]
    return order
