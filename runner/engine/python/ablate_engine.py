"""The kit for engines of ablate, protocol 1: one file, no dependencies. Copy it beside your engine.

An engine is a program that ablate starts for one task at a time. A task is a folder: the request
and the inputs lie in it, and the outputs and a result are written into it. The kit does the folder;
you write one function for each verb (load, sample, train, score, embed) that your engine has:

    from ablate_engine import Engine, number

    engine = Engine("ink", "1.0", packages=["pillow"])

    @engine.verb(revision=1, serve=True, columns={"ink": {"kind": "real", "better": "lower"}},
                 params={"black": number(0.2, "pixels below this brightness are ink", minimum=0, maximum=1)},
                 probe={"black": 0.5})
    def score(task):
        for row in task.rows("images"):
            task.row("scores", index=row["index"], values={"ink": ink(row["file"], task.params.black)})

    engine.main()

    python ink.py describe FILE      writes what the engine can do
    python ink.py run DIR            does the task in the folder DIR
    python ink.py serve              does the folders that it reads from standard input, one a line

A function that returns has done its task. To end otherwise, raise Refused (parameters or inputs are
wrong), Diverged (a training left the numbers; that is a result) or Failed; any other exception is a
failure of class "program", or "memory" where memory ran out. A training loop is resumable like this:

    folder, start = task.resume()                 # the latest saved state and its step, or (None, 0)
    for step in range(start + 1, task.params.steps + 1):
        ...                                       # draw from step_seed(task.seed("noise"), step)
        task.curve(step, task.params.steps, loss=loss)
        task.keep(step, write_checkpoint)         # only at the steps that the study keeps
        if task.due():                            # time to save, or ablate asks the task to stop
            task.save(step, write_state)          # write_state(folder) writes the files of a state

The whole contract is docs/engines.md. Heavy imports belong into the functions: `describe` must end
within seconds on a machine without an accelerator.
"""
import importlib
import json
import os
import shutil
import sys
import time
from math import isfinite
from pathlib import Path

PROTOCOL = 1
EXITS = {"ok": 0, "refused": 2, "stopped": 75}  # any other status exits 1; ablate reads result.json


class Refused(Exception):
    """The parameters or inputs are wrong: the study must change."""


class Diverged(Exception):
    """The training left the numbers. This is a result, and ablate does not try again."""


class Failed(Exception):
    """The task failed. kind is memory, device, unavailable, data or program."""

    def __init__(self, message, kind="program"):
        super().__init__(message)
        self.kind = kind


class Stopped(Exception):
    """Raised by Task.save when ablate has asked the task to stop."""


# Parameters. `unused={"lora.rank": [0]}`: not used where lora.rank is 0. `above=0`: must be more
# than 0. `identity="record"`: has no effect on the result. `probe=[1, 9]`: values for `ablate probe`.

class Leaf(dict):
    """The JSON Schema of one parameter."""


def _leaf(kind, default, description, unit=None, unused=None, identity=None, probe=None, above=None, **limits):
    extra = {"default": default, "description": description, "x-unit": unit, "x-unused": unused,
             "x-identity": identity, "x-probe": probe, "exclusiveMinimum": above}
    return Leaf(type=kind, **{k: v for k, v in extra.items() if v is not None}, **limits)


def integer(default, description, **more): return _leaf("integer", default, description, **more)
def number(default, description, **more): return _leaf("number", default, description, **more)
def string(default, description, **more): return _leaf("string", default, description, **more)
def boolean(default, description, **more): return _leaf("boolean", default, description, **more)


def _schema(params):
    return {"type": "object", "properties": {k: v if isinstance(v, Leaf) else _schema(v) for k, v in params.items()}}


