"""Checks the graphs that TestONNX wrote, and writes features.json: what onnxruntime computes from them.

    SDR_EXPORT_OUT=testdata go test . -run TestONNX    # in pipelines/export
    python testdata/make_golden.py

Made with onnx 1.23 and onnxruntime 1.32. The images are picture of export_test.go.
"""

import json
import pathlib

import numpy as np
import onnx
import onnxruntime

HERE = pathlib.Path(__file__).parent
SIZES = [(16, 16), (41, 23), (17, 33), (16, 19), (9, 14), (18, 60)]


def picture(width, height):
    y, x, c = np.indices((height, width, 3))
    return (128 + 2 * (x * y * (c + 1) // 3 % 50) - 3 * ((x + c * y) % 40)).astype(np.uint8)


features = {}
for file in sorted(HERE.glob("*.onnx")):
    onnx.checker.check_model(onnx.load(file), full_check=True)
    session = onnxruntime.InferenceSession(file)
    if file.stem == "prepared":
        inputs = [picture(*size) for size in SIZES]
    else:
        inputs = [((picture(*SIZES[0]) / np.float32(255) - np.float32([0.5, 0.4, 0.3])) / np.float32([0.2, 0.25, 0.3])).transpose(2, 0, 1)]
    features[file.stem] = [[float(f"{v:.7g}") for v in session.run(["features"], {"input": x[None]})[0][0]] for x in inputs]
(HERE / "features.json").write_text(json.dumps(features) + "\n")
