"""Writes golden.tfevents with TensorBoard's own writer; run it in this folder (pip install tensorboard)."""

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

with open("golden.tfevents", "wb") as f:
    w = RecordWriter(f)
    w.write(Event(wall_time=1.5, step=0, file_version="brain.Event:2").SerializeToString(deterministic=True))
    w.write(Event(wall_time=1.5, step=0, session_log=SessionLog(status=SessionLog.START)).SerializeToString(deterministic=True))
    for step, loss, std in [(19, 5.25, 0.1), (39, -1e-3, 0.0), (1 << 40, 3e38, 0.125)]:
        value = Summary(value=[Summary.Value(tag="loss", simple_value=loss), Summary.Value(tag="std", simple_value=std)])
        w.write(Event(wall_time=1700000000.25, step=step, summary=value).SerializeToString(deterministic=True))