class Params(dict):
    """The parameters of a task, as attributes too; one that the task does not use is None."""

    def __init__(self, declared, given, path=""):
        for name in given:
            if name not in declared:
                import difflib
                near = difflib.get_close_matches(name, declared, 1)
                raise Refused(f"unknown parameter {path}{name}" + (f" (did you mean {near[0]}?)" if near else ""))
        for name, leaf in declared.items():
            if not isinstance(leaf, Leaf):
                self[name] = Params(leaf, given.get(name, {}), path + name + ".")
            elif name not in given and "x-unused" not in leaf:
                raise Refused(f"parameter {path}{name} is missing: ablate hands over every parameter in use")
            else:
                value = given.get(name)
                self[name] = float(value) if leaf["type"] == "number" and value is not None else value  # JSON has 1 for 1.0

    __getattr__ = dict.__getitem__


class Engine:
    """The verbs of a program, and its command line."""

    def __init__(self, name, version, packages=(), understands=()):
        self.name, self.version, self.packages, self.understands = name, version, packages, list(understands)
        self.verbs, self.estimates = {}, {}

    def verb(self, params=None, probe=None, **description):
        """Declares the decorated function as the verb of its name; description goes into `describe` as it is."""
        def declare(function):
            self.verbs[function.__name__] = (function, params or {}, probe, description)
            return function
        return declare

    def estimate(self, verb):
        """Declares the decorated function, which says what a task of the verb will need: f(params, load, rows=, gpus=, cpus=)
        returns a dict with flops, memory, gpu_memory and disk, as far as it knows them. load is None where another engine
        loads the model."""
        def declare(function):
            self.estimates[verb] = function
            return function
        return declare

    def describe(self):
        from importlib.metadata import PackageNotFoundError, version
        installed = []
        for package in self.packages:
            try:
                installed.append(f"{package}=={version(package)}")
            except PackageNotFoundError:
                installed.append(f"{package} is not installed")
        return {"protocols": [PROTOCOL], "name": self.name, "version": self.version, "understands": self.understands,
                "environment": {"python": sys.version.split()[0], "packages": installed},
                "verbs": {verb: {**d, **({"estimate": True} if verb in self.estimates else {}), "params": _schema(params)}
                          for verb, (_, params, _, d) in self.verbs.items()},
                "probe": {verb: probe for verb, (_, _, probe, _) in self.verbs.items() if probe is not None}}

    def main(self, argv=None):
        argv = sys.argv[1:] if argv is None else argv
        if len(argv) == 2 and argv[0] == "describe":
            write_file(Path(argv[1]), json.dumps(self.describe(), indent=1))
        elif len(argv) == 2 and argv[0] == "run":
            sys.exit(EXITS.get(self.run(argv[1]), 1))
        elif len(argv) == 3 and argv[0] == "estimate":
            request = json.loads(Path(argv[1]).read_text())
            write_file(Path(argv[2]), json.dumps({"tasks": [self.needs(task) for task in request["tasks"]]}))
        elif argv == ["serve"]:
            for line in iter(sys.stdin.readline, ""):
                self.run(line.rstrip("\n"))
        else:
            sys.exit(f"usage: {sys.argv[0]} describe FILE | run DIR | serve | estimate REQUEST ANSWER")

    def needs(self, task):
        """The estimate of a task of an estimate request."""
        try:
            params = Params(self.verbs[task["verb"]][1], task["params"])
            load = Params(self.verbs["load"][1], task["load"]) if "load" in task else None
            return self.estimates[task["verb"]](params, load, rows=task.get("rows", 0), gpus=task["gpus"], cpus=task["cpus"])
        except Exception as error:  # other tasks have their estimates
            return {"error": f"{type(error).__name__}: {error}"}

    def run(self, folder):
        """Does the task in a folder and returns its status. It raises nothing: a worker goes on."""
        folder, task = Path(folder).resolve(), None
        try:
            request = json.loads((folder / "request.json").read_text())
            if request["protocol"] != PROTOCOL or request["verb"] not in self.verbs:
                raise Refused(f"{self.name} does not do {request['verb']} by protocol {request['protocol']}")
            for name in [*request.get("require", []), *("emit:" + e for e in request.get("emit", []))]:
                if name not in self.understands:
                    raise Refused(f"{self.name} does not understand {name}")
            function, params, _, _ = self.verbs[request["verb"]]
            task = Task(folder, request, Params(params, request["params"]), self)
            function(task)
            task.finish()
            result = {"status": "ok"}
        except Stopped as end:
            result = {"status": "stopped", "step": end.args[0]}
        except (Diverged, Refused) as end:
            result = {"status": type(end).__name__.lower(), "message": str(end)}
        except (Exception, SystemExit) as end:
            import traceback
            traceback.print_exc()  # to the log; the result has the last line alone
            result = {"status": "failed", "class": _class_of(end), "message": f"{type(end).__name__}: {end}"[:1000]}
        finally:
            if task:
                task.close()
        # Of several ranks the first writes the result; another one writes only how it failed.
        if task is None or task.rank == 0 or result["status"] == "failed" and not (folder / "result.json").exists():
            facts = task.report if task else {}
            write_file(folder / "result.json", json.dumps({"protocol": PROTOCOL, **result, **facts}, allow_nan=False))
        return result["status"]


