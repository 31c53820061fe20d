"""Tests of the engines that wrap a trainer of others, and of the kit's helpers for them.

    python -m unittest test_adapters           rendering, refusals, and the kit
    ABLATE_TORCH=1 python -m unittest …        trainings by stand-ins of the trainers, on a tiny random model
"""
import hashlib
import json
import os
import signal
import sys
import time
import unittest
from pathlib import Path

from test_engines import HERE, TORCH, Case, kit, make_images

STANDIN = HERE / "testdata" / "train_text_to_image_lora.py"
os.environ["LORA_SCRIPT"] = str(STANDIN)
import flowfactory_engine  # noqa: E402
import lora_script_engine  # noqa: E402
import simpletuner_engine  # noqa: E402

DIGEST = hashlib.sha256(STANDIN.read_bytes()).hexdigest()


def task_of(case, folder, engine):
    """The task of a folder, in this process."""
    case.addCleanup(os.chdir, HERE)  # a task goes into its work/, which is removed
    folder.write()
    return kit.Task(folder.path, folder.request, kit.Params(engine.verbs["train"][1], folder.request["params"]), engine)


def end(folder):
    """Kills the processes that an attempt has left."""
    left = [1]
    while left:
        left = []
        for name in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if str(folder).encode() in name.read_bytes() and int(name.parent.name) != os.getpid():
                    left.append(int(name.parent.name))
                    os.kill(left[-1], signal.SIGKILL)
            except OSError:
                pass  # it has ended
        time.sleep(0.01)


class Trainers(Case):
    """What the kit has for trainers that are programs of their own."""

    def test_child(self):
        code = "import os, sys, time; time.sleep(0.7); open('file', 'w').write(os.environ['MARK']); sys.exit(7)"
        with kit.Child([sys.executable, "-c", code], self.root, MARK="a") as child:
            self.assertGreaterEqual(len(list(child)), 1)
        self.assertEqual((child.status, (self.root / "file").read_text()), (7, "a"))

    def test_the_child_and_its_children_end_with_the_block(self):
        code = ("import subprocess, sys, time\nchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
                "open('pid', 'w').write(str(child.pid)); time.sleep(60)")
        with self.assertRaises(kit.Stopped), kit.Child([sys.executable, "-c", code], self.root) as child:
            for _ in child:
                if (self.root / "pid").exists():
                    raise kit.Stopped(1)
        self.assertEqual(child.status, -signal.SIGTERM)
        stat = Path(f"/proc/{(self.root / 'pid').read_text()}/stat")
        for _ in range(50):
            if not stat.exists() or " Z " in stat.read_text():
                return
            time.sleep(0.1)
        self.fail("the child's child still runs")

    def test_follow(self):
        f, engine = self.folder("train", {}), kit.Engine("a", "1")

        @engine.verb()
        def train(task): pass
        task = task_of(self, f, engine)
        curve = self.root / "curve.jsonl"
        self.assertEqual(kit.read_lines(curve), [])
        curve.write_text('{"step": 1, "loss": 4}\n{"step": 2, "loss": 3}\n{"step": 2, "loss": 2}\n{"step": 3, "lo')
        task.follow(kit.read_lines(curve), 9)
        task.follow([*kit.read_lines(curve), {"step": 3, "loss": 1}], 9)
        task.finish()
        self.assertEqual(f.out("curves"), [{"step": 1, "loss": 4}, {"step": 2, "loss": 2}, {"step": 3, "loss": 1}])
        shown = [json.loads(line)["step"] for line in (f.path / "progress.jsonl").read_text().splitlines()]
        self.assertEqual(shown, [1, 2, 3])
        with self.assertRaisesRegex(kit.Diverged, "loss is nan at step 4"):
            task.follow([{"step": 4, "loss": float("nan")}], 9)


    def test_few_pictures(self):
        rows = [{"file": f"/{i}.png", "prompt": str(i)} for i in range(3)]
        for batch, names in ((4, "012012012012"), (6, "012012"), (3, "012"), (2, "012")):
            pairs = kit.link_pictures(self.root / str(batch), rows, batch)
            self.assertEqual("".join(prompt for _, prompt in pairs), names)
            self.assertEqual([os.readlink(self.root / str(batch) / name) for name, _ in pairs], [f"/{x}.png" for x in names])


