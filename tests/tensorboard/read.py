"""Reads run folders as TensorBoard does: python read.py FOLDER, prints {scalars: {tag: [[step, value]]}, images: {tag: [[step, width, height]]}}."""

import json
import sys

from tensorboard.backend.event_processing.event_accumulator import IMAGES, SCALARS, EventAccumulator

events = EventAccumulator(sys.argv[1], size_guidance={SCALARS: 0, IMAGES: 0})
events.Reload()
tags = events.Tags()
scalars = {tag: [[event.step, event.value] for event in events.Scalars(tag)] for tag in tags["scalars"]}
images = {tag: [[e.step, e.width, e.height] for e in events.Images(tag)] for tag in tags["images"]}
for tag in images:
    assert all(event.encoded_image_string.startswith(b"\x89PNG") for event in events.Images(tag)), tag
json.dump({"scalars": scalars, "images": images}, sys.stdout)
