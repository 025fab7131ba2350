"""Checks that TensorBoard reads from a run folder what its metrics files say:

    pip install tensorboard
    python stages/run/tensorboard/testdata/check_tensorboard.py runs/mine
"""

import json
import pathlib
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

TAGS = ["loss", "ssl", "distill", "std", "lr", "data_wait"]


def single(value):
    return struct.unpack("f", struct.pack("f", value))[0]


run = pathlib.Path(sys.argv[1])
checked = 0
for folder in sorted((run / "tensorboard").iterdir()):
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    points = [json.loads(line) for line in open(run / "metrics" / f"{folder.name}.jsonl")]
    assert sorted(events.Tags()["scalars"]) == sorted(TAGS if points else []), events.Tags()
    for tag in TAGS if points else []:
        got = [(e.step, e.value, round(e.wall_time, 3)) for e in events.Scalars(tag)]
        want = [(p["step"], single(p[tag]), round(p["time"], 3)) for p in points]
        assert got == want, (folder.name, tag, got[:3], want[:3], len(got), len(want))
        checked += len(got)
print(f"{checked} values are the same")
assert checked
