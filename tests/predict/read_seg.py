"""Reads a DICOM Segmentation object as other programs do: read_seg.py SEGMENTATION SOURCE MASK.

Writes the pixels that belong to SOURCE, a byte each, to MASK, and prints what the object says of itself as JSON.
"""

import json
import sys

import highdicom
import numpy
import pydicom

segmentation, source, mask = sys.argv[1:]
seg = highdicom.seg.segread(segmentation)
image = pydicom.dcmread(source, stop_before_pixels=True)
pixels = seg.get_pixels_by_source_instance([image.SOPInstanceUID])
assert pixels.shape == (1, image.Rows, image.Columns, 1), pixels.shape
# What pydicom makes of the bits itself.
assert numpy.array_equal(pydicom.dcmread(segmentation).pixel_array, pixels[0, :, :, 0])
pixels[0, :, :, 0].astype(numpy.uint8).tofile(mask)


def same(keyword):
    """Whether both say the same; empty is as good as missing."""
    return str(seg.get(keyword) or "") == str(image.get(keyword) or "")


print(
    json.dumps(
        {
            "type": seg.segmentation_type.value,
            "label": seg.get_segment_description(1).segment_label,
            "copied": [k for k in ("PatientName", "PatientID", "StudyInstanceUID", "StudyDate") if same(k)],
            "of_series": seg.ReferencedSeriesSequence[0].SeriesInstanceUID == image.SeriesInstanceUID,
            "own": seg.SOPInstanceUID != image.SOPInstanceUID and seg.SeriesInstanceUID != image.SeriesInstanceUID,
            "lossy": seg.LossyImageCompression,
        }
    )
)
