"""Makes the fixtures that real programs write: python make.py, in this folder.

pandas 3.1.1, pyarrow 26.0.1, tensorboardX 2.6.5, tensorboard 2.21.0, hydra-core 1.3.8.
"""

import os
import shutil
import subprocess
import sys

import pandas as pd
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboardX import SummaryWriter

# Images: the values of images.csv, as pandas writes Parquet.
frame = pd.read_csv("images.csv")
frame["category"] = frame["category"].astype("category")
frame.index += 100
frame.to_parquet("images.parquet")

# TensorBoard: each arm and seed is a folder, by tensorboardX.
shutil.rmtree("tensorboard", ignore_errors=True)
for arm in ("dpo", "all data"):
    for seed in (1, 2):
        folder = f"tensorboard/{arm}/seed_{seed}"
        with SummaryWriter(folder, filename_suffix=".x") as w:
            for step in range(3):
                w.add_scalar("train/loss", 1 / (step + seed), step, walltime=1000 + step)
            w.add_scalar("eval/fid", {"dpo": 10, "all data": 20}[arm] + seed / 4, 2, walltime=1003)
            w.add_text("notes", "no number", 2, walltime=1003)

# Scalars as TensorFlow 2 writes them: tensors of one value, by tensorboard's own writer.
w = EventFileWriter("tensorboard/dpo/seed_1")
tensor = TensorProto(dtype=1, tensor_shape=TensorShapeProto(), float_val=[0.75])
w.add_event(Event(wall_time=1004, step=5, summary=Summary(value=[Summary.Value(tag="eval/clip", tensor=tensor)])))
content = TensorProto(dtype=2, tensor_shape=TensorShapeProto(), tensor_content=b"\0\0\0\0\0\0\xe0\x3f")
w.add_event(Event(wall_time=1005, step=6, summary=Summary(value=[Summary.Value(tag="eval/clip", tensor=content)])))
several = TensorProto(dtype=1, float_val=[1, 2], tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=2)]))
w.add_event(Event(wall_time=1005, step=6, summary=Summary(value=[Summary.Value(tag="histogram", tensor=several)])))
w.close()
for folder, _, files in os.walk("tensorboard"):  # names without clock, host and process
    for i, f in enumerate(sorted(files, key=lambda f: (not f.endswith(".x"), f))):
        os.rename(os.path.join(folder, f), os.path.join(folder, f"events.out.tfevents.{i}"))

# Hydra: a multirun over method, learning rate and seed.
shutil.rmtree("hydra", ignore_errors=True)
os.mkdir("app")
with open("app/config.yaml", "w") as f:
    f.write("seed: 0\nepochs: 10\nmethod: none\ntrain: {lr: 0.1, warmup: null}\n")
with open("app/train.py", "w") as f:
    f.write('''
import json, os, hydra
from hydra.core.hydra_config import HydraConfig
@hydra.main(version_base=None, config_path=".", config_name="config")
def main(c):
    fid = {"dpo": 10, "nft": 8}[c.method] + c.train.lr * 1000 + c.seed / 8
    with open(os.path.join(HydraConfig.get().runtime.output_dir, "metrics.json"), "w") as f:
        json.dump({"seed": c.seed, "eval": {"fid": fid, "fid.n": 64}, "loss": float("nan") if fid > 20 else fid / 100, "note": "x"}, f)
main()
''')
subprocess.run(
    [sys.executable, "app/train.py", "-m", "method=dpo,nft", "train.lr=1e-3,0.01", "seed=1,2", "epochs=5", "hydra.sweep.dir=hydra"],
    check=True,
)
shutil.rmtree("app")
for folder, _, files in os.walk("hydra"):
    for f in files:
        if f == "train.log":
            os.remove(os.path.join(folder, f))
        elif f in ("hydra.yaml", "multirun.yaml"):  # keep no path of a machine and no host
            path = os.path.join(folder, f)
            with open(path) as r:
                text = r.read()
            with open(path, "w") as w:
                w.write(text.replace(os.getcwd(), "WORK"))
