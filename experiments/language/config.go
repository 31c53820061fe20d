package language

// Config is a content as typed structs, the parameters of the stages. A nil
// pointer is a part that the trial does not use; within a part, what it does not
// use is zero. The schema says what each field means and in which unit.
type Config struct {
	Data     *Data
	Model    *Model
	Embedder *Embedder
	Sampler  *Sampler
	Feedback *Feedback
	Reward   *Reward
	Finetune *Finetune
	Evaluate *Evaluate
}

// Data is the pretraining data of the shapes world.
type Data struct {
	Pairs    int
	Captions Captions
}

// Captions are probabilities a slot: redrawn, and for Absent left out.
type Captions struct{ Count, Colour, Background, Absent float64 }

// Model has one field that is not nil.
type Model struct {
	Shapes     *Shapes
	Checkpoint *Checkpoint
}

// Shapes is the pretraining of the shapes world's denoiser.
type Shapes struct {
	Layers, Width, Heads int
	Steps, Batch         int
	LearningRate, EMA    float64
}

// Checkpoint is an adopted model.
type Checkpoint struct {
	Path string // as the study has it: relative to the study's own folder, or absolute
}

// Embedder is the pretraining of the reward's embedder.
type Embedder struct {
	Steps, Batch int
	LearningRate float64
}

// Sampler draws images.
type Sampler struct {
	Steps int
	Shift float64
}

// Feedback counts images drawn from the pretrained model; Noise is the label
// noise of the parser as annotator.
type Feedback struct {
	Labelled, Unlabelled int
	Noise                float64
}

// Reward is how the reward is learned.
type Reward struct {
	Loss                string
	Lambda, Temperature float64
	Perturbations       int
	Steps, Batch        int
	LearningRate        float64
	Members             int     // of the ensemble
	Penalty             float64 // for their disagreement
	Normalize           string
	Contrast            float64 // temperature of contrastive normalization
	Contrasts           int     // contrasting prompts of it
}

// Learns reports whether the reward is a model that learns from labels.
func (r *Reward) Learns() bool { return r != nil && r.Loss != "none" && r.Loss != "oracle" }

// Finetune is the fine-tuning of the model; only Method is set under "none".
type Finetune struct {
	Method               string
	Anchor               string
	Beta, Velocity, KL   float64
	Mix                  Mix
	Steps, Batch, Warmup int
	LearningRate         float64
	Schedule             string
	EMA, Clip            float64
	WeightDecay          float64
	Rank                 int
	Targets              string
	Probes, Rounds       int
	Fresh, FreshGroup    int

	Tau                                   float64 // of softmax-weighted
	By                                    string  // of filtered
	Fraction, Threshold                   float64
	DPO                                   float64 // β
	KTO, Desirable, Undesirable, Positive float64
	Weighting                             string // of awm
	Power, AWMClip, Average, AWMVelocity  float64
	NFT                                   float64
	Signal                                string
	NFTVelocity                           float64
	CRD, CRDVelocity                      float64
	CRDGroup                              int
	Images                                int // of a policy's rollout
	Noise                                 float64
	DDPOClip                              float64
	DPOKClip, DPOKWeight, DPOKVelocity    float64
	GRPOClip, GRPOKL                      float64
	GRPOGroup                             int
	ReFLFrom, ReFLWeight, ReFLMargin      float64
	Last                                  int // steps of draft
}

// Mix weights the sources of an update.
type Mix struct{ Labelled, Unlabelled, Pretraining float64 }

// Evaluate counts the images of the evaluation.
type Evaluate struct{ Images, FidelityImages, BestOf int }

