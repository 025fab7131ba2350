"""Checks that TensorBoard reads from the folder of a run, a fine-tuning or detectors what its metrics files say:

    pip install tensorboard
    python stages/run/tensorboard/testdata/check_tensorboard.py runs/mine
"""

import json
import pathlib
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def single(value):
    return struct.unpack("f", struct.pack("f", value))[0]


def metrics(folder):
    """Returns the metrics file of an event file's folder."""
    if folder.name.endswith("tensorboard"):
        return folder.with_name(folder.name.removesuffix("tensorboard") + "metrics.jsonl")
    return folder.parent.parent / "metrics" / f"{folder.name}.jsonl"


checked = 0
for file in sorted(pathlib.Path(sys.argv[1]).rglob("events.out.tfevents.*")):
    folder = file.parent
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    points = [json.loads(line) for line in open(metrics(folder))]
    tags = sorted({tag for p in points for tag in p} - {"step", "time"})
    assert sorted(events.Tags()["scalars"]) == tags, (events.Tags(), tags)
    for tag in tags:
        got = [(e.step, e.value, round(e.wall_time, 3)) for e in events.Scalars(tag)]
        want = [(p["step"], single(p[tag]), round(p["time"], 3)) for p in points]
        assert got == want, (folder.name, tag, got[:3], want[:3], len(got), len(want))
        checked += len(got)
print(f"{checked} values are the same")
assert checked