class Wrapped(Case):
    """Attempt folders of trainings by an engine that wraps a trainer."""

    env, kind, tiny_model = {}, "StableDiffusionPipeline", "tiny-sd"

    def start(self, *argv, **more):
        return super().start(*argv, **{**self.env, **more})

    def training(self, base=None, n=6, params=None, **more):
        f = self.folder("train", self.probe("train", **(params or {})), seeds={"seed": 11}, resources={"gpus": 0}, **more)
        rows = make_images(self.root / f"pictures{self.count}", n, size=32)
        return f.chain("base", base or self.model()).rows("images", rows, self.root / f"pictures{self.count}")

    def model(self, kind=None):
        """The folder of a model as far as an engine looks into it itself."""
        folder = self.root / "model"
        folder.mkdir(exist_ok=True)
        (folder / "checkpoint.json").write_text(json.dumps({"format": "diffusers", "base": None}))
        (folder / "model_index.json").write_text(json.dumps({"_class_name": kind or self.kind}))
        return folder

    def tiny(self):
        import tiny_models
        tiny_models.make(self.tiny_model, self.root / "tiny")
        (self.root / "tiny" / "checkpoint.json").write_text(json.dumps({"format": "diffusers", "base": None}))
        return self.root / "tiny"

    def sampled(self, *chain):
        """A picture that the reference engine draws of a checkpoint."""
        import diffusers_engine
        params = {**diffusers_engine.engine.verbs["sample"][2], "scheduler": "checkpoint"}
        if self.tiny_model == "tiny-sd3":
            params = {"scheduler": "flow-euler", **{k: params[k] for k in ("steps", "guidance", "width", "height", "batch", "dtype")}}
        f = self.folder("sample", params).chain("checkpoint", *chain).rows("prompts", [{"index": 0, "prompt": "a red dog", "seed": 5}])
        self.forks = True
        super().start("run", f.write().path, program="diffusers_engine.py").communicate()
        self.forks = False
        self.assertEqual(f.result()["status"], "ok", f.result())
        return (f.path / "out/images/0.png").read_bytes()


