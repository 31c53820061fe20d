"""An example of an online method on top of the reference engine: best-of-group filtering in rounds.

Each round draws `group` images for each of `prompts` training prompts from the model as it is now, asks the
study's scorer for their values, and keeps the best image of each group; then `round` steps maximize the
likelihood of the kept images, all with weight 1. ablate hands over the prompts and names the scorer
(`request.scorers.reward`); the judge of the study is never among them.
"""
import shutil

import diffusers_engine as base
from ablate_engine import Engine, Failed, Leaf, Params, integer, step_seed

engine = Engine("online", "1", packages=base.PACKAGES, understands=["emit:noise", "emit:samples"])
engine.verbs["load"], engine.verbs["sample"] = (base.engine.verbs[verb] for verb in ("load", "sample"))
function, params, probe, about = base.engine.verbs["train"]
OFFLINE = ("method", "temperature", "dpo_beta", "beta")
SAMPLER = ("scheduler", "steps", "guidance", "eta", "spacing")


def without(names, values): return {k: v for k, v in values.items() if k not in names}
def only(names, values): return {k: values[k] for k in names}


def below(group, leaf):
    """A parameter that has moved into a group, and so have those that make it unused."""
    return Leaf({k: {f"{group}.{path}": v for path, v in x.items()} if k == "x-unused" else x for k, x in leaf.items()})


@engine.verb(**{**about, "inputs": {"base": {}, "prompts": {}}, "seeds": ["init", "order", "noise", "draw"], "world": "key", "scorers": True}, params={
    **without(OFFLINE, params),
    "round": integer(100, "steps between two draws", unit="steps", minimum=1, probe=[2, 3]),
    "prompts": integer(64, "prompts of a round", minimum=1, probe=[2, 4]),
    "group": integer(8, "images of a prompt, of which the best is kept", unit="images", minimum=2, probe=[2, 4]),
    "sampler": {k: below("sampler", leaf) for k, leaf in only(SAMPLER, base.engine.verbs["sample"][1]).items()},
}, probe={**without(OFFLINE, probe), "round": 2, "prompts": 3, "group": 3,
          "sampler": only(SAMPLER, base.engine.verbs["sample"][2])})
def train(task):
    base.deterministic()
    if task.world > 1:
        raise Failed("best-of-group runs on one GPU")
    with base.opened(task, "base") as m:
        agree, total = base.ranks(task)
        base.fit(task, m, agree, total, BestOfGroup(task, m))


class BestOfGroup(base.Offline):
    paired = False

    def __init__(self, task, m):
        self.task, self.m = task, m
        self.scorer = task.scorer("reward")
        self.folder = task.dir / "tmp" / "drawn"

    def at(self, step):
        p = self.task.params
        if (step - 1) % p.round == 0:
            self.take(self.draw((step - 1) // p.round))
        return self.parts

    def take(self, rows):
        self.rows = rows
        self.parts = {"images": (base.Images(self.m, rows, self.task.params), rows, [1.0] * len(rows))}

    def draw(self, number):
        """Draws a round's images from the model as it is now; the best of each group become its rows."""
        p, prompts, rows = self.task.params, self.task.rows("prompts"), []
        for k in range(number * p.prompts, (number + 1) * p.prompts):
            row = prompts[base.order(self.task.seed("draw"), "prompts", len(prompts), k)]
            for _ in range(p.group):
                seed = step_seed(self.task.seed("draw"), f"{number} {len(rows)}")
                rows.append({**row, "index": len(rows), "seed": seed, "file": str(self.folder / f"{len(rows)}.png")})
        self.empty()
        net, sampler = getattr(self.m.pipe, self.m.part), {**p.sampler, "width": p.size, "height": p.size, "batch": p.micro, "dtype": p.dtype}
        net.eval()
        base.draw(self.m, rows, Params(base.engine.verbs["sample"][1], sampler), self.folder, self.task)
        net.train()
        values = self.scorer.score(rows)
        best = []
        for start in range(0, len(rows), p.group):
            scored = [(values[i], -i) for i in range(start, start + p.group) if values[i] is not None]
            if scored:
                best.append(rows[-max(scored)[1]])
        if not best:
            raise Failed("the scorer has a value for no image", "data")
        self.task.progress(note=f"round {number + 1}: the best of each group, {sum(v for v in values if v is not None) / len(rows):.4g} on average")
        return best

    def empty(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()

    def write(self, folder):
        """A round's images are part of the state: the model that drew them is gone."""
        for row in self.rows:
            shutil.copy(row["file"], folder)
        rows = [{**row, "file": base.Path(row["file"]).name} for row in self.rows]
        (folder / "rows.jsonl").write_text("".join(base.json.dumps(row) + "\n" for row in rows))

    def read(self, folder):
        rows = [base.json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
        rows = [{**row, "file": str(self.folder / row["file"])} for row in rows]
        self.empty()  # the state's folder goes when the next one is saved
        for row in rows:
            shutil.copy(folder / base.Path(row["file"]).name, self.folder)
        self.take(rows)


if __name__ == "__main__":
    engine.main()
