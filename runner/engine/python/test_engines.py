"""Tests of the engines: each builds attempt folders by hand, as ablate does, and looks at what is in them.

    python -m unittest test_engines            the kit, the template and the verdict engine
    ABLATE_TORCH=1 python -m unittest …        the diffusers and CLIP engines too, on tiny random models
"""
import base64
import contextlib
import importlib
import json
import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import unittest
import urllib.error
import urllib.request
from pathlib import Path

# The environment of engines that are forked from this process: it is read when Python and libraries start.
ENVIRONMENT = {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
if not ENVIRONMENT.items() <= os.environ.items():
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **ENVIRONMENT})

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import ablate_engine as kit  # noqa: E402

COLOURS = {"red": (200, 30, 30), "blue": (40, 60, 210), "green": (30, 190, 60)}
SEEDS = {"init": 11, "order": 12, "noise": 13}


class Folder:
    """One attempt folder."""

    def __init__(self, path, verb, params, **request):
        self.path = Path(path)
        for name in ("in", "out", "emit", "state", "work", "tmp"):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        self.request = {"protocol": 1, "verb": verb, "action": "a", "attempt": 1, "require": [], "emit": [], "keep": [],
                        "params": params, "seeds": {}, "inputs": {}, "resources": {}, "save_every_s": 600,
                        "grace_s": 10, "silence_s": 60, "time_s": 600, **request}

    def rows(self, role, rows, files=None, id="rows"):
        folder = self.path / "in" / role
        folder.mkdir()
        (folder / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        if files:
            shutil.copytree(files, folder / "files")
        self.request["inputs"][role] = {"path": f"in/{role}", "id": id, "rows": len(rows)}
        return self

    def chain(self, role, *folders):
        """Gives a checkpoint with the ones it is based on, the top first."""
        for i, folder in enumerate(folders):
            name = role + ".base" * i
            shutil.copytree(folder, self.path / "in" / name)
            self.request["inputs"][name] = {"path": f"in/{name}", "id": str(folder), "base": f"{name}.base" if folders[i + 1:] else None}
        return self

    def write(self):
        for name in ("out", "work", "tmp"):  # new for each attempt
            shutil.rmtree(self.path / name, ignore_errors=True)
            (self.path / name).mkdir()
        (self.path / "result.json").unlink(missing_ok=True)
        (self.path / "request.json").write_text(json.dumps(self.request))
        return self

    def result(self):
        return json.loads((self.path / "result.json").read_text())

    def out(self, role, name="rows.jsonl"):
        return [json.loads(x) for x in (self.path / "out" / role / name).read_text().splitlines()]

    def bytes(self, *below):
        """All files below folders, by path; out/ if none is named. Headers of safetensors are sorted, as ablate does."""
        found = {}
        for name in below or ("out",):
            for f in sorted((self.path / name).rglob("*")):
                if f.is_file():
                    found[str(f.relative_to(self.path))] = sorted_header(f.read_bytes()) if f.suffix == ".safetensors" else f.read_bytes()
        return found


def sorted_header(data):
    n = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + n])
    if "__metadata__" in header:
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    return json.dumps(header, sort_keys=True).encode() + data[8 + n:]


class Fork:
    """A program in a copy of this process, with the part of Popen that tests need: to import torch and diffusers takes a
    process of its own seven seconds. What one program imports is imported here before the next."""

    def __init__(self, argv, env, log):
        self.returncode, self.imported = None, Path(env["HOME"]) / "imported"
        reader, self.stdin = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid:
            os.close(reader)
            return
        status = 1
        try:
            os.close(self.stdin)
            for i, file in enumerate((reader, log.fileno(), log.fileno())):
                os.dup2(file, i)
            sys.argv, sys.stdin = argv, open(0)
            os.environ.clear()
            os.environ.update(env)
            random.seed()  # as in a process of its own, no generator has the state that it has here
            for name in {"numpy", "torch"} & set(sys.modules):
                (sys.modules["torch"].seed if name == "torch" else sys.modules["numpy"].random.seed)()
            before = set(sys.modules)
            runpy.run_path(argv[0], run_name="__main__")
            status = 0
        except SystemExit as end:
            status = end.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            packages = (name for name, m in sys.modules.items() if "site-packages" in str(getattr(m, "__file__", "")))
            self.imported.write_text("\n".join(name for name in packages if name not in before))
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def poll(self, options=os.WNOHANG):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def communicate(self, text=""):
        with open(self.stdin, "w") as file:
            file.write(text)
        self.poll(0)
        if self.imported.exists():
            for name in self.imported.read_text().split():
                with contextlib.suppress(ImportError):  # of names that packages make up
                    importlib.import_module(name)
            self.imported.unlink()