class LoraScript(Wrapped):
    """diffusers' LoRA script, by a stand-in of the same command line."""

    program = "lora_script_engine.py"
    env = {"LORA_SCRIPT": str(STANDIN)}

    def test_command(self):
        f = self.training(params={"micro": 1, "snr_gamma": 0.0, "schedule": "constant", "flip": False})
        task = task_of(self, f, lora_script_engine.engine)
        argv = [str(x) for x in lora_script_engine.command(task, Path("data"), 0)]
        self.assertEqual(argv[:5], [sys.executable, str(HERE / "lora_script_engine.py"), "inside", str(f.path), str(STANDIN)])
        for option in ("--seed=11", "--train_data_dir=data", f"--pretrained_model_name_or_path={f.path / 'in/base'}", "--max_train_steps=6",
                       "--train_batch_size=1", "--gradient_accumulation_steps=4", "--lr_scheduler=constant_with_warmup",
                       "--lr_warmup_steps=2", "--learning_rate=0.001", "--rank=4", "--resolution=32", "--mixed_precision=no"):
            self.assertIn(option, argv)
        self.assertFalse([x for x in argv if "snr_gamma" in x or "flip" in x or "resume" in x])
        task.params["flip"], task.gpus, task.request["resources"] = True, 2, {"port": 4321}
        argv = [str(x) for x in lora_script_engine.command(task, Path("data"), 3)]
        for option in ("accelerate.commands.launch", "--num_processes=2", "--main_process_port=4321", "--gradient_accumulation_steps=2",
                       "--resume_from_checkpoint=checkpoint-3", "--random_flip"):
            self.assertIn(option, argv)

    def test_refused(self):
        def message(f, **env): return self.run_folder(f, "refused", **env).result()["message"]
        self.assertIn("batch: 4 images are no multiple of 3 (micro)", message(self.training(params={"micro": 3})))
        self.assertIn("is not beside the engine", message(self.training(params={"script": ""})))
        self.assertIn(f"has the SHA-256 {DIGEST}", message(self.training(params={"script": "0" * 64})))
        self.assertIn("there is no script /none.py", message(self.training(), LORA_SCRIPT="/none.py"))
        self.assertIn("is a FluxPipeline", message(self.training(self.model("FluxPipeline"))))
        self.assertIn("not 2 checkpoints in a chain", message(self.training().chain("base.base", self.model())))

    @TORCH
    def test_train(self):
        base = self.tiny()
        f = self.run_folder(self.training(base))
        result = f.result()
        self.assertEqual(result["resolved"], f.request["params"])
        self.assertEqual(result["seeds"], {"seed": 11})
        self.assertEqual([row["step"] for row in f.out("curves")], [1, 2, 3, 4, 5, 6])
        self.assertEqual({row["text"] for row in kit.read_lines(f.path / "tmp/data/metadata.jsonl")}, {f"a {c} dog" for c in ("red", "blue", "green")})
        self.assertEqual(list(f.path.glob("work/*")), [])
        self.assertEqual(self.run_folder(self.training(base)).bytes(), f.bytes())
        self.assertNotEqual(self.sampled(base), self.sampled(f.path / "out/checkpoint", base))
        self.run_folder(self.training(base, n=3))  # fewer than a batch

    @TORCH
    def test_stop_and_kill(self):
        base = self.tiny()
        f = self.training(base, params={"steps": 12})
        (f.path / "stop").write_text("{}")
        for step in (1, 2):  # the stop is there from the beginning: after one step each
            self.assertEqual(self.run_folder(f, "stopped").result()["step"], step)
        (f.path / "stop").unlink()
        f.request["save_every_s"] = 0.001
        process = self.start("run", f.write().path)
        while not [x for x in (f.path / "state").glob("checkpoint-*") if int(x.name[len("checkpoint-"):]) > 3]:
            self.assertIsNone(process.poll())
            time.sleep(0.001)
        process.kill()
        process.wait()
        end(f.path)  # as ablate does
        result = self.run_folder(f).result()
        self.assertGreaterEqual(result["resumed_from"], 4)
        self.assertEqual([row["step"] for row in f.out("curves")], list(range(1, 13)))
        self.assertEqual(result["resolved"], f.request["params"])

    @TORCH
    def test_faults_of_a_trainer(self):
        base = self.tiny()
        for fault, status, message in (("skips", "failed", "found 5 of 6 images"), ("short", "failed", "ended with 0 after step 5 of 6"),
                                       ("nan", "diverged", "loss is nan at step 1")):
            result = self.run_folder(self.training(base), status, LORA_STANDIN=fault).result()
            self.assertIn(message, result["message"])


