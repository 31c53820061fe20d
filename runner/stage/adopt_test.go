package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"ablate/models/checkpoint"
	"ablate/models/embedder"
	"ablate/models/nn"
	"ablate/models/random"
	"ablate/runner/world"
)

// adoptable is a checkpoint folder with an embedder.
func adoptable(t testing.TB) string {
	t.Helper()
	dir := checkpointFolder(t)
	c := embedder.Default(world.Vocabulary())
	c.Features, c.Width = [3]int{2, 2, 2}, 4
	if err := writeEmbedder(dir, c, nn.Init(c.Params(), random.Stream(1, "test", "embedder", 0))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// adopt runs the stage on a folder whose digest was taken before.
func adopt(t testing.TB, dir, digest string) (string, error) {
	t.Helper()
	raw, err := json.Marshal(AdoptParams{Path: dir, Digest: digest})
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	return out, Run(t.Context(), NewEnv(nil), Task{Kind: Adopt, Params: raw, Out: out}, nil)
}

func edit(t testing.TB, path string, change func(string) string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(change(string(b))), 0o666); err != nil {
		t.Fatal(err)
	}
}

// editWeights changes a file of weights as a well-formed file.
func editWeights(t testing.TB, path string, change func(map[string]checkpoint.Tensor)) {
	t.Helper()
	w, err := checkpoint.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	change(w)
	if err := checkpoint.WriteFile(path, w); err != nil {
		t.Fatal(err)
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			list = append(list, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// TestAdopt: only the files of the checkpoint are copied, and they have the digest.
func TestAdopt(t *testing.T) {
	dir := adoptable(t)
	for _, stray := range []string{"secret.txt", "transformer/optimizer.bin"} {
		if err := os.WriteFile(filepath.Join(dir, stray), []byte("not a model"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	digest, err := DigestCheckpoint(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	out, err := adopt(t, dir, digest)
	if err != nil {
		t.Fatal(err)
	}
	required, optional := CheckpointFiles()
	want := slices.Concat(required, optional)
	slices.Sort(want)
	if got := files(t, out); !slices.Equal(got, want) {
		t.Errorf("the artifact has %v, want %v", got, want)
	}
	if again, err := DigestCheckpoint(t.Context(), out); err != nil || again != digest {
		t.Errorf("the copy has the digest %s, want %s (%v)", again, digest, err)
	}
	if got, err := CheckCheckpoint(t.Context(), dir, true); err != nil || len(got) != len(want) {
		t.Errorf("the folder is checked as %v, %v", got, err)
	}
}

// TestAdoptOfChangedFolder: if the folder changed between making the graph of the study
// and the copy, the stage returns an error.
func TestAdoptOfChangedFolder(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, dir string){
		"other weights": func(t *testing.T, dir string) {
			editWeights(t, filepath.Join(dir, "transformer", denoiserFile), func(w map[string]checkpoint.Tensor) {
				w["position"] = checkpoint.Floats(make([]float32, len(w["position"].Data)/4), w["position"].Shape...)
			})
		},
		"no embedder any more": func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "embedder")); err != nil {
				t.Fatal(err)
			}
		},
		"another shift": func(t *testing.T, dir string) {
			if err := WriteScheduler(dir, 20, 7); err != nil {
				t.Fatal(err)
			}
		},
	} {
		dir := adoptable(t)
		digest, err := DigestCheckpoint(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		change(t, dir)
		if _, err := adopt(t, dir, digest); err == nil || !strings.Contains(err.Error(), dir+" has changed since this run began") {
			t.Errorf("%s: error %v, want one that the folder has changed", name, err)
		}
	}
}

// TestCheckCheckpoint: all functions that read a checkpoint folder return an error with
// the name of the file if it is not a checkpoint of this program, or if its files do not
// fit together.
func TestCheckCheckpoint(t *testing.T) {
	denoiser, encoder := "transformer/"+denoiserFile, "text_encoder/"+encoderFile
	replace := func(file, old, new string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, file), func(s string) string {
				if !strings.Contains(s, old) {
					t.Fatalf("%s has no %q:\n%s", file, old, s)
				}
				return strings.Replace(s, old, new, 1)
			})
		}
	}
	content := func(file, text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { edit(t, filepath.Join(dir, file), func(string) string { return text }) }
	}
	shape := func(file, tensor string, shape ...int) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			editWeights(t, filepath.Join(dir, file), func(w map[string]checkpoint.Tensor) {
				x := w[tensor]
				x.Shape = shape
				w[tensor] = x
			})
		}
	}
	value := func(file, tensor string, v float64) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			editWeights(t, filepath.Join(dir, file), func(w map[string]checkpoint.Tensor) {
				x, err := w[tensor].Float32()
				if err != nil {
					t.Fatal(err)
				}
				x[len(x)-1] = float32(v)
				w[tensor] = checkpoint.Floats(x, w[tensor].Shape...)
			})
		}
	}
	instead := func(file string, put func(path string) error) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, file)
			if err := errors.Join(os.Remove(path), put(path)); err != nil {
				t.Fatal(err)
			}
		}
	}
	link := func(to string) func(string) error { return func(path string) error { return os.Symlink(to, path) } }
	sparse := func(path string) error {
		return errors.Join(os.WriteFile(path, nil, 0o666), os.Truncate(path, 1<<40))
	}
	secret := filepath.Join(t.TempDir(), "secret.txt")
	if err := os.WriteFile(secret, []byte("TOP SECRET"), 0o666); err != nil {
		t.Fatal(err)
	}
	const blocks = "blocks.0.attention.out.weight"
	for name, c := range map[string]struct {
		change     func(t *testing.T, dir string)
		file, want string
		late       bool // the error is found in the weights, which DigestCheckpoint does not check
	}{
		"transposed": {shape(denoiser, "time.0.weight", 64, 8), denoiser, `"time.0.weight" has shape [64 8], the configuration needs [8 64]`, false},
		"flattened":  {shape(denoiser, blocks, 1, 1, 64, 1), denoiser, "has shape [1 1 64 1], the configuration needs [8 8]", false},
		"one tensor more": {func(t *testing.T, dir string) {
			editWeights(t, filepath.Join(dir, encoder), func(w map[string]checkpoint.Tensor) { w["more"] = checkpoint.Floats([]float32{1}, 1) })
		}, encoder, `tensor "more" is not one of the 4`, false},
		"one tensor less": {func(t *testing.T, dir string) {
			editWeights(t, filepath.Join(dir, denoiser), func(w map[string]checkpoint.Tensor) { delete(w, blocks) })
		}, denoiser, `"` + blocks + `" is missing`, false},
		"NaN":                 {value(denoiser, blocks, math.NaN()), denoiser, `"` + blocks + `" has the value NaN`, true},
		"infinite":            {value(encoder, "embed.bias", math.Inf(-1)), encoder, `"embed.bias" has the value -Inf`, true},
		"huge":                {value(denoiser, "out.bias", 3e38), denoiser, `"out.bias" has the value 3e+38`, true},
		"NaN in the embedder": {value("embedder/"+encoderFile, "logit_scale", math.NaN()), "embedder/" + encoderFile, `"logit_scale" has the value NaN`, true},
		"integers": {func(t *testing.T, dir string) {
			editWeights(t, filepath.Join(dir, denoiser), func(w map[string]checkpoint.Tensor) {
				x := w["out.bias"]
				x.DType = "I32"
				w["out.bias"] = x
			})
		}, denoiser, `tensor "out.bias"`, true},
		"garbage":               {content(indexFile, "garbage not json"), indexFile, "invalid character", false},
		"Stable Diffusion":      {content(indexFile, `{"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.6.0"}`), indexFile, `_class_name is "StableDiffusionPipeline"; must be "AblateShapesPipeline"`, false},
		"another part":          {replace(indexFile, schedulerClass, "DDPMScheduler"), indexFile, `"DDPMScheduler"`, false},
		"ε-prediction":          {content(schedulerFile, `{"_class_name": "DDPMScheduler", "prediction_type": "epsilon", "shift": 77}`), schedulerFile, `_class_name is "DDPMScheduler"; must be "RectifiedFlowX0Scheduler"`, false},
		"velocity":              {replace(schedulerFile, `"sample"`, `"v_prediction"`), schedulerFile, `prediction_type is "v_prediction"; must be "sample"`, false},
		"shift of 0":            {replace(schedulerFile, `"shift": 1.5`, `"shift": 0`), schedulerFile, "shift is 0; both must be positive", false},
		"other vocabulary":      {replace("text_encoder/config.json", `"vocab_size": 12`, `"vocab_size": 99999`), "text_encoder/config.json", "vocab_size is 99999 and hidden_size is 8; must be 12 and 8", false},
		"other width":           {replace("text_encoder/config.json", `"hidden_size": 8`, `"hidden_size": 9`), "text_encoder/config.json", "vocab_size is 12 and hidden_size is 9; must be 12 and 8", false},
		"an embedder elsewhere": {replace("embedder/config.json", `"image_size": 16`, `"image_size": 32`), "embedder/config.json", "images of 32×32×3", false},
		"a huge transformer":    {replace("transformer/config.json", `"width": 8`, `"width": 65536`), denoiser, "more than 268435456 parameters", false},
		"a huge embedder":       {replace("embedder/config.json", `"projection_dim": 4`, `"projection_dim": 65536`), "embedder/" + encoderFile, "more than 268435456 parameters", false},
		"no weights":            {func(t *testing.T, dir string) { _ = os.Remove(filepath.Join(dir, encoder)) }, "", "has no " + encoder, false},
		"half an embedder":      {func(t *testing.T, dir string) { _ = os.Remove(filepath.Join(dir, "embedder", encoderFile)) }, "", "has no embedder/" + encoderFile, false},
		"cut short":             {func(t *testing.T, dir string) { _ = os.Truncate(filepath.Join(dir, denoiser), 9000) }, denoiser, "", false},
		"a pipe":                {instead(indexFile, func(path string) error { return syscall.Mkfifo(path, 0o666) }), indexFile, "is not a regular file", false},
		"weights from a pipe":   {instead(denoiser, func(path string) error { return syscall.Mkfifo(path, 0o666) }), denoiser, "is not a regular file", false},
		"a device":              {instead(schedulerFile, link("/dev/zero")), schedulerFile, "leads out of the folder, to /dev/zero", false},
		"a secret":              {instead(indexFile, link(secret)), indexFile, "leads out of the folder, to " + secret, false},
		"a loop":                {instead(indexFile, link("model_index.json")), indexFile, "too many", false},
		"a folder":              {instead(indexFile, func(path string) error { return os.Mkdir(path, 0o777) }), indexFile, "is not a regular file", false},
		"a sparse config":       {instead(schedulerFile, sparse), schedulerFile, "has 1099511627776 bytes; a configuration has at most 1048576", false},
		"sparse weights":        {func(t *testing.T, dir string) { _ = os.Truncate(filepath.Join(dir, denoiser), 1<<40) }, denoiser, "belong to no tensor", false},
		"only zeros":            {instead(denoiser, sparse), denoiser, "header", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := adoptable(t)
			c.change(t, dir)
			_, vet := CheckCheckpoint(t.Context(), dir, false)
			digest, err := DigestCheckpoint(t.Context(), dir)
			if c.late != (err == nil) {
				t.Errorf("the digest is %q, %v", digest, err)
			}
			_, adopted := adopt(t, dir, digest)
			for what, err := range map[string]error{"CheckCheckpoint": vet, "adopting": adopted} {
				if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), filepath.FromSlash(c.file)) || strings.Contains(err.Error(), "SECRET") {
					t.Errorf("%s: error %v, want one of %s with %q", what, err, c.file, c.want)
				}
			}
		})
	}
}

