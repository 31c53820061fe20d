"""An engine of ablate to begin from. It runs with the kit (ablate_engine.py) and nothing else.

Its "model" is a colour for each word: a picture of "red cat" is a field of the mean of the colours of
"red" and "cat", with noise. Training moves the colours of a prompt's words towards the mean colours
of its images. Everything that ablate asks of an engine is here on this small scale: noise that depends
on a row's seed alone, an exact resume, chains of checkpoints, a scorer, features. REPLACE marks what
becomes your own; then let `ablate probe` check the engine.
"""
import functools
import hashlib
import json
import random
from pathlib import Path

from ablate_engine import Engine, Refused, integer, located, number, read_png, step_seed, string, write_features, write_png

engine = Engine("template", "1", understands=["emit:noise", "emit:samples"])  # REPLACE: packages=["torch", …]
NAMED = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 70, 220), "yellow": (230, 210, 50),
         "black": (20, 20, 20), "white": (240, 240, 240), "pink": (240, 150, 180), "purple": (130, 50, 160),
         "brown": (120, 80, 40)}


# REPLACE from here: the model.

class Model:
    """A colour for each word. A word that was never trained has a colour made from its letters."""

    def __init__(self, name, words):
        self.name, self.words = name, words

    def colour(self, word):
        made = hashlib.sha256(f"{self.name} {word}".encode()).digest()[:3]
        return self.words.get(word) or [float(x) for x in made]

    def mean(self, prompt):
        words = prompt.lower().split()
        colours = [self.colour(w) for w in words] or [[128.0] * 3]
        return [sum(c[i] for c in colours) / len(colours) for i in range(3)]

    def write(self, folder):
        Path(folder, "colours.json").write_text(json.dumps({"name": self.name, "words": self.words}, sort_keys=True))


def read_model(folders):
    """Reads a chain of checkpoints: the base, then what was trained on it. An engine that serves keeps a model
    that is slow to load, by its root or task.id(role), and lets no task change it."""
    model = Model("toy", {})
    for folder in folders:
        about = json.loads(Path(folder, "checkpoint.json").read_text())
        file = Path(about["root"], about["files"][0]) if "files" in about else Path(folder, "colours.json")
        saved = json.loads(file.read_text())
        model = Model(saved["name"], {**model.words, **saved["words"]})
    return model


def picture(model, row, params):
    """One row's picture, as bytes, and its noise: a function of the row, the model and params, of no other row."""
    draws = random.Random(row["seed"])
    noise = [draws.gauss(0, 1) for _ in range(params.size * params.size * 3)]
    wanted, unwanted = model.mean(row["prompt"]), model.mean(row.get("negative") or "")
    aim = [w + params.guidance * (w - u) for w, u in zip(wanted, unwanted)]
    pixels = [aim[i % 3] + params.spread * x for i, x in enumerate(noise)]
    return bytes(min(255, max(0, round(p))) for p in pixels), noise


def mean_colour(file):
    _, _, pixels = read_png(file)
    return [sum(pixels[i::3]) / len(pixels[i::3]) for i in range(3)]


# The verbs.

@engine.verb(revision=1, params={
    "name": string("toy", "any name, or the path of a file with colours, from the folder of cue.mod", probe=["toy", "other"]),
}, probe={"name": "toy"})
def load(task):
    """Names a model. Files that lie elsewhere are listed, not copied: ablate hashes them and watches them."""
    folder, file = task.out("checkpoint"), located(task.params.name)
    if file.is_file():
        return task.checkpoint(folder, "toy", root=str(file.resolve().parent), files=[file.name])
    if "/" in task.params.name:
        raise Refused(f"name: there is no file {file}")
    Model(task.params.name, {}).write(folder)
    task.checkpoint(folder, "toy")


@engine.verb(revision=1, serve=True, noise="python", formats=["toy"], params={
    "size": integer(16, "width and height of a picture", unit="pixels", minimum=4, maximum=64, probe=[4, 16]),
    "spread": number(20.0, "standard deviation of the noise", unit="levels", minimum=0, probe=[5.0, 40.0]),
    "guidance": number(0.1, "how far a picture is pushed from its negative prompt", minimum=0, probe=[0.0, 1.0]),
}, probe={"size": 8, "spread": 20.0, "guidance": 0.1})
def sample(task):
    draw(read_model(task.chain("checkpoint")), task.rows("prompts"), task.params, task.out("images"), task)


def draw(model, rows, params, folder, task=None):
    """Draws rows into a folder. With torch, take `noise(row["seed"], shape)` of the kit and claim noise="torch-cpu"."""
    noises = []
    for row in rows:
        pixels, noise = picture(model, row, params)
        write_png(folder / f"{row['index']}.png", params.size, params.size, pixels)
        noises.append(noise)
        if task:
            task.row("images", index=row["index"], file=f"{row['index']}.png")
    if task and "noise" in task.emit:  # ablate compares the noise of rows, it never stores it
        write_features(task.dir / "emit" / "noise.safetensors", noises, "noise")