class Case(unittest.TestCase):
    program = None
    forks = False  # whether the program runs in a copy of this process, but for describe

    def setUp(self):
        self.root = Path(tempfile.mkdtemp(prefix="engine-"))
        self.addCleanup(shutil.rmtree, self.root, ignore_errors=True)

    def folder(self, verb, params, **request):
        self.count = getattr(self, "count", 0) + 1
        return Folder(self.root / str(self.count), verb, params, **request)

    def start(self, *argv, program=None, **more):
        env = {"PATH": os.environ["PATH"], "HOME": str(self.root), "LANG": "C.UTF-8", **ENVIRONMENT, **more}
        argv = [str(HERE / (program or self.program)), *map(str, argv)]
        with open(self.root / "log", "a") as log:
            if self.forks and argv[1] != "describe":
                return Fork(argv, env, log)
            return subprocess.Popen([sys.executable, *argv], env=env, stdin=subprocess.PIPE, stdout=log, stderr=log, text=True)

    def run_folder(self, folder, status="ok", **more):
        folder.write()
        process = self.start("run", folder.path, **more)
        process.communicate()
        self.assertTrue((folder.path / "result.json").exists(), (self.root / "log").read_text()[-3000:])
        result = folder.result()
        self.assertEqual(result["status"], status, f"{result}\n{(self.root / 'log').read_text()[-1500:]}")
        self.assertEqual(process.returncode, {"ok": 0, "stopped": 75, "refused": 2}.get(status, 1))
        return folder

    def serve(self, *folders):
        process = self.start("serve")
        process.communicate("".join(f"{f.write().path}\n" for f in folders))
        for folder in folders:
            self.assertEqual(folder.result()["status"], "ok", folder.result())

    def describe(self):
        process = self.start("describe", self.root / "describe.json")
        process.communicate()
        return json.loads((self.root / "describe.json").read_text())

    def probe(self, verb, **more):
        return {**self.describe()["probe"][verb], **more}


def make_images(folder, n=6, size=8):
    """Pictures in three colours, and their rows."""
    folder.mkdir()
    rows = []
    for i in range(n):
        name, colour = list(COLOURS.items())[i % 3]
        kit.write_png(folder / f"{i}.png", size, size, bytes(colour[j % 3] ^ (j * 7 + i) % 8 for j in range(3 * size * size)))
        rows.append({"index": i, "file": f"files/{i}.png", "prompt": f"a {name} dog", "score": 0.1 + 0.8 * (i % 2)})
    return rows


PROMPTS = [{"index": 10 + i, "prompt": p, "negative": n, "seed": 100 + 7 * i * i}
           for i, (p, n) in enumerate([("a red cat", ""), ("a blue dog", "green"), ("a red cat", ""), ("", ""), ("a green cup", "red")])]


class Kit(unittest.TestCase):
    def test_params(self):
        declared = {"steps": kit.integer(3, "", minimum=1), "lora": {"rank": kit.integer(4, ""),
                    "alpha": kit.number(4.0, "", unused={"lora.rank": [0]})}}
        p = kit.Params(declared, {"steps": 5, "lora": {"rank": 0}})
        self.assertEqual((p.steps, p.lora.rank, p.lora.alpha), (5, 0, None))
        alpha = kit.Params(declared, {"steps": 5, "lora": {"rank": 1, "alpha": 8}}).lora.alpha
        self.assertIsInstance(alpha, float)  # JSON writes 8.0 as 8
        with self.assertRaisesRegex(kit.Refused, r"lora\.rnak \(did you mean rank\?\)"):
            kit.Params(declared, {"steps": 5, "lora": {"rnak": 0}})
        with self.assertRaisesRegex(kit.Refused, "steps is missing"):
            kit.Params(declared, {"lora": {"rank": 1}})

    def test_png(self):
        with tempfile.TemporaryDirectory() as folder:
            pixels = bytes(i * i % 251 for i in range(3 * 5 * 4))
            kit.write_png(folder + "/a.png", 5, 4, pixels)
            self.assertEqual(kit.read_png(folder + "/a.png"), (5, 4, pixels))
            try:
                from PIL import Image
            except ImportError:
                return
            import random
            draws = random.Random(1)
            pixels = bytes(min(255, max(0, int(128 + 60 * draws.gauss(0, 1) + i % 64))) for i in range(3 * 64 * 48))
            image = Image.frombytes("RGB", (64, 48), pixels)
            image.resize((61, 47)).save(folder + "/b.png", optimize=True)  # Pillow takes all five filters
            self.assertEqual(kit.read_png(folder + "/b.png"), (61, 47, image.resize((61, 47)).tobytes()))

    def test_step_seed(self):
        seeds = {kit.step_seed(7, step) for step in range(10_000)}
        self.assertEqual(len(seeds), 10_000)
        self.assertTrue(all(0 < s < 2**31 for s in seeds))


