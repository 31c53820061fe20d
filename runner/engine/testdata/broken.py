"""The template engine with one fault, named by the variable FAULT: a text of its source, or of the
kit's, is replaced. The tests of 'ablate probe' check that each fault is found."""
import os
import sys
import types
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYTHON = HERE / "python"
FAULTS = {  # by name: file, text, replacement; further pairs after them
    "none": (),
    "row left out": ("template", 'if task:\n            task.row("images"', 'if task and row["index"] != 3:\n            task.row("images"'),
    "NaN score": ("ablate_engine", "json.dumps(fields, allow_nan=False)", "json.dumps(fields)",
                  "template", 'values={"match": match', 'values={"match": float("nan")'),
    "fixed rate": ("template", "p.learning_rate * g", "0.05 * g"),
    "fixed rate, read back": ("template", "task.resolved(**p)", 'task.resolved(**{**p, "learning_rate": 0.05})'),
    "parameter not used": ("template", "p.momentum * v", "0.7 * v"),
    "one seed for all rows": ("template", 'random.Random(row["seed"])', "random.Random(42)"),
    "one generator a batch": ("template", 'random.Random(row["seed"])', 'SHARED.setdefault(0, random.Random(row["seed"]))',
                              "template", "NAMED = {", "SHARED = {}\nNAMED = {"),
    "no seed": ("template", 'random.Random(row["seed"])', "random.Random()"),
    "stream not used": ("template", 'random.Random(step_seed(task.seed("noise"), step))', "random.Random(step_seed(42, step))"),
    "optimizer left out": ("template", '"speed": speed}))', '"speed": {w: [0.0] * 3 for w in words}}))'),
    "generator not saved": ("template", 'noise = random.Random(step_seed(task.seed("noise"), step))',
                            'noise = SHARED.setdefault(0, random.Random(task.seed("noise")))',
                            "template", "NAMED = {", "SHARED = {}\nNAMED = {"),
    "exact at an epoch's end only": ("template", "range((step - 1) * p.batch, step * p.batch)",
                                     "range((step - 1 - start) * p.batch, (step - start) * p.batch)"),
    "stop ignored": ("ablate_engine", 'return (self.dir / "stop").exists()', "return False"),
    "stop without a state": ("ablate_engine", 'write_folder(self.dir / "state" / f"step-{step}", whole)', "pass"),
    "exit at a stop": ("ablate_engine", "self._stop, due = agree(", 'if self.stopping(): os._exit(0)\n        self._stop, due = agree('),
    "adapter left loaded": ("template", 'draw(read_model(task.chain("checkpoint")),',
                            'm = read_model(task.chain("checkpoint"))\n    SHARED.update(m.words)\n    draw(Model(m.name, {**m.words, **SHARED}),',
                            "template", "NAMED = {", "SHARED = {}\nNAMED = {"),
    "checkpoint rounded": ("template", '"words": self.words}, sort_keys', '"words": {w: [round(x) for x in c] for w, c in self.words.items()}}, sort_keys'),
    "unknown parameter accepted": ("ablate_engine", "if name not in declared:", "if name not in declared and False:"),
    "unknown requirement accepted": ("ablate_engine", "if name not in self.understands:", "if False:"),
    "untidy": ("template", "    noises = []\n", '    noises = []\n    open("reward.txt", "w").write("1")\n'),
    "input changed": ("template", "    noises = []\n", '    noises = []\n    if task: open(task.dir / "in/prompts/rows.jsonl", "a").write("\\n")\n'),
    "process left": ("template", "    noises = []\n", '    noises = []\n    import subprocess\n    subprocess.Popen(["sleep", "300"], start_new_session=True)\n'),
    "helper not declared": ("template", "    noises = []\n", '    noises = []\n    sys.path.insert(0, os.environ["ELSEWHERE"])\n    import helper\n',
                            "template", "import json\n", "import json\nimport os\nimport sys\n"),
}


def module(name, run_as):
    text = (PYTHON / f"{name}.py").read_text()
    fault = FAULTS[os.environ["FAULT"]]
    for file, old, new in zip(fault[::3], fault[1::3], fault[2::3]):
        if file == name:
            assert old in text, f"{name}.py has no longer {old!r}"
            text = text.replace(old, new)
    made = types.ModuleType(run_as)
    made.__file__ = str(PYTHON / f"{name}.py")
    if run_as != "__main__":
        sys.modules[run_as] = made
    exec(compile(text, made.__file__, "exec"), made.__dict__)


module("ablate_engine", "ablate_engine")
module("template", "__main__")