def _class_of(error):
    text = str(error).lower()
    if isinstance(error, Failed):
        return error.kind
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" \
            or "out of memory" in text or "can't allocate memory" in text:
        return "memory"
    return "device" if "cuda error" in text or "nccl" in text else "program"


def write_file(path, text):
    """Writes a file whole: beside its place, synced, renamed."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with open(beside, "w") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
    os.replace(beside, path)


def write_folder(path, write):
    """Makes a folder whole: write(folder) fills it beside its place, it is synced and renamed."""
    beside = path.with_name(f".new-{path.name.removeprefix('step-')}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    write(beside)
    for file in [*beside.rglob("*"), beside]:
        handle = os.open(file, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
    shutil.rmtree(path, ignore_errors=True)
    os.rename(beside, path)


class Task:
    """One task: its parameters, inputs, outputs and state."""

    def __init__(self, folder, request, params, engine):
        self.dir, self.request, self.params, self.engine = folder, request, params, engine
        self.verb, self.emit = request["verb"], request.get("emit", [])
        self.gpus = max(1, request.get("resources", {}).get("gpus", 0))  # processes of a trainer: one on a CPU, too
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        self.report = {"facts": {}, "seeds": {}}  # goes into result.json
        self._files, self._curves, self._stop, self._own = {}, [], False, []
        self._saved = time.monotonic()
        for name in ("work", "tmp"):
            (folder / name).mkdir(exist_ok=True)
        os.chdir(folder / "work")  # ablate starts `run` there; a worker has a new one for each task
        os.environ["TMPDIR"] = str(folder / "tmp")

    # Inputs.

    def input(self, role):
        """The folder of an input, or None where the task has none of this role."""
        entry = self.request["inputs"].get(role)
        return self.dir / entry["path"] if entry else None

    def id(self, role):
        """The artifact id of an input: what a worker may know a loaded model by."""
        return self.request["inputs"][role]["id"]

    def chain(self, role):
        """The folders of a checkpoint and of those that it is based on, the base first."""
        folder, found = self.input(role), []
        while folder and folder.exists():
            found.insert(0, folder)
            folder = folder.with_name(folder.name + ".base")
        return found

    def model(self, role):
        """The folder of a whole model: the input itself, or the folder that `load` named."""
        folders = self.chain(role)
        if len(folders) != 1:
            raise Refused(f"{self.verb} needs a whole model as {role}, not {len(folders)} checkpoints in a chain")
        return Path(json.loads((folders[0] / "checkpoint.json").read_text()).get("root", folders[0]))

    def rows(self, role):
        """The rows of an input; `file` is a whole path."""
        folder = self.input(role)
        if folder is None:
            raise Refused(f"{self.verb} needs the input {role}")
        with open(folder / "rows.jsonl") as f:
            rows = [json.loads(line) for line in f]
        return [{**row, "file": str(folder / row["file"])} if "file" in row else row for row in rows]

    def seed(self, stream):
        """The seed of a declared stream of random numbers, such as "noise"."""
        self.report["seeds"][stream] = self.request["seeds"][stream]
        return self.request["seeds"][stream]

    # Outputs.

    def out(self, role):
        """The folder of an output."""
        folder = self.dir / "out" / role
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def row(self, role, **fields):
        """Writes a row of an output. A row that has none is row(role, index=7, error="why")."""
        if role not in self._files:
            self._files[role] = open(self.out(role) / "rows.jsonl", "w")
        try:
            self._files[role].write(json.dumps(fields, allow_nan=False) + "\n")
        except ValueError:
            raise Failed(f"a number of {role} is not finite: {fields}") from None

    def checkpoint(self, folder, format, base=None, **more):
        """Writes checkpoint.json; base is the role of the checkpoint that this one needs."""
        base = self.request["inputs"][base]["id"] if base else None
        write_file(folder / "checkpoint.json", json.dumps({"format": format, "base": base, **more}, indent=1))

    def fact(self, **facts):
        self.report["facts"].update(facts)

    def resolved(self, **values):
        """Parameters as the live program has them, nested like `params`; ablate compares them."""
        self.report["resolved"] = values

    def progress(self, step=None, of=None, note=None, **metrics):
        """Tells the person who watches how far the task is; part of no result."""
        if self.rank == 0:
            line = {"step": step, "of": of, "note": note, "metrics": metrics or None}
            with open(self.dir / "progress.jsonl", "a") as f:
                f.write(json.dumps({k: v for k, v in line.items() if v is not None}) + "\n")

    def curve(self, step, of, **numbers):
        """Writes a row of the training curves, and progress. A number that is not finite ends the task."""
        for name, value in numbers.items():
            if not isfinite(value):
                raise Diverged(f"{name} is {value} at step {step}")
        self._curves.append(json.dumps({"step": step, **numbers}) + "\n")
        self.progress(step, of, **numbers)

    def follow(self, rows, of):
        """Takes over the curve that a trainer writes itself, as rows of {"step", and numbers}; call it as the curve grows.
        Of rows of one step the last one counts: a trainer that was resumed has done some steps again."""
        rows = sorted({row["step"]: row for row in rows}.items())
        seen, self._curves = len(self._curves), []
        for step, row in rows:
            for name, value in row.items():
                if not isfinite(value):
                    raise Diverged(f"{name} is {value} at step {step}")
            self._curves.append(json.dumps(row) + "\n")
        for step, row in rows[seen:]:
            self.progress(**{**row, "of": of})

    def source(self, file):
        """Counts a file among the program's own, as a script that it starts: `ablate probe` looks for it in `source`."""
        self._own.append(str(file))

    def python(self, precision):
        """The begin of a command that runs Python on all GPUs of the task; with accelerate's precision, "no", "bf16" or "fp16"."""
        if self.gpus == 1:
            return [sys.executable]
        return [  # all options are named: accelerate else reads a file in the home folder
            sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines=1", f"--num_processes={self.gpus}",
            f"--main_process_port={self.request['resources']['port']}", f"--mixed_precision={precision}", "--dynamo_backend=no"]

    def sample_params(self):
        """The parameters by which ablate asks a training for samples (`emit: samples`, with in/samples/rows.jsonl)."""
        return Params(self.engine.verbs["sample"][1], self.request["samples"])

    # State of a training.

    def stopping(self):
        return (self.dir / "stop").exists()

    def due(self, agree=lambda rank0: rank0):
        """Whether to save now. agree hands the first rank's value to all ranks, so that they stop together."""
        every, stop = self.request.get("save_every_s", 0), self.stopping()  # 0: only when the task is stopped
        self._stop, due = agree((stop, stop or 0 < every <= time.monotonic() - self._saved))
        return due

    def save(self, step, write):
        """Saves a state, removes older ones, and ends the task if ablate has asked for that."""
        def whole(folder):
            write(folder)
            (folder / "curves.jsonl").write_text("".join(self._curves))
        if self.rank == 0:
            write_folder(self.dir / "state" / f"step-{step}", whole)
            for old in (self.dir / "state").iterdir():
                if old.name != f"step-{step}" and old.name.startswith(("step-", ".new-")):
                    shutil.rmtree(old)
        self._saved = time.monotonic()
        if self._stop:
            raise Stopped(step)

    def resume(self):
        """The folder of the latest state and its step, or (None, 0)."""
        states = (self.dir / "state").glob("step-*")
        step = max((int(s.name[5:]) for s in states), default=0)
        if step == 0:
            return None, 0
        folder = self.dir / "state" / f"step-{step}"
        self._curves = (folder / "curves.jsonl").read_text().splitlines(keepends=True)
        self.report["resumed_from"] = step
        return folder, step

    def keep(self, step, write):
        """Keeps a checkpoint on the way, if the study asks for one at this step. It waits in state/ for the end."""
        if step in self.request.get("keep", []) and self.rank == 0:
            write_folder(self.dir / "state" / f"keep-{step}", write)

    def finish(self):
        """Completes the outputs of a task that is done."""
        if self.rank != 0:
            return
        if self._curves:
            (self.out("curves") / "rows.jsonl").write_text("".join(self._curves))
        for step in self.request.get("keep", []) if self.verb == "train" else []:
            shutil.copytree(self.dir / "state" / f"keep-{step}", self.dir / "out" / "steps" / str(step), dirs_exist_ok=True)
        self.close()
        outputs = self.report["outputs"] = {}
        for role in sorted((self.dir / "out").glob("*")):
            sizes = [f.stat().st_size for f in role.rglob("*") if f.is_file()]
            outputs[role.name] = {"files": len(sizes), "bytes": sum(sizes)}
        self.report.update(sources=_sources(self._own), hardware=_hardware())

    def close(self):
        for file in self._files.values():
            file.close()

    # Scorers inside a training.

    def scorer(self, name):
        """The scorer that the study names for an online method: scorer(name).score([{"file", "prompt"}, …])."""
        if name not in self.request.get("scorers", {}):
            raise Refused(f"the method needs a scorer {name}, and the study names none")
        return Scorer(self.dir / "tmp" / f"scorer-{name}-{self.rank}", self.request["scorers"][name])


