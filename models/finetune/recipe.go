package finetune

// A Recipe is how a model is fine-tuned. Only what its method and anchor use is
// set. The tag key gives a field the path that it has in a trial, below finetune;
// runner/stage derives keys of the store from it.
type Recipe struct {
	Method       string  `json:"method"`
	Steps        int     `json:"steps"`
	Batch        int     `json:"batch"`
	LearningRate float64 `json:"learningRate"`
	Warmup       int     `json:"warmup"`
	Schedule     string  `json:"schedule"` // constant, linear or cosine
	EMA          float64 `json:"ema"`
	Clip         float64 `json:"clip"` // largest global norm of the gradient
	WeightDecay  float64 `json:"weightDecay"`
	LoRA         LoRA    `json:"lora"`

	Anchor string  `json:"anchor"`                     // none, pretraining, velocity or kl
	Beta   float64 `json:"beta"`                       // weight of pretraining pairs
	Weight float64 `json:"weight" key:"anchor.weight"` // of the anchors velocity and kl

	Rounds int `json:"rounds,omitempty"`                   // of fresh samples, the first being the given ones
	Fresh  int `json:"fresh,omitempty" key:"fresh.images"` // images of a round
	Group  int `json:"group,omitempty" key:"fresh.group"`  // of one prompt among them

	Tau       float64   `json:"tau,omitempty" key:"softmax.tau"`              // τ of softmax-weighted
	Keep      string    `json:"keep,omitempty" key:"filtered.by"`             // of filtered: fraction or threshold
	Top       float64   `json:"top,omitempty" key:"filtered.fraction"`        // fraction that filtered keeps
	Threshold float64   `json:"threshold,omitempty" key:"filtered.threshold"` // or the least score that it keeps
	DPO       DPOSet    `json:"dpo"`
	KTO       KTOSet    `json:"kto"`
	AWM       AWMSet    `json:"awm"`
	NFT       NFTSet    `json:"nft"`
	CRD       CRDSet    `json:"crd"`
	Policy    PolicySet `json:"policy"`
	Direct    DirectSet `json:"direct"`
}

// LoRA is a low-rank update of Rank > 0.
type LoRA struct {
	Rank    int    `json:"rank,omitempty"`
	Targets string `json:"targets,omitempty"`
}

// DPOSet are the constants of DPO.
type DPOSet struct {
	Beta float64 `json:"beta,omitempty"`
}

// KTOSet are the constants of KTO.
type KTOSet struct {
	Beta        float64 `json:"beta,omitempty"`
	Desirable   float64 `json:"desirable,omitempty"`
	Undesirable float64 `json:"undesirable,omitempty"`
	Positive    float64 `json:"positive,omitempty"` // share of good images in a batch
}

// AWMSet are the constants of AWM.
type AWMSet struct {
	Weighting string  `json:"weighting,omitempty"`
	Power     float64 `json:"power,omitempty"`
	Clip      float64 `json:"clip,omitempty"`
	Average   float64 `json:"average,omitempty"` // weight of the distance to the running mean over rounds
}

// NFTSet are the constants of DiffusionNFT.
type NFTSet struct {
	Beta   float64 `json:"beta,omitempty"`
	Signal string  `json:"signal,omitempty"` // score or label
}

// CRDSet are the constants of CRD.
type CRDSet struct {
	Beta  float64 `json:"beta,omitempty"`
	Group int     `json:"group,omitempty"` // images of one prompt in a batch
}

// PolicySet are the constants of the policy gradients.
type PolicySet struct {
	Images    int     `json:"images,omitempty" key:"/finetune.rollout.images"` // drawn between updates
	Group     int     `json:"group,omitempty" key:"/finetune.grpo.group"`      // of one prompt; 0 draws prompts freely
	Noise     float64 `json:"noise,omitempty" key:"/finetune.rollout.noise"`   // of the stochastic sampler
	ClipRange float64 `json:"clipRange,omitempty" key:"clip"`
	Weight    float64 `json:"weight,omitempty" key:"/finetune.dpok.weight"` // of the reward, DPOK's w_r
}

// DirectSet are the constants of the gradients of the reward.
type DirectSet struct {
	Last   int     `json:"last,omitempty" key:"/finetune.draft.last"`    // steps that draft differentiates through
	From   float64 `json:"from,omitempty" key:"/finetune.refl.from"`     // refl's first step, as a share of the sampler's
	Weight float64 `json:"weight,omitempty"`                             // of the reward
	Margin float64 `json:"margin,omitempty" key:"/finetune.refl.margin"` // refl's, in the units of the reward
}

// Kind is how a method learns.
type Kind int

// The kinds of methods.
const (
	Offline    Kind = iota // from given images
	Trajectory             // a policy gradient on the sampler's own steps
	Gradient               // the gradient of the reward through the sampler
)

// KindOf says how a method learns.
func KindOf(method string) Kind {
	switch method {
	case "ddpo", "dpok", "grpo":
		return Trajectory
	case "refl", "draft":
		return Gradient
	}
	return Offline
}

// Labels reports whether a method learns from labels and not from scores.
func (r Recipe) Labels() bool {
	return r.Method == "dpo" || r.Method == "kto" || r.Method == "nft" && r.NFT.Signal == "label"
}