// Config returns the content as typed structs.
func (c Content) Config() Config {
	n := func(path string) int { v, _ := c.Value(path); i, _ := v.(int64); return int(i) }
	f := func(path string) float64 { v, _ := c.Value(path); x, _ := v.(float64); return x }
	s := func(path string) string { v, _ := c.Value(path); x, _ := v.(string); return x }
	var out Config
	if c.has("data") {
		out.Data = &Data{n("data.pairs"), Captions{f("data.captions.count"), f("data.captions.colour"),
			f("data.captions.background"), f("data.captions.absent")}}
	}
	if c.has("model") {
		out.Model = &Model{}
	}
	if c.has("model.shapes") {
		out.Model.Shapes = &Shapes{n("model.shapes.layers"), n("model.shapes.width"), n("model.shapes.heads"),
			n("model.shapes.steps"), n("model.shapes.batch"), f("model.shapes.learningRate"), f("model.shapes.ema")}
	}
	if c.has("model.checkpoint") {
		out.Model.Checkpoint = &Checkpoint{s("model.checkpoint.path")}
	}
	if c.has("embedder") {
		out.Embedder = &Embedder{n("embedder.steps"), n("embedder.batch"), f("embedder.learningRate")}
	}
	if c.has("sampler") {
		out.Sampler = &Sampler{n("sampler.steps"), f("sampler.shift")}
	}
	if c.has("feedback") {
		out.Feedback = &Feedback{n("feedback.labelled"), n("feedback.unlabelled"), f("feedback.parser.noise")}
	}
	if c.has("reward") {
		out.Reward = &Reward{s("reward.loss"), f("reward.lambda"), f("reward.temperature"), n("reward.perturbations"),
			n("reward.steps"), n("reward.batch"), f("reward.learningRate"), n("reward.ensemble.members"), f("reward.ensemble.penalty"),
			s("reward.normalize"), f("reward.contrastive.temperature"), n("reward.contrastive.prompts")}
	}
	if c.has("finetune") {
		out.Finetune = &Finetune{
			Method: s("finetune.method"), Anchor: s("finetune.anchor"), Beta: f("finetune.beta"), Velocity: f("finetune.velocity"), KL: f("finetune.kl"),
			Mix:   Mix{f("finetune.mix.labelled"), f("finetune.mix.unlabelled"), f("finetune.mix.pretraining")},
			Steps: n("finetune.steps"), Batch: n("finetune.batch"), Warmup: n("finetune.warmup"), LearningRate: f("finetune.learningRate"),
			Schedule: s("finetune.schedule"), EMA: f("finetune.ema"), Clip: f("finetune.clip"), WeightDecay: f("finetune.weightDecay"),
			Rank: n("finetune.lora.rank"), Targets: s("finetune.lora.targets"),
			Probes: n("finetune.probes"), Rounds: n("finetune.rounds"), Fresh: n("finetune.fresh.images"), FreshGroup: n("finetune.fresh.group"),
			Tau: f("finetune.softmax.tau"), By: s("finetune.filtered.by"), Fraction: f("finetune.filtered.fraction"), Threshold: f("finetune.filtered.threshold"),
			DPO: f("finetune.dpo.beta"), KTO: f("finetune.kto.beta"), Desirable: f("finetune.kto.desirable"), Undesirable: f("finetune.kto.undesirable"),
			Positive: f("finetune.kto.positive"), Weighting: s("finetune.awm.weighting"), Power: f("finetune.awm.power"), AWMClip: f("finetune.awm.clip"),
			Average: f("finetune.awm.average"), AWMVelocity: f("finetune.awm.velocity"), NFT: f("finetune.nft.beta"), Signal: s("finetune.nft.signal"),
			NFTVelocity: f("finetune.nft.velocity"), CRD: f("finetune.crd.beta"), CRDVelocity: f("finetune.crd.velocity"), CRDGroup: n("finetune.crd.group"),
			Images: n("finetune.rollout.images"), Noise: f("finetune.rollout.noise"), DDPOClip: f("finetune.ddpo.clip"),
			DPOKClip: f("finetune.dpok.clip"), DPOKWeight: f("finetune.dpok.weight"), DPOKVelocity: f("finetune.dpok.velocity"),
			GRPOClip: f("finetune.grpo.clip"), GRPOKL: f("finetune.grpo.kl"), GRPOGroup: n("finetune.grpo.group"),
			ReFLFrom: f("finetune.refl.from"), ReFLWeight: f("finetune.refl.weight"), ReFLMargin: f("finetune.refl.margin"), Last: n("finetune.draft.last"),
		}
	}
	if c.has("evaluate") {
		out.Evaluate = &Evaluate{n("evaluate.images"), n("evaluate.fidelityImages"), n("evaluate.bestOf")}
	}
	return out
}