class Child:
    """A trainer that is a program of its own, for `with`: all its processes end with the block. Iterating yields every half second
    until it has ended, for a look at its files and at `task.stopping()`; then `status` is its exit status. `folder` is where it
    runs: some trainers leave files there, and work/ should be left empty."""

    def __init__(self, command, folder=None, **environment):
        import subprocess
        # A group of its own, because a launcher that is ended alone leaves the trainers running; ablate finds them by ABLATE_ATTEMPT.
        self.process = subprocess.Popen([str(x) for x in command], cwd=folder, env={**os.environ, **environment},
                                        stdin=subprocess.DEVNULL, process_group=0)
        self.status = None

    def wait(self, seconds):
        import subprocess
        try:
            self.status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        return self.status is not None

    def __iter__(self):
        while not self.wait(0.5):
            yield

    def __enter__(self): return self

    def __exit__(self, *_):
        import signal
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:  # all have ended
                pass
            self.wait(5)


def _sources(more):
    """The program's own files that were loaded, by SHA-256: all but Python's and the installed packages'."""
    import hashlib
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())} - {None} | set(more)
    own = [f for f in files if os.path.isabs(f) and os.path.isfile(f)  # libraries make modules of invented names
           and not f.startswith((sys.prefix, sys.base_prefix)) and "site-packages" not in f]
    return {f: hashlib.sha256(Path(f).read_bytes()).hexdigest() for f in sorted(own)}