@engine.verb(revision=1, resume="exact", stop="file", repeat="bytes", readback=True, keeps=True, format="toy",
             seeds=["init", "order", "noise"],
             inputs={"base": {}, "images": {"columns": ["prompt", "score"]}, "pretraining": {"when": {"beta": {"above": 0}}}},
             params={
    "method": string("reward-weighted", "what a row's weight is: its score, or 1", enum=["reward-weighted", "filtered"]),
    "beta": number(0.0, "weight of the loss on the pretraining images", minimum=0, probe=[0.0, 1.0]),
    "steps": integer(20, "updates", unit="steps", minimum=1, probe=[3, 6]),
    "batch": integer(4, "images of a step", unit="images", minimum=1, probe=[2, 5]),
    "learning_rate": number(0.05, "part of the way to the images' colour", above=0, probe=[0.01, 0.2]),
    "momentum": number(0.5, "part of the last update that is made again", minimum=0, maximum=0.99, probe=[0.0, 0.9]),
}, probe={"method": "reward-weighted", "beta": 0.5, "steps": 6, "batch": 3, "learning_rate": 0.1, "momentum": 0.7})
def train(task):
    p = task.params
    base = read_model(task.chain("base"))
    images = task.rows("images")
    pretraining = task.rows("pretraining") if p.beta > 0 else []
    # REPLACE: the trainable part, and the optimizer's state. `folder` is a state that was saved, or None.
    folder, start = task.resume()
    if folder:
        saved = json.loads((folder / "state.json").read_text())
        words, speed = saved["words"], saved["speed"]
    else:
        draws = random.Random(task.seed("init"))
        names = sorted({w for row in images + pretraining for w in row["prompt"].lower().split()})
        words = {w: [c + draws.gauss(0, 1) for c in base.colour(w)] for w in names}
        speed = {w: [0.0] * 3 for w in names}
    model = Model(base.name, words)

    def write_checkpoint(folder):
        model.write(folder)
        task.checkpoint(folder, "toy", base="base" if task.input("base") else None)

    def write_state(folder):
        (folder / "state.json").write_text(json.dumps({"words": words, "speed": speed}))

    order, colour_of = functools.lru_cache(maxsize=4)(epoch_order), functools.lru_cache(maxsize=None)(mean_colour)
    for step in range(start + 1, p.steps + 1):
        noise = random.Random(step_seed(task.seed("noise"), step))  # for the whole batch, from the step alone
        gradient, loss = {w: [0.0] * 3 for w in words}, 0.0
        for rows, factor in ((images, 1.0), (pretraining, p.beta)):
            for k in range((step - 1) * p.batch, step * p.batch) if rows else ():
                row = rows[order(task.seed("order"), len(rows), k // len(rows))[k % len(rows)]]
                scored = rows is images and p.method == "reward-weighted"
                weight = factor * (row["score"] if scored else 1.0) / p.batch
                target = [c + noise.gauss(0, 4) for c in colour_of(row["file"])]
                error = [m - t for m, t in zip(model.mean(row["prompt"]), target)]
                loss += weight * sum(e * e for e in error)
                for word in row["prompt"].lower().split():
                    gradient[word] = [g + weight * e for g, e in zip(gradient[word], error)]
        for word in words:
            speed[word] = [p.momentum * v - p.learning_rate * g for v, g in zip(speed[word], gradient[word])]
            words[word] = [c + v for c, v in zip(words[word], speed[word])]
        task.curve(step, p.steps, loss=loss, learning_rate=p.learning_rate)
        task.keep(step, write_checkpoint)
        if task.due():
            task.save(step, write_state)

    write_checkpoint(task.out("checkpoint"))
    task.resolved(**p)  # REPLACE: what the optimizer and the trainer really use, after their own rounding
    if "samples" in task.emit:  # what the trainer itself draws must be what `sample` draws of its checkpoint
        folder = task.dir / "emit" / "samples"
        folder.mkdir(parents=True)
        draw(Model(base.name, {**base.words, **words}), task.rows("samples"), task.sample_params(), folder)


def epoch_order(seed, n, epoch):
    """The order of n rows in one epoch: known without the epochs before it, so that a resume needs no state."""
    rows = list(range(n))
    random.Random(step_seed(seed, epoch)).shuffle(rows)
    return rows


@engine.verb(revision=1, serve=True, columns={
    "match": {"kind": "real", "better": "higher", "range": [0, 1]}, "colour": {"kind": "verdict", "better": "higher"},
}, params={"scale": number(100.0, "distance of colours at which match is 1/e", unit="levels", above=0, probe=[20.0, 500.0])},
    probe={"scale": 100.0})
def score(task):
    """match: how near the picture is to the colour that its prompt names; colour: whether that one is the nearest."""
    for row in task.rows("images"):
        got = mean_colour(row["file"])
        away = {name: sum((a - b) ** 2 for a, b in zip(got, c)) ** 0.5 for name, c in NAMED.items()}
        named = [word for word in row["prompt"].lower().split() if word in NAMED]
        if not named:
            task.row("scores", index=row["index"], values={"match": 0.0, "colour": "skip"})
            continue
        match = 2.718281828459045 ** (-away[named[0]] / task.params.scale)
        verdict = "good" if min(away, key=away.get) == named[0] else "bad"
        task.row("scores", index=row["index"], values={"match": match, "colour": verdict})


@engine.verb(revision=1, serve=True, params={
    "network": string("mean-colour", "what the features are", enum=["mean-colour", "mean-and-spread"]),
}, probe={"network": "mean-and-spread"})
def embed(task):
    role, folder, features = "images" if task.input("images") else "texts", task.out("features"), []
    for row in task.rows(role):
        colour = mean_colour(row["file"]) if role == "images" else Model("toy", {}).mean(row["prompt"])
        spread = [(c - 128) ** 2 / 128 for c in colour] if task.params.network == "mean-and-spread" else []
        features.append(colour + spread)
        task.row("features", index=row["index"])
    write_features(folder / "features.safetensors", features)
    task.fact(network=task.params.network, resize="none")


if __name__ == "__main__":
    engine.main()