class Template(Case):
    program = "template.py"

    def base(self):
        return self.run_folder(self.folder("load", self.probe("load"))).path / "out" / "checkpoint"

    def sampling(self, *chain, rows=None, **more):
        return self.folder("sample", self.sampler(), **more).chain("checkpoint", *chain).rows("prompts", self.prompts if rows is None else rows)

    prompts = PROMPTS

    def sampler(self):
        return self.probe("sample")

    def training(self, *chain, seeds=SEEDS, keep=(), params=None, **more):
        f = self.folder("train", self.probe("train", **(params or {})), seeds=seeds, keep=list(keep), **more)
        f.chain("base", *chain)
        self.pictures(f, "images")
        return self.pictures(f, "pretraining", 4)

    def pictures(self, folder, role, n=6):
        images = self.root / f"pictures-{n}"
        if not images.exists():
            self.picture_rows = getattr(self, "picture_rows", {})
            self.picture_rows[n] = make_images(images, n, self.image_size)
        return folder.rows(role, self.picture_rows[n], images)

    image_size = 8

    def test_describe(self):
        began = time.time()
        d = self.describe()
        took = time.time() - began
        self.assertEqual(d["protocols"], [1])
        self.assertEqual(set(d["probe"]), set(d["verbs"]))
        for verb, v in d["verbs"].items():
            self.assertGreaterEqual(v["revision"], 1)
            self.assertEqual(v["params"]["type"], "object", verb)
        self.assertLess(took, 3)

    def test_sample(self):
        base = self.base()
        f = self.sampling(base, emit=["noise"])
        self.forks = False  # here once, so that a fork gives the bytes of a process of its own
        self.run_folder(f)
        self.forks = type(self).forks
        self.assertEqual([r["index"] for r in f.out("images")], [10, 11, 12, 13, 14])
        pictures = [f.path / "out" / "images" / r["file"] for r in f.out("images")]
        self.assertEqual(len({p.read_bytes() for p in pictures}), 5)  # the same prompt twice has two seeds
        again = self.run_folder(self.sampling(base, emit=["noise"]))
        self.assertEqual(f.bytes("out", "emit"), again.bytes("out", "emit"))
        self.assertEqual(f.result()["outputs"]["images"]["files"], 6)
        self.assertEqual(list(f.path.glob("work/*")), [])

    def test_noise_is_of_the_row_alone(self):
        base = self.base()
        noise = lambda f: (f.path / "emit" / "noise.safetensors").read_bytes()[-len(PROMPTS[:3]) * self.noise_bytes:]
        whole = self.run_folder(self.sampling(base, emit=["noise"]))
        last = self.run_folder(self.sampling(base, rows=PROMPTS[2:], emit=["noise"]))
        self.assertEqual(noise(whole), noise(last))
        trained = self.run_folder(self.training(base)).path / "out" / "checkpoint"
        self.assertEqual(noise(whole), noise(self.run_folder(self.sampling(trained, base, emit=["noise"]))))

    noise_bytes = 4 * 3 * 8 * 8

    def test_train_chains_and_keeps(self):
        base = self.base()
        f = self.run_folder(self.training(base, keep=[2]))
        steps = f.request["params"]["steps"]
        self.assertEqual([r["step"] for r in f.out("curves")], list(range(1, steps + 1)))
        self.assertEqual(json.loads((f.path / "out/checkpoint/checkpoint.json").read_text())["base"], str(base))
        self.assertEqual(f.result()["resolved"], f.request["params"])
        self.assertEqual(f.result()["seeds"], SEEDS)
        short = self.run_folder(self.training(base, params={"steps": 2}))
        self.assertEqual({Path(k).name: v for k, v in short.bytes("out/checkpoint").items()},
                         {Path(k).name: v for k, v in f.bytes("out/steps/2").items()})
        images = [self.run_folder(self.sampling(*c)).bytes() for c in
                  ((base,), (f.path / "out/checkpoint", base), (f.path / "out/steps/2", base))]
        self.assertNotEqual(images[0], images[1])
        self.assertNotEqual(images[1], images[2])

    def test_streams(self):
        base = self.base()
        bytes_of = lambda **s: self.run_folder(self.training(base, seeds={**SEEDS, **s})).bytes("out/checkpoint", "out/curves")
        straight = bytes_of()
        self.assertEqual(straight, bytes_of())
        for stream in SEEDS:
            self.assertNotEqual(straight, bytes_of(**{stream: 99}), stream)

    def test_resume(self):
        base = self.base()
        straight = self.run_folder(self.training(base, keep=[2])).bytes()
        f = self.training(base, keep=[2])
        (f.path / "stop").write_text('{"why": "preempted", "grace_s": 10}')  # there from the start: each attempt does a step
        for step in range(1, 4):
            self.run_folder(f, "stopped")
            self.assertEqual(f.result()["step"], step)
            self.assertEqual([s.name for s in (f.path / "state").glob("step-*")], [f"step-{step}"])
        (f.path / "stop").unlink()
        self.run_folder(f)
        self.assertEqual(f.result()["resumed_from"], 3)
        self.assertEqual(f.bytes(), straight)

    long = {"steps": 300}

    def test_kill(self):
        base = self.base()
        straight = self.run_folder(self.training(base, params=self.long)).bytes()
        f = self.training(base, params=self.long, save_every_s=1e-6).write()
        killed = 0
        for wanted in (self.long["steps"] // 5, self.long["steps"] // 2):
            process = self.start("run", f.path)
            while process.poll() is None:
                lines = (f.path / "progress.jsonl").read_text().splitlines() if (f.path / "progress.jsonl").exists() else []
                if any(json.loads(x).get("step", 0) >= wanted for x in lines[:-1]):
                    process.send_signal(signal.SIGKILL)
                    killed += 1
                    break
            process.communicate()
        self.assertEqual(killed, 2)
        self.run_folder(f)
        self.assertGreaterEqual(f.result()["resumed_from"], self.long["steps"] // 2 - 1)
        self.assertEqual(f.bytes(), straight)

    def test_serve_equals_run(self):
        base = self.base()
        trained = self.run_folder(self.training(base)).path / "out" / "checkpoint"
        chains = [(base,), (trained, base), (base,)]
        alone = [self.run_folder(self.sampling(*c)).bytes() for c in chains]
        folders = [self.sampling(*c) for c in chains]
        self.serve(*folders)
        self.assertEqual([f.bytes() for f in folders], alone)

    def test_round_trip(self):
        base = self.base()
        f = self.training(base, emit=["samples"], samples=self.sampler()).rows("samples", self.prompts)
        self.run_folder(f)
        drawn = self.run_folder(self.sampling(f.path / "out" / "checkpoint", base))
        self.assertEqual([p.read_bytes() for p in sorted((f.path / "emit/samples").glob("*.png"))],
                         [p.read_bytes() for p in sorted((drawn.path / "out/images").glob("*.png"))])

    def test_refused(self):
        f = self.folder("load", self.probe("load", learning_rat=1))
        self.assertIn("unknown parameter learning_rat", self.run_folder(f, "refused").result()["message"])
        self.run_folder(self.folder("load", self.probe("load"), require=["time travel"]), "refused")
        self.run_folder(self.folder("load", self.probe("load", name="/no/such/model")), "refused")
        self.run_folder(self.folder("distance", {}), "refused")
        self.run_folder(self.folder("load", self.probe("load"), news={"of": "protocol 1.1"}))


class TemplateScores(Case):
    program = "template.py"
    roles = "images", "texts"

    def scoring(self, rows=None, verb="score", **params):
        rows = make_images(self.root / f"pictures-{os.urandom(4).hex()}", 6, 32) if rows is None else rows
        images = max(self.root.glob("pictures-*"), key=lambda f: f.stat().st_mtime_ns)
        return self.folder(verb, self.probe(verb, **params)).rows("images", rows, images)

    def test_score(self):
        f = self.run_folder(self.scoring())
        columns = self.describe()["verbs"]["score"]["columns"]
        self.assertEqual([r["index"] for r in f.out("scores")], list(range(6)))
        for row in f.out("scores"):
            self.assertEqual(set(row["values"]), set(columns))
        again = self.scoring()
        self.serve(again)
        self.assertEqual(f.bytes(), again.bytes())

    def test_embed(self):
        images = self.run_folder(self.scoring(verb="embed"))
        texts = self.run_folder(self.folder("embed", self.probe("embed")).rows("texts", PROMPTS))
        for f, n in ((images, 6), (texts, 5)):
            data = (f.path / "out/features/features.safetensors").read_bytes()
            header = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
            self.assertEqual(header["features"]["dtype"], "F32")
            self.assertEqual(header["features"]["shape"][0], n)
            self.assertEqual(len(f.out("features")), n)
            self.assertIn("network", f.result()["facts"])


class Verdict(Case):
    program = "verdict_engine.py"

    def test_meta_and_prompt(self):
        rows = make_images(self.root / "pictures", 6, 32)  # red, blue, green, red, …
        rows[1]["meta"] = {"include": [{"class": "dog", "count": 1, "color": "blue"}]}
        rows[2]["meta"] = {"include": [{"class": "dog", "count": 1, "color": "red"}], "tag": "colors"}
        rows[3]["meta"] = {"include": [{"class": "dog", "count": 2}], "tag": "counting"}
        rows[4]["meta"] = {"include": [{"class": "dog", "color": "blue"}, {"class": "cat", "color": "red"}]}
        f = self.folder("score", self.probe("score")).rows("images", rows, self.root / "pictures")
        self.run_folder(f)
        self.assertEqual([r["values"]["correct"] for r in f.out("scores")], ["good", "good", "bad", "skip", "bad", "good"])
        rows[0]["meta"] = {"include": [{"class": "dog", "color": "mauve"}]}
        f = self.folder("score", self.probe("score")).rows("images", rows, self.root / "pictures")
        self.assertIn("unknown colour mauve", self.run_folder(f, "failed").result()["message"])


class Scorers(Case):
    """The client of a scorer inside a training, and the bridge for trainers that speak HTTP."""

    program = "template.py"

    def test_client_and_bridge(self):
        rows = make_images(self.root / "pictures")
        rows = [{**r, "file": str(self.root / "pictures" / f"{r['index']}.png")} for r in rows]
        spec = {"command": [sys.executable, str(HERE / "template.py"), "serve"], "params": {"scale": 100.0}, "inputs": {}, "column": "match"}
        scorer = kit.Scorer(self.root / "scorer", spec)
        scores = scorer.score(rows)
        self.assertEqual(len(scores), 6)
        self.assertTrue(all(0 < s < 1 for s in scores))
        body = {"prompt": [r["prompt"] for r in rows], "image": [base64.b64encode(Path(r["file"]).read_bytes()).decode() for r in rows]}
        bridge = scorer.bridge()
        with urllib.request.urlopen(bridge + "/compute", json.dumps(body).encode()) as answer:
            self.assertEqual(json.loads(answer.read()), {"rewards": scores})
        with urllib.request.urlopen(bridge + "/health") as answer:
            self.assertEqual(answer.status, 200)
        scorer.score = lambda rows: [0.5, None]
        with self.assertRaises(urllib.error.HTTPError) as missing:
            urllib.request.urlopen(bridge + "/compute", json.dumps({k: v[:2] for k, v in body.items()}).encode())
        self.assertIn("no value for image 1: 'a blue dog'", missing.exception.read().decode())
        with self.assertRaisesRegex(kit.Failed, "refused: parameter scale is missing"):
            kit.Scorer(self.root / "other", {**spec, "params": {}}).score(rows)
        scorer.close()


class Failures(Case):
    """What the kit makes of exceptions, and of numbers that are none."""

    cases = {"raise MemoryError()": ("failed", "memory"),
             "class OutOfMemoryError(RuntimeError): pass\n    raise OutOfMemoryError('x')": ("failed", "memory"),
             "raise RuntimeError('CUDA error: an illegal memory access')": ("failed", "device"),
             "raise kit.Failed('hub', 'unavailable')": ("failed", "unavailable"),
             "import sys; sys.exit(3)": ("failed", "program"),
             "1 / 0": ("failed", "program"),
             "task.row('scores', index=1, values={'a': float('nan')})": ("failed", "program"),
             "task.curve(3, 9, loss=float('inf'))": ("diverged", None),
             "raise kit.Refused('no')": ("refused", None)}

    def test_statuses(self):
        for i, (body, (status, kind)) in enumerate(self.cases.items()):
            program = self.root / f"{i}.py"
            program.write_text(f"import sys; sys.path.insert(0, {str(HERE)!r})\nimport ablate_engine as kit\n"
                               f"engine = kit.Engine('bad', '1')\n@engine.verb()\ndef train(task):\n    {body}\nengine.main()\n")
            self.program = str(program)
            result = self.run_folder(self.folder("train", {}), status).result()
            self.assertEqual(result.get("class"), kind, body)
            self.assertNotIn("Traceback", result["message"])


TORCH = unittest.skipUnless(os.environ.get("ABLATE_TORCH"), "ABLATE_TORCH is not set")


@TORCH
class Diffusers(Template):
    """The reference engine on a random tiny Stable Diffusion."""

    forks = True
    program = "diffusers_engine.py"
    model = "tiny-sd"
    image_size = 32
    noise_bytes = 4 * 4 * 16 * 16
    long = {"steps": 12}

    def base(self):
        return self.run_folder(self.folder("load", self.probe("load", name=self.model))).path / "out" / "checkpoint"

    def test_lora_keeps_alpha(self):
        from safetensors import safe_open
        base = self.base()
        f = self.run_folder(self.training(base, params={"lora": {"rank": 4, "alpha": 8.0}}))
        with safe_open(f.path / "out/checkpoint/pytorch_lora_weights.safetensors", "pt") as file:
            about = json.loads(file.metadata()["lora_adapter_metadata"])
        self.assertEqual([v for k, v in about.items() if k.endswith(".lora_alpha")], [8.0])
        # Without it the picture is another one: so test_round_trip would fail.
        self.assertEqual(json.loads((f.path / "out/checkpoint/checkpoint.json").read_text())["alpha"], 8.0)


@TORCH
class Methods(Diffusers):
    """Losses and all weights, on Stable Diffusion; the tests of Diffusers are not repeated."""

    def pairs(self, f):
        return f.rows("pairs", [{"index": i, "prompt": "a red dog", "better": i, "worse": 5 - i, "weight": 1.0} for i in range(3)])

    def test_dpo(self):
        base = self.base()
        for rank in (0, 2):
            f = self.pairs(self.training(base, params={"method": "dpo", "dpo_beta": 500.0, "beta": 0.0, "steps": 3, "lora": lora(rank)}))
            self.run_folder(f)
            first = f.out("curves")[0]["loss"]
            self.assertAlmostEqual(first, 0.6931, 3)  # log 2: at the first step the model is its own reference
            self.assertNotAlmostEqual(f.out("curves")[2]["loss"], first, 4)

    def test_all_weights(self):
        """Stop and resume, round trip and a chain where the whole U-Net is trained."""
        base = self.base()
        params = {"lora": lora(0), "learning_rate": 1e-4}
        straight = self.training(base, params=params, emit=["samples"], samples=self.probe("sample")).rows("samples", PROMPTS)
        self.run_folder(straight)
        about = json.loads((straight.path / "out/checkpoint/checkpoint.json").read_text())
        self.assertEqual((about["format"], about["replaces"]), ("diffusers", ["unet"]))
        f = self.training(base, params=params)
        (f.path / "stop").write_text("{}")
        self.run_folder(f, "stopped")
        (f.path / "stop").unlink()
        self.assertEqual(self.run_folder(f).bytes(), straight.bytes())
        drawn = self.run_folder(self.sampling(f.path / "out/checkpoint", base))
        self.assertEqual([p.read_bytes() for p in sorted((straight.path / "emit/samples").glob("*.png"))],
                         [p.read_bytes() for p in sorted((drawn.path / "out/images").glob("*.png"))])
        # A LoRA on top of it, and a worker that samples it between two draws of the base.
        top = self.run_folder(self.training(f.path / "out/checkpoint", base)).path / "out/checkpoint"
        chains = [(base,), (top, f.path / "out/checkpoint", base), (base,)]
        alone = [self.run_folder(self.sampling(*c)).bytes() for c in chains[:2]]
        self.assertNotEqual(alone[1], drawn.bytes())
        folders = [self.sampling(*c) for c in chains]
        self.serve(*folders)
        self.assertEqual([x.bytes() for x in folders], [alone[0], alone[1], alone[0]])

    def test_weights(self):
        """Equal scores of 1 are the filtered method; the softmax of equal scores too."""
        base = self.base()

        def train(method, score):
            f = self.training(base, params={"method": method, "steps": 2, "temperature": 0.3})
            rows = self.picture_rows[6]
            (f.path / "in/images/rows.jsonl").write_text("".join(json.dumps({**r, "score": score}) + "\n" for r in rows))
            f.request["params"] = {k: v for k, v in f.request["params"].items() if k not in ("dpo_beta",) + (("temperature",) if method != "softmax-weighted" else ())}
            return f
        ones = self.run_folder(train("reward-weighted", 1.0)).bytes()
        self.assertEqual(ones, self.run_folder(train("filtered", 0.2)).bytes())
        self.assertEqual(ones, self.run_folder(train("softmax-weighted", -3.0)).bytes())
        self.assertNotEqual(ones, self.run_folder(train("reward-weighted", 0.5)).bytes())
        self.assertIn("a weight below 0", self.run_folder(train("reward-weighted", -0.5), "refused").result()["message"])

    def test_schedulers(self):
        base = self.base()
        folders = []
        for name, more in {"ddim": {"eta": 0.0, "spacing": "trailing"}, "ddpm": {"spacing": "leading"}, "pndm": {"spacing": "leading"},
                           "euler": {"spacing": "linspace", "karras": True}, "dpmsolver++": {"spacing": "linspace", "karras": False},
                           "checkpoint": {}}.items():
            p = {k: v for k, v in self.probe("sample", steps=5, batch=2).items() if k not in ("eta", "spacing", "karras")}
            for half in (PROMPTS, PROMPTS[2:4]):
                folders.append(self.folder("sample", {**p, "scheduler": name, **more}).chain("checkpoint", base).rows("prompts", half))
        self.serve(*folders)
        first = [(f.path / "out/images/12.png").read_bytes() for f in folders]
        self.assertEqual(first[0::2], first[1::2])  # rows 12 and 13 are a batch of their own in both
        self.assertEqual(len(set(first)), 6)
        f = self.folder("sample", {**p, "scheduler": "flow-euler"}).chain("checkpoint", base).rows("prompts", PROMPTS)
        self.assertIn("does not fit", self.run_folder(f, "refused").result()["message"])

    def test_half_precision_and_a_lora_on_a_lora(self):
        for name in ("tiny-sd", "tiny-sd3"):
            self.model = name
            base = self.base()
            params = {"steps": 2, "dtype": "bfloat16", "checkpointing": True}
            first = self.run_folder(self.training(base, params=params)).path / "out/checkpoint"
            second = self.run_folder(self.training(first, base, params=params)).path / "out/checkpoint"
            sampler = {k: v for k, v in self.probe("sample", dtype="bfloat16", scheduler="checkpoint").items() if k not in ("eta", "spacing")}
            images = []
            for chain in ((base,), (first, base), (second, first, base)):
                f = self.run_folder(self.folder("sample", sampler).chain("checkpoint", *chain).rows("prompts", PROMPTS))
                images.append((f.path / "out/images/10.png").read_bytes())
            self.assertEqual(len(set(images)), 3)

    def test_a_lora_on_a_lora_is_sampled_as_trained(self):
        base = self.base()
        first = self.run_folder(self.training(base)).path / "out/checkpoint"
        f = self.training(first, base, emit=["samples"], samples=self.sampler()).rows("samples", PROMPTS)
        drawn = self.run_folder(self.sampling(self.run_folder(f).path / "out/checkpoint", first, base))
        import numpy
        from PIL import Image
        for row in PROMPTS:  # the trainer has the first LoRA in its weights, the sampler beside them: other rounding
            a, b = (numpy.asarray(Image.open(p / f"{row['index']}.png")).astype(int) for p in (f.path / "emit/samples", drawn.path / "out/images"))
            self.assertLessEqual(abs(a - b).max(), 1)

    def test_two_ranks(self):
        """Two processes under torchrun give the weights of one, but for rounding."""
        from safetensors.torch import load_file
        base = self.base()
        one = self.run_folder(self.training(base))
        two = self.training(base).write()
        env = {"PATH": os.environ["PATH"], "HOME": str(self.root), "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
        done = subprocess.run([sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29617",
                               str(HERE / self.program), "run", str(two.path)], env=env, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr[-3000:])
        self.assertEqual(two.result()["status"], "ok")
        a, b = (load_file(f.path / "out/checkpoint/pytorch_lora_weights.safetensors") for f in (one, two))
        for key in a:
            self.assertLess((a[key] - b[key]).abs().max().item(), 1e-5, key)
        self.assertEqual(len(two.out("curves")), 6)


@TORCH
class Online(Diffusers):
    """Best of group in rounds, with a scorer inside the training."""

    program = "online_engine.py"

    def training(self, *chain, seeds=SEEDS, params=None, **more):
        scorer = {"command": [sys.executable, str(HERE / "template.py"), "serve"], "params": {"scale": 100.0}, "inputs": {}, "column": "match"}
        f = self.folder("train", self.probe("train", **(params or {})), seeds={**seeds, "draw": 14}, scorers={"reward": scorer}, **more)
        return f.chain("base", *chain).rows("prompts", [{"index": i, "prompt": f"a {c} cup"} for i, c in enumerate(["red", "blue", "green"])])

    def test_rounds(self):
        base = self.base()
        straight = self.run_folder(self.training(base))
        f = self.training(base)
        (f.path / "stop").write_text("{}")
        for _ in range(3):
            self.run_folder(f, "stopped")
        (f.path / "stop").unlink()
        self.assertEqual(self.run_folder(f).bytes(), straight.bytes())
        self.assertEqual(list(f.path.glob("work/*")), [])


def lora(rank):
    return {"rank": rank, "alpha": 4.0} if rank else {"rank": 0}


FAMILY = ["test_describe", "test_sample", "test_resume", "test_round_trip", "test_serve_equals_run"]
ONCE = [name for name in dir(Diffusers) if name.startswith("test_")]
for name in ONCE:  # inherited, and run once in Diffusers
    setattr(Methods, name, None)
    setattr(Online, name, None)
for model in ("tiny-sdxl", "tiny-sd3", "tiny-flux"):
    less = {name: None for name in ONCE if name not in FAMILY}
    if model != "tiny-sdxl":
        less["sampler"] = lambda self: {"scheduler": "flow-euler", **{k: self.probe("sample")[k] for k in ("steps", "guidance", "width", "height", "batch", "dtype")}}
    if model == "tiny-flux":
        less["prompts"] = [{**row, "negative": ""} for row in PROMPTS]
    globals()[model] = type(model, (Diffusers,), {**less, "model": model, "__qualname__": model})


@TORCH
class ClipScores(TemplateScores):
    program = "clip_engine.py"
    forks = True

    def test_score(self):
        f = self.run_folder(self.scoring(batch=1))
        again = self.scoring(batch=6)
        self.serve(again)
        for one, six in zip(f.out("scores"), again.out("scores"), strict=True):
            self.assertAlmostEqual(one["values"]["cosine"], six["values"]["cosine"], 6)
            self.assertAlmostEqual(six["values"]["pickscore"] / six["values"]["hpsv2"], 14.285, 1)  # exp(2.6592)
        self.assertEqual(list(f.result()["facts"]["files"]), ["model.safetensors"])

    def test_networks(self):
        """A random DINOv2, and a TorchScript with the signature of the published Inception."""
        import torch
        from transformers import Dinov2Config, Dinov2Model
        dino, inception = self.root / "dino", self.root / "inception"
        Dinov2Model(Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, mlp_ratio=2, image_size=28, patch_size=14)).save_pretrained(dino)
        (dino / "preprocessor_config.json").write_text(json.dumps({
            "size": {"shortest_edge": 32}, "crop_size": {"height": 28, "width": 28}, "do_center_crop": True, "resample": 3,
            "image_mean": [0.5, 0.5, 0.5], "image_std": [0.2, 0.2, 0.2]}))

        class Net(torch.nn.Module):
            def forward(self, x: torch.Tensor, return_features: bool = False):
                return x.mean(dim=(2, 3)).repeat(1, 4)
        inception.mkdir()
        torch.jit.script(Net()).save(str(inception / "inception-2015-12-05.pt"))
        for network, folder, size in (("dinov2", dino, 16), ("inception", inception, 12)):
            f = self.run_folder(self.scoring(verb="embed", network=network, model=str(folder)))
            data = (f.path / "out/features/features.safetensors").read_bytes()
            self.assertEqual(json.loads(data[8:8 + int.from_bytes(data[:8], "little")])["features"]["shape"], [6, size])
            self.assertEqual(f.result()["facts"]["network"], network)
            if network == "inception":  # it is given values from 0 to 255
                self.assertAlmostEqual(memoryview(data)[-48:].cast("f")[0], 30, delta=5)
        self.run_folder(self.scoring(verb="embed", network="inception", model=str(dino)), "refused")


REFERENCE = Path(os.environ.get("ABLATE_REFERENCE_MODELS", "/none"))


@TORCH
@unittest.skipUnless((REFERENCE / "sd-tiny").exists(), "ABLATE_REFERENCE_MODELS names no folder with sd-tiny")
class Reference(unittest.TestCase):
    """The engines' own functions against values of diffusers and transformers that a committed script has recorded."""

    @classmethod
    def setUpClass(cls):
        import torch
        from safetensors.torch import load_file
        import clip_engine
        import diffusers_engine
        cls.torch, cls.read, cls.d, cls.clip = torch, staticmethod(load_file), diffusers_engine, clip_engine
        cls.expected = REFERENCE / "expected"
        cls.limits = json.loads((cls.expected / "tolerances.json").read_text())
        cls.root = Path(tempfile.mkdtemp(prefix="engine-"))
        (cls.root / "checkpoint.json").write_text(json.dumps({"format": "diffusers", "root": str(REFERENCE / "sd-tiny")}))

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.root)

    def close(self, got, want, atol, rtol=1e-4):
        off = (got.double() - want.double()).abs() - rtol * want.double().abs()
        self.assertLess(off.max().item(), atol)

    def test_trajectories(self):
        """Pictures of each sampler, within one level in all but 1 % of the values."""
        import numpy
        from PIL import Image
        names = {"ddim": "ddim", "ddim_trailing": "ddim", "euler": "euler", "euler_leading": "euler", "dpmpp_2m": "dpmsolver++",
                 "dpmpp_2m_karras": "dpmsolver++", "pndm": "pndm"}
        for case, about in json.loads((self.expected / "sd-tiny/trajectories.json").read_text()).items():
            if case not in names:
                continue  # ddim_eta1 draws its noise elsewhere
            x = self.read(self.expected / f"sd-tiny/trajectory_{case}.safetensors")
            config, keep = about["scheduler_config"], self.d.noise
            declared = self.d.engine.verbs["sample"][1]
            given = {"scheduler": names[case], "steps": about["steps"], "guidance": about["guidance_scale"], "width": 32, "height": 32,
                     "batch": 1, "dtype": "float32", "spacing": config["timestep_spacing"]}
            if "use_karras_sigmas" in config:
                given["karras"] = config["use_karras_sigmas"]
            task = type("Task", (), {"verb": "train", "progress": lambda *a, **k: None})
            self.d.noise = lambda seed, shape: (x["latents_init"], self.torch.Generator("cpu"))
            try:
                with self.d.model([self.root], "float32", "sd") as m:
                    row = {"index": 0, "prompt": about["prompt"], "negative": about["negative_prompt"], "seed": 1}
                    self.d.draw(m, [row], kit.Params(declared, given), self.root, task)
            finally:
                self.d.noise = keep
            got = numpy.asarray(Image.open(self.root / "0.png")).astype(int)
            off = numpy.abs(got - x["image_uint8"][0].permute(1, 2, 0).numpy().astype(int))
            self.assertLessEqual(off.max(), 1, case)
            self.assertLess((off > 0).mean(), 0.01, case)

    def test_losses(self):
        x = self.read(self.expected / "sd-tiny/train_reward_weighted_full.safetensors")
        with self.d.model([self.root], "float32", "sd") as m, self.torch.no_grad():
            each = {}
            for part, want in (("model", "per_sample_model"), ("pre", "per_sample_pretraining")):
                u = (x[f"timesteps_{part}"] + 0.5) / 1000
                each[part] = self.d.denoising_loss(m, x[f"latents_{part}"], x[f"noise_{part}"], u, {"states": x[f"context_{part}"]}, "float32")
                self.close(each[part], x[want], 1e-5)
            p = kit.Params(self.d.engine.verbs["train"][1], {**self.d.engine.describe()["probe"]["train"]})
            weights = self.torch.tensor(self.d.row_weights(p, [{"score": r} for r in x["rewards"].tolist()]))
            self.close((weights * each["model"]).mean() + 0.5 * each["pre"].mean(), x["loss"][0], 1e-5)

    def test_dpo(self):
        x = self.read(self.expected / "preference/preference.safetensors")
        mse = lambda key: (x[key] - x["dpo_target"]).pow(2).mean(dim=(1, 2, 3))
        better, worse = mse("dpo_model_pred").chunk(2)
        base = mse("dpo_ref_pred").chunk(2)
        for beta in (2000, 5000):
            self.close(self.d.dpo_loss(better - worse, base[0] - base[1], beta).mean(), x[f"dpo_beta{beta}_loss"][0], 2e-4)

    def test_lora_file(self):
        """A published LoRA file, alpha 8 at rank 2, gives the U-Net's output with it."""
        x = self.read(self.expected / "sd-tiny/lora_alpha8.safetensors")
        folder = self.root / "lora"
        shutil.copytree(REFERENCE / "sd-tiny/lora_alpha8", folder)
        (folder / "checkpoint.json").write_text('{"format": "diffusers-lora"}')
        with self.d.model([self.root, folder], "float32", "sd") as m, self.torch.no_grad():
            got = m.pipe.unet(x["unet_sample_in"], x["unet_batch_timesteps"], x["unet_context"]).sample
            self.close(got, x["unet_out_lora"], 5e-5)

    def test_clip(self):
        x = self.read(self.expected / "clip-tiny/clip.safetensors")
        pictures = self.read(self.expected / "clip-tiny/image_processing.safetensors")
        from PIL import Image
        net = self.clip.Clip(REFERENCE / "clip-tiny")
        for i in range(5):
            file = self.root / f"clip{i}.png"
            Image.fromarray(pictures[f"image{i}"].numpy()).save(file)
            self.close(net.prepare([file])[0].cpu(), pictures[f"image{i}_pixel_values"], 2e-6)
        with self.torch.no_grad():
            images = net.images([self.root / f"clip{i}.png" for i in range(5)])
            self.close(images, x["image_features"], 2e-5)
            texts = json.loads((REFERENCE / "fixtures_config.json").read_text())["clips"][0]["prompts"]
            self.close(net.texts(texts), x["text_features"], 2e-5)


if __name__ == "__main__":
    unittest.main()