def _hardware():
    torch = sys.modules.get("torch")
    if torch is None:
        return {"cpus": os.cpu_count()}
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"gpus": gpus, "cpus": os.cpu_count(), "cpu_class": torch.backends.cpu.get_cpu_capability(),
            "tf32": torch.backends.cuda.matmul.allow_tf32}


class Scorer:
    """A client of another engine's `serve`: it lays task folders as ablate does."""

    def __init__(self, folder, spec):
        import subprocess
        self.folder, self.spec, self.count = folder, spec, 0
        env = {k: v for k, v in os.environ.items() if k not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
        self.process = subprocess.Popen(spec["command"], stdin=subprocess.PIPE, text=True, env=env)

    def score(self, rows):
        """A number for each row of {"file": picture, "prompt": text}; None where the scorer has none."""
        self.count += 1
        folder = self.folder / str(self.count)
        for name in ("in/images/files", "out", "emit", "state", "work", "tmp"):
            (folder / name).mkdir(parents=True)
        with open(folder / "in/images/rows.jsonl", "w") as f:
            for i, row in enumerate(rows):
                shutil.copyfile(row["file"], folder / f"in/images/files/{i}.png")
                f.write(json.dumps({"index": i, "prompt": row["prompt"], "file": f"files/{i}.png"}) + "\n")
        inputs = {**self.spec.get("inputs", {}), "images": {"path": "in/images", "rows": len(rows)}}
        write_file(folder / "request.json", json.dumps({
            "protocol": PROTOCOL, "verb": "score", "action": "scorer", "attempt": 1, "require": [], "emit": [],
            "params": self.spec["params"], "seeds": {}, "inputs": inputs}))
        print(folder, file=self.process.stdin, flush=True)
        while not (folder / "result.json").exists():
            if self.process.poll() is not None:
                raise Failed(f"the scorer ended with {self.process.returncode}")
            time.sleep(0.005)
        result = json.loads((folder / "result.json").read_text())
        if result["status"] != "ok":
            raise Failed(f"the scorer: {result['status']}: {result.get('message')}", result.get("class", "program"))
        with open(folder / "out/scores/rows.jsonl") as f:
            values = [json.loads(line).get("values", {}).get(self.spec["column"]) for line in f]
        shutil.rmtree(folder)
        return values

    def bridge(self):
        """Serves a trainer that asks for rewards over HTTP, and returns the address. The form is that of Flow-Factory's remote
        rewards: POST /compute {"prompt": […], "image": [PNG in base64, …]} gives {"rewards": […]}, GET /health 200."""
        import base64
        import threading
        from http.server import BaseHTTPRequestHandler, HTTPServer
        scorer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.answer(200 if self.path == "/health" else 404, {})

            def do_POST(self):
                try:
                    body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                    rows = []
                    for i, (prompt, image) in enumerate(zip(body["prompt"], body["image"], strict=True)):
                        scorer.folder.mkdir(parents=True, exist_ok=True)
                        file = scorer.folder / f"{i}.png"
                        file.write_bytes(base64.b64decode(image))
                        rows.append({"file": file, "prompt": prompt})
                    rewards = scorer.score(rows)
                    if None in rewards:  # some trainers would count it as 0
                        raise Failed(f"the scorer has no value for image {rewards.index(None)}: {rows[rewards.index(None)]['prompt']!r}")
                    self.answer(200, {"rewards": rewards})
                except Exception as error:
                    self.answer(500, {"error": str(error)})

            def answer(self, status, body):
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_): pass  # standard output and error are the trainer's log

        server = HTTPServer(("127.0.0.1", 0), Handler)  # one request at a time, as the scorer works
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    def close(self):
        self.process.stdin.close()
        self.process.wait()


