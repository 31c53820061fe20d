package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/runner/hub"
	"ablate/runner/phrase"
)

type downloadOptions struct{ json bool }

func (o *downloadOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.json, "json", false, "print the folder and the files as JSON")
}

const downloadFormat = "ablate.download/1"

// downloadDocument is what download prints as JSON.
type downloadDocument struct {
	head
	Model      string            `json:"model"`      // ORG/NAME
	Revision   string            `json:"revision"`   // branch, tag or commit that was asked for
	Commit     string            `json:"commit"`     // hash of the commit
	Dir        string            `json:"dir"`        // folder of the model in the cache
	Downloaded int64             `json:"downloaded"` // bytes that the cache lacked before
	Files      []downloadedModel `json:"files"`
}

// downloadedModel is a file of a model.
type downloadedModel struct {
	Name   string `json:"name"`   // relative to the folder
	Size   int64  `json:"size"`   // in bytes
	Digest string `json:"digest"` // SHA-256 of the contents (64 digits), or of a small file the name that git gives it (40)
}

func newDownload(g *globals) *cobra.Command {
	var o downloadOptions
	cmd := &cobra.Command{
		Use:   "download ORG/NAME[@REVISION]",
		Short: "Download a model of the Hugging Face hub into the cache on this machine",
		Long: `Downloads what the engine "stable-diffusion" reads of a model of Stable Diffusion 1 or 2, or
of a CLIP model: configurations, tokenizer, and weights as safetensors, in 32 bits where
there are such. REVISION is a branch, a tag or a commit, and main by default; a study that
names a commit (ORG/NAME@COMMIT) gets the same files for ever.

The cache is that of Python's huggingface_hub, and either finds what the other has
downloaded. HF_HUB_CACHE or HF_HOME say where it is, HF_ENDPOINT names another server, and
HF_TOKEN is your token for models that need one. A download that was interrupted continues.
Each file is compared with the digest that the server promised.
` + exitHelp,
		Example: "  ablate download stable-diffusion-v1-5/stable-diffusion-v1-5\n  ablate download yuvalkirstain/PickScore_v1",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runDownload(cmd.Context(), g, o, args[0]) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runDownload(ctx context.Context, g *globals, o downloadOptions, name string) error {
	server, err := hub.Default()
	if err != nil {
		return err
	}
	m, err := server.Model(ctx, name)
	if err != nil {
		return err
	}
	lacks, err := m.Lacks()
	if err != nil {
		return err
	}
	doc := downloadDocument{head: head{downloadFormat}, Model: m.Name, Revision: m.Revision, Commit: m.Commit}
	for _, f := range lacks {
		doc.Downloaded += f.Size
	}
	for _, f := range m.Files {
		doc.Files = append(doc.Files, downloadedModel{f.Name, f.Size, f.Digest})
	}
	if doc.Dir, err = server.Download(ctx, m, g.bar("downloading "+m.Name)); err != nil {
		return err
	}
	if o.json {
		return printJSON(g.stdout, doc)
	}
	fmt.Fprintf(g.stdout, "%s at commit %s: %s, %s, of which %s were downloaded now\n%s\n",
		m.Name, m.Commit, phrase.Count(len(m.Files), "file"), phrase.Bytes(m.Size()), phrase.Bytes(doc.Downloaded), doc.Dir)
	return nil
}