// TestCheckpointLinks: links within the folder are read, and so is a folder that is
// itself a link.
func TestCheckpointLinks(t *testing.T) {
	dir := adoptable(t)
	digest, err := DigestCheckpoint(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "transformer", denoiserFile)
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "blobs"), 0o777), os.Rename(path, filepath.Join(dir, "blobs", "1")), os.Symlink("../blobs/1", path)); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if _, err := adopt(t, link, digest); err != nil {
		t.Error(err)
	}
}

// TestCheckCheckpointEmbedder: a folder without an embedder will do, but not where a
// reward learns on it.
func TestCheckCheckpointEmbedder(t *testing.T) {
	dir := checkpointFolder(t)
	if files, err := CheckCheckpoint(t.Context(), dir, false); err != nil || len(files) != 6 {
		t.Errorf("the files %v, %v", files, err)
	}
	if _, err := CheckCheckpoint(t.Context(), dir, true); err == nil || !strings.Contains(err.Error(), "has no embedder/config.json") {
		t.Errorf("error %v, want one of the embedder", err)
	}
}

// TestCheckpointInterrupted: whatever reads weights ends when its context does.
func TestCheckpointInterrupted(t *testing.T) {
	dir := adoptable(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := fmt.Errorf("the user asked")
	cancel(why)
	if _, err := CheckCheckpoint(ctx, dir, false); !errors.Is(err, why) {
		t.Errorf("CheckCheckpoint ends with %v", err)
	}
	if _, err := DigestCheckpoint(ctx, dir); !errors.Is(err, why) {
		t.Errorf("DigestCheckpoint ends with %v", err)
	}
}