# Helpers that an engine may use.

def located(name):
    """The path of a model that a parameter names: a relative one begins at the folder of cue.mod."""
    return Path(os.environ.get("ABLATE_ROOT", ""), name)


def step_seed(seed, step):
    """The seed of one step of a stream: draws made from it need no state that a resumed run must restore."""
    import hashlib
    return 1 + int.from_bytes(hashlib.sha256(f"{seed} {step}".encode()).digest()[:4], "big") % (2**31 - 1)


class lazy:
    """A module that is imported when it is first used, so that `describe` and refused tasks are fast: torch = lazy("torch")"""

    def __init__(self, name):
        self.__dict__["_name"] = name

    def __getattr__(self, name):
        return getattr(importlib.import_module(self._name), name)


def noise(seed, shape):
    """The noise "torch-cpu" of one row, a function of seed and shape alone, and the generator that goes on from it."""
    import torch
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float32), generator


def read_lines(path):
    """The objects of a JSONL file, to which another program may be writing: a line that is not whole is left out."""
    text = Path(path).read_text() if Path(path).exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def link_pictures(folder, rows, batch):
    """Makes a folder of the pictures of rows, 000000.png and on, by links, and returns their names and prompts. If there are
    fewer rows than a batch, each is there several times, so that a trainer's steps are whole."""
    from math import gcd
    folder.mkdir(parents=True)
    if len(rows) < batch:
        rows = rows * (batch // gcd(len(rows), batch))
    for i, row in enumerate(rows):
        (folder / f"{i:06}.png").symlink_to(row["file"])
    return [(f"{i:06}.png", row["prompt"]) for i, row in enumerate(rows)]


def write_features(path, rows, name="features"):
    """Writes lists of numbers as one float32 tensor [n, d] of a safetensors file."""
    import array
    data = array.array("f", [x for row in rows for x in row])
    size = [len(rows), len(rows[0]) if rows else 0]
    header = json.dumps({name: {"dtype": "F32", "shape": size, "data_offsets": [0, 4 * len(data)]}}).encode()
    header += b" " * (-len(header) % 8)
    Path(path).write_bytes(len(header).to_bytes(8, "little") + header + data.tobytes())


def write_png(path, width, height, pixels):
    """Writes 8-bit RGB; pixels are the bytes of all rows."""
    import zlib
    lines = b"".join(b"\0" + pixels[3 * width * y:3 * width * (y + 1)] for y in range(height))
    shape = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n")
        for kind, data in ((b"IHDR", shape), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")):
            f.write(len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big"))


def read_png(path):
    """Reads an 8-bit RGB picture as (width, height, bytes of all rows)."""
    import zlib
    data, at, packed = Path(path).read_bytes(), 8, b""
    while at < len(data):
        length, kind = int.from_bytes(data[at:at + 4], "big"), data[at + 4:at + 8]
        if kind == b"IHDR":
            width, height = int.from_bytes(data[at + 8:at + 12], "big"), int.from_bytes(data[at + 12:at + 16], "big")
            if data[at + 16:at + 21] != b"\x08\x02\0\0\0":
                raise Failed(f"{path} is no 8-bit RGB picture", "data")
        elif kind == b"IDAT":
            packed += data[at + 8:at + 8 + length]
        at += 12 + length
    raw, stride, above, rows = zlib.decompress(packed), 3 * width, bytes(3 * width), []
    for y in range(height):
        rule, line = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for x in range(stride) if rule else ():
            a, b, c = (line[x - 3], above[x], above[x - 3]) if x >= 3 else (0, above[x], 0)
            p = abs(b - c), abs(a - c), abs(a + b - 2 * c)
            paeth = a if p[0] <= p[1] and p[0] <= p[2] else b if p[1] <= p[2] else c
            line[x] = (line[x] + (0, a, b, (a + b) // 2, paeth)[rule]) % 256
        rows.append(bytes(line))
        above = line
    return width, height, b"".join(rows)
