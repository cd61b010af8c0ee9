"""Reads the text of a picture: two models with Python stages before, between and after them.

image ─▶ decode ─▶ picture, pixels
pixels ─▶ detection model ─▶ text map
picture, text map ─▶ find_lines ─▶ boxes, scores
picture, boxes ─▶ read_lines, which calls the recognition model ─▶ text
"""

from servoir.server import register

from .pictures import crop_line, decode, text_of
from .text_boxes import find_boxes

detection = register.declare_model(model_file="detection.onnx", model_format="ONNX", with_batch_dim=True)
recognition = register.declare_model(model_file="recognition.onnx", model_format="ONNX", with_batch_dim=True)


def find_lines(picture, text_map):
    """Boxes int32 [n, 4]: left, top, right, bottom, on the picture; scores float32 [n]."""
    height, width = picture.shape[:2]
    return find_boxes(text_map[0], width, height)


def read_lines(picture, boxes):
    """All lines of the picture in one call: they share batches with each other and with those of other requests."""
    lines = [[crop_line(picture, box)] for box in boxes]
    if not lines:
        return ""
    return "\n".join(text_of(probabilities) for (probabilities,) in recognition.call(lines))


@register.register_method(output_names=["text", "boxes", "scores"])
def read(image):
    """image: bytes of a PNG, JPEG, …; text: str, one line a box; boxes: int32 [n, 4]; scores: float32 [n]."""
    picture, pixels = register.add_stage(decode, image, outputs_count=2, tag="Decode")
    text_map = register.add_stage(detection, pixels, outputs_count=1)
    boxes, scores = register.add_stage(find_lines, picture, text_map, outputs_count=2)
    text = register.add_stage(read_lines, picture, boxes, outputs_count=1)
    return text, boxes, scores