class SimpleTuner(Wrapped):
    """SimpleTuner. ABLATE_SIMPLETUNER names a Python that has it; then it trains a tiny model, which takes about 2 minutes."""

    program = "simpletuner_engine.py"
    kind, tiny_model = "StableDiffusionXLPipeline", "tiny-sdxl"

    def test_settings(self):
        f = self.training()
        task = task_of(self, f, simpletuner_engine.engine)
        task.gpus = 2
        settings = simpletuner_engine.render(task, f.path / "state", task.rows("images"), 3)
        for option, value in {"--model_family": "sdxl", "--pretrained_model_name_or_path": str(f.path / "in/base"), "--seed": 11,
                              "--train_batch_size": 2, "--gradient_accumulation_steps": 1, "--max_train_steps": 6, "--num_train_epochs": 0,
                              "--lora_rank": 4, "--lora_alpha": 8.0, "--mixed_precision": "no", "--max_grad_norm": 0.5,
                              "--optimizer_config": "weight_decay=0.02", "--resume_from_checkpoint": "checkpoint-3"}.items():
            self.assertEqual(settings[option], value, option)
        images, text = json.loads((f.path / "tmp/backends.json").read_text())
        data = Path(images["instance_data_dir"])
        self.assertEqual((data / "000001.txt").read_text(), "a blue dog")
        self.assertEqual((data / "000001.png").read_bytes(), (f.path / "in/images/files/1.png").read_bytes())
        self.assertEqual((images["resolution"], text["dataset_type"]), (64, "text_embeds"))
        used = {**{k.removeprefix("--"): v for k, v in settings.items()}, "weight_dtype": "torch.float32"}
        simpletuner_engine.read_back(task, used, 6)
        self.assertEqual(task.report["resolved"], f.request["params"])
        simpletuner_engine.read_back(task, {**used, "lora_rank": 16}, 6)
        self.assertNotEqual(task.report["resolved"], f.request["params"])

    def test_refused(self):
        def message(f): return self.run_folder(f, "refused").result()["message"]
        self.assertIn("SimpleTuner rounds sizes to multiples of 64", message(self.training(params={"size": 96})))
        self.assertIn("no multiple of 3 (micro)", message(self.training(params={"micro": 3})))
        self.assertIn("is a StableDiffusionPipeline", message(self.training(self.model("StableDiffusionPipeline"))))

    def test_curve(self):
        curve = self.root / "curve.jsonl"
        curve.write_text('{"metrics":{"train_loss":1.5,"learning_rate":0.1,"epoch":1.0},"step":1}\n{"metrics":{"system/cpu_percent":3},"step":1}\n')
        self.assertEqual(simpletuner_engine.losses(curve), [{"step": 1, "loss": 1.5, "learning_rate": 0.1}])

    @TORCH
    @unittest.skipUnless(os.environ.get("ABLATE_SIMPLETUNER"), "ABLATE_SIMPLETUNER does not name a Python with simpletuner")
    def test_train_stop_and_resume(self):
        # SimpleTuner pins memory, for which torch needs a GPU.
        (self.root / "sitecustomize.py").write_text(
            "import builtins, sys\nload = builtins.__import__\n"
            "def patch(name, *a, **k):\n"
            "    module, torch = load(name, *a, **k), sys.modules.get('torch')\n"
            "    if hasattr(getattr(torch, 'Tensor', None), 'pin_memory'):\n"
            "        torch.Tensor.pin_memory, builtins.__import__ = lambda self, *a, **k: self, load\n"
            "    return module\n"
            "builtins.__import__ = patch\n")
        self.env = {"PYTHONPATH": str(self.root), "NO_COLOR": "1"}
        self.addCleanup(setattr, sys, "executable", sys.executable)
        own, sys.executable = sys.executable, os.environ["ABLATE_SIMPLETUNER"]
        base = self.tiny()
        f = self.run_folder(self.training(base))
        self.assertEqual(f.result()["resolved"], f.request["params"])
        self.assertEqual([row["step"] for row in f.out("curves")], [1, 2, 3, 4, 5, 6])
        stopped = self.training(base)
        (stopped.path / "stop").write_text("{}")
        step = self.run_folder(stopped, "stopped").result()["step"]
        (stopped.path / "stop").unlink()
        self.assertEqual(self.run_folder(stopped).result()["resumed_from"], step)
        self.assertEqual([row["step"] for row in stopped.out("curves")], [1, 2, 3, 4, 5, 6])
        sys.executable = own
        self.assertNotEqual(self.sampled(base), self.sampled(f.path / "out/checkpoint", base))


