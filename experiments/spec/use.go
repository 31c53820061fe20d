package spec

import "fmt"

// A problem is why values that are right each by itself make no trial together.
type problem struct {
	paths []string // what it is about, the first one first to blame
	msg   string
	hint  string
}

// use says which parameters a trial uses, and makes equal what means the same.
// It is the one place that knows how parameters hang together.
type use struct {
	m        map[string]any
	unused   map[string]string // path → "finetune.method is …", the reason
	problems []problem
}

func (u *use) number(path string) float64 { f, _ := u.m[path].(float64); return f }
func (u *use) count(path string) int64    { i, _ := u.m[path].(int64); return i }
func (u *use) name(path string) string    { s, _ := u.m[path].(string); return s }

// drop removes what lies at or below each path, but for what is already gone.
func (u *use) drop(why string, paths ...string) {
	for _, prefix := range paths {
		for p := range u.m {
			if under(p, prefix) {
				// Who states that there are no such images has said why.
				if n, ok := u.m[p].(int64); !ok || n != 0 {
					u.unused[p] = why
				}
				delete(u.m, p)
			}
		}
	}
}

// zero sets a weight that can have no effect to the 0 that says so.
func (u *use) zero(why, path string) {
	if u.number(path) != 0 {
		u.unused[path] = why
		u.m[path] = 0.0
	}
}

func (u *use) problem(msg, hint string, paths ...string) {
	u.problems = append(u.problems, problem{paths, msg, hint})
}

// normalise reduces the values of a whole trial to its content, in place.
func normalise(m map[string]any) *use {
	u := &use{m: m, unused: map[string]string{}}
	u.model()
	tuned := u.finetune()
	u.reward(tuned)
	u.data()
	return u
}

func (u *use) model() {
	if _, ok := u.m["model.shapes.width"]; !ok {
		if u.name("model.checkpoint.path") == "" {
			u.problem("the checkpoint has no path", "model: checkpoint: path: \"FOLDER\"", "model.checkpoint.path")
		}
		return
	}
	width, heads := u.count("model.shapes.width"), u.count("model.shapes.heads")
	if heads > 0 && width%heads != 0 {
		u.problem(fmt.Sprintf("width %d is not a multiple of heads %d", width, heads), "every head has width/heads numbers",
			"model.shapes.heads", "model.shapes.width")
	}
}

// source says which images a fine-tune draws.
type source struct{ labelled, unlabelled bool }

func (u *use) finetune() source {
	if method := u.name("finetune.method"); method == "none" {
		u.drop(`finetune.method is "none"`, "finetune.beta", "finetune.mix", "finetune.steps", "finetune.batch",
			"finetune.learningRate", "finetune.warmup", "finetune.schedule", "finetune.ema")
		return source{}
	}
	const labelled, unlabelled, pretraining = "finetune.mix.labelled", "finetune.mix.unlabelled", "finetune.mix.pretraining"
	if u.number("finetune.beta") == 0 {
		u.zero("finetune.beta is 0", pretraining)
	} else if u.number(pretraining) == 0 {
		u.zero(pretraining+" is 0", "finetune.beta")
	}
	if u.count("feedback.labelled") == 0 {
		u.zero("feedback.labelled is 0", labelled)
	}
	if u.count("feedback.unlabelled") == 0 {
		u.zero("feedback.unlabelled is 0", unlabelled)
	}
	s := source{u.number(labelled) > 0, u.number(unlabelled) > 0}
	if !s.labelled && !s.unlabelled && u.number(pretraining) == 0 {
		u.problem("nothing to fine-tune on: labelled, unlabelled and pretraining data are all left out",
			`give one a weight and images, or set finetune.method to "none"`,
			labelled, unlabelled, pretraining, "finetune.beta", "feedback.labelled", "feedback.unlabelled")
	}
	return s
}

func (u *use) reward(tuned source) {
	loss, chooses := u.name("reward.loss"), u.count("evaluate.bestOf") > 1
	if chooses && loss == "none" {
		u.problem(`the best of several is chosen by the trial's own reward, and reward.loss is "none"`,
			"set evaluate.bestOf to 1 or learn a reward", "evaluate.bestOf", "reward.loss")
	}
	why := "no generated image is weighted or chosen: " + u.idle()
	used := tuned.labelled || tuned.unlabelled || chooses
	learned := used && (loss == "mse" || loss == "mse+classification")
	if learned && u.count("feedback.labelled") == 0 {
		u.problem(fmt.Sprintf("a reward of loss %q learns from labelled images, and there are none", loss),
			`set feedback.labelled to at least 1, or reward.loss to "none"`, "feedback.labelled", "reward.loss")
	}
	if !tuned.unlabelled {
		u.drop(u.idleSource("unlabelled"), "feedback.unlabelled")
	}
	if !tuned.labelled && !learned {
		u.drop(u.idleSource("labelled"), "feedback.labelled")
	}
	if !used {
		u.drop(why, "reward", "feedback.parser", "embedder")
		return
	}
	is := fmt.Sprintf("reward.loss is %q", loss)
	if !learned {
		u.drop(is, "reward.steps", "reward.batch", "reward.learningRate", "feedback.parser", "embedder")
	}
	if loss != "mse+classification" {
		u.drop(is, "reward.lambda", "reward.temperature", "reward.perturbations")
	}
}

// idle says why fine-tuning draws no generated image.
func (u *use) idle() string {
	if u.name("finetune.method") == "none" {
		return `finetune.method is "none"`
	}
	return "finetune.mix.labelled and finetune.mix.unlabelled are 0"
}

func (u *use) idleSource(name string) string {
	if u.name("finetune.method") == "none" {
		return `finetune.method is "none"`
	}
	return "finetune.mix." + name + " is 0"
}

// data drops what only a model pretrained here reads, where one was adopted.
func (u *use) data() {
	if _, ok := u.m["model.checkpoint.path"]; !ok {
		return
	}
	u.drop("an adopted checkpoint brings its own embedder", "embedder")
	if u.number("finetune.beta") == 0 {
		u.drop("the model is an adopted checkpoint and no pretraining data is mixed in", "data")
	}
}