class FlowFactory(Wrapped):
    """Flow-Factory, by a stand-in; the rewards come from the template's scorer, over the kit's bridge."""

    program = "flowfactory_engine.py"
    kind, tiny_model = "StableDiffusion3Pipeline", "tiny-sd3"
    env = {"PYTHONPATH": f"{HERE / 'testdata'}:{HERE}"}
    params = {"method": "grpo", "epochs": 3, "prompts": 4, "group": 2, "micro": 2, "updates": 1, "learning_rate": 1e-5, "weight_decay": 1e-4,
              "beta1": 0.9, "beta2": 0.99, "clip": 1.0, "kl": 0.0, "ema": {"decay": 0.5, "every": 1}, "size": 16,
              "sampler": {"steps": 4, "guidance": 2.0, "noise": 0.8, "stochastic": 1}, "lora": {"rank": 4, "alpha": 8}, "dtype": "float32",
              "checkpointing": False}

    def training(self, base=None, scale=100.0, **params):
        scorer = {"command": [sys.executable, str(HERE / "template.py"), "serve"], "params": {"scale": scale}, "inputs": {}, "column": "match"}
        f = self.folder("train", {**self.params, **params}, seeds={"seed": 11}, resources={"gpus": 0}, scorers={"reward": scorer})
        return f.chain("base", base or self.model()).rows("prompts", [{"index": i, "prompt": f"a {c} cup"} for i, c in enumerate(("red", "blue"))])

    def test_settings(self):
        f = self.training()
        settings = flowfactory_engine.render(task_of(self, f, flowfactory_engine.engine), "http://host:1")
        self.assertEqual(settings["num_processes"], 1)
        self.assertEqual(settings["model"]["model_type"], "sd3-5")
        self.assertEqual(settings["rewards"][0]["server_url"], "http://host:1")
        self.assertEqual((settings["train"]["seed"], settings["scheduler"]["seed"], settings["log"]["save_freq"]), (11, 11, 0))
        self.assertEqual((settings["scheduler"]["dynamics_type"], settings["scheduler"]["noise_level"]), ("Flow-SDE", 0.8))
        self.assertEqual(kit.read_lines(f.path / "tmp/prompts/train.jsonl"), [{"prompt": "a red cup"}, {"prompt": "a blue cup"}])
        f = self.training(method="nft", sampler={"steps": 4, "guidance": 2.0})
        settings = flowfactory_engine.render(task_of(self, f, flowfactory_engine.engine), "http://host:1")
        self.assertEqual(settings["scheduler"], {"dynamics_type": "ODE", "seed": 11})

    def test_refused(self):
        def message(f): return self.run_folder(f, "refused").result()["message"]
        f = self.training()
        del f.request["scorers"]
        self.assertIn("needs a scorer reward", message(f))
        self.assertIn("would stay those of the base", message(self.training(ema={"decay": 0.5, "every": 9})))
        self.assertIn("is a StableDiffusionPipeline", message(self.training(self.model("StableDiffusionPipeline"))))

    @TORCH
    def test_train(self):
        base = self.tiny()
        f = self.run_folder(self.training(base))
        self.assertEqual(f.result()["resolved"], f.request["params"])
        curve = f.out("curves")
        self.assertEqual([set(row) for row in curve], [{"step", "train_reward_mean", "train_loss"}] * 3)
        self.assertEqual([row["step"] for row in curve], [1, 2, 3])
        self.assertTrue(0 < curve[0]["train_reward_mean"] < 1)  # the mean of the scorer's values
        other = self.run_folder(self.training(base, scale=20.0))
        self.assertLess(other.out("curves")[0]["train_reward_mean"], curve[0]["train_reward_mean"])
        self.assertEqual(list(f.path.glob("work/*")), [])
        self.assertNotEqual(self.sampled(base), self.sampled(f.path / "out/checkpoint", base))

    @TORCH
    def test_a_rounded_batch_is_seen(self):
        f = self.run_folder(self.training(self.tiny(), prompts=3, micro=4))
        self.assertEqual((f.request["params"]["prompts"], f.result()["resolved"]["prompts"]), (3, 4))


if __name__ == "__main__":
    unittest.main()
