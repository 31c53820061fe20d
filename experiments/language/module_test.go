package language_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ablate/experiments/language"
)

// TestPaths checks that a study's path identifies it in a command, whatever the name of the
// folder is.
func TestPaths(t *testing.T) {
	one := head + "seeds: [1]\n}\n"
	root := module(t, map[string]string{"s.cue": one, "-x/s.cue": one, "f@deadbeef/s.cue": one})
	for arg, want := range map[string]string{".": ".", "-x": "./-x", "f@deadbeef": "f@deadbeef"} {
		s, err := language.Load(filepath.Join(root, arg), language.Options{Set: []string{"finetune.beta=1"}})
		if err != nil || s.Path != want {
			t.Errorf("%s: %v, %v", arg, s, err)
		}
	}
}

// TestAnyFolder checks that a study's folder may have any name of the file system except one
// with a colon, which is an error. The package is that of CUE: it includes files of the folders
// above, excludes tools and files with build conditions, and embeds files of its folder.
func TestAnyFolder(t *testing.T) {
	for _, name := range []string{"plain", "my study", "étude", "日本", "a&b", "a,b", "it's", "f(", "f@deadbeef", "gl[", "v[2]", "a#b", "a%20b", "a=b",
		"a\"b", `a\b`, "a?b", "a*b", "-x", "con", "x.", "a~1", ".hidden"} {
		t.Run(name, func(t *testing.T) {
			title := "string @embed(file=t.txt)"
			if name == `a\b` { // CUE cannot embed files there
				title = "\"embedded\""
			}
			root := module(t, map[string]string{
				name + "/study.cue":       "@extern(embed)\n\n" + head + "title: " + title + "\nseeds: _seeds\n}\n",
				name + "/odd name,.cue":   "package s\n\n_betas: [0, 1]\narms: a: sweep: \"finetune.beta\": _betas\n",
				name + "/x_tool.cue":      "package s\n\nquestion: 1\n",
				name + "/conditional.cue": "@if(never)\n\npackage s\n\nquestion: 1\n",
				name + "/t.txt":           "embedded",
				"seeds.cue":               "package s\n\n_seeds: [3]\n",
				"other.cue":               "package other\n\nquestion: 1\n",
			})
			s, err := language.Load(filepath.Join(root, name), language.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff([]string{"a[finetune.beta=0]@3", "a[finetune.beta=1]@3"}, views(s)); d != "" || s.Title != "embedded" || s.Name != name {
				t.Errorf("name %q, title %q; views (-want +got):\n%s", s.Name, s.Title, d)
			}
			// A mistake has the position in the user's file.
			if err := os.WriteFile(filepath.Join(root, name, "odd name,.cue"), []byte("package s\n\n_betas: [0, -1]\narms: a: sweep: \"finetune.beta\": _betas\n"), 0o666); err != nil {
				t.Fatal(err)
			}
			_, err = language.Load(filepath.Join(root, name), language.Options{})
			if want := filepath.Join(name, "odd name,.cue") + ":3:13: arms.a.sweep.\"finetune.beta\"[1]: -1 is out of range"; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %s", err, want)
			}
		})
	}
	for _, arg := range []string{"a:b", "s/a:b.cue"} {
		root := module(t, map[string]string{"a:b/s.cue": head + "seeds: [1]\n}\n", "s/a:b.cue": head + "seeds: [1]\n}\n"})
		_, err := language.Load(filepath.Join(root, arg), language.Options{})
		if !errors.As(err, new(*language.Errors)) || !strings.Contains(err.Error(), "with a colon in its name") {
			t.Errorf("%s: error %v", arg, err)
		}
	}
}

// TestOneFile checks that a single file can be a study, with or without a package clause.
func TestOneFile(t *testing.T) {
	root := module(t, map[string]string{
		"s/one.cue": "import \"ablate.internal/schema\"\n\nschema.#Study & {seeds: [1]}\n", "s/two.cue": "seeds: [2]\n",
		"s/three.cue": "@extern(embed)\n\n" + head + "seeds: [3]\ntitle: string @embed(file=t.txt)\n}\n", "s/t.txt": "embedded",
	})
	for file, seed := range map[string]string{"s/one.cue": "base@1", "s/two.cue": "base@2", "s/three.cue": "base@3"} {
		s, err := language.Load(filepath.Join(root, file), language.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]string{seed}, views(s)); d != "" || seed == "base@3" && s.Title != "embedded" {
			t.Errorf("%s: title %q, views (-want +got):\n%s", file, s.Title, d)
		}
	}
}

// TestStaleSchema checks that the program's schema is used whatever copy of the schema is in
// the module, and whatever the name of the module's folder is.
func TestStaleSchema(t *testing.T) {
	for _, name := range []string{"v2", "v[2]", "gl[", `a\z`, "a*"} {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			root := filepath.Join(top, name)
			if err := os.CopyFS(root, os.DirFS(module(t, map[string]string{
				"s/study.cue": head + "seeds: [1]\n}\n",
				"cue.mod/pkg/ablate.internal/schema/old.cue": "package schema\n\n#Study: title: \"STALE\"\n",
			}))); err != nil {
				t.Fatal(err)
			}
			s, err := language.Load(filepath.Join(root, "s"), language.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if s.Title != "s" || len(s.Notes) != 1 || !strings.Contains(s.Notes[0], "differs from this program's") {
				t.Errorf("title %q, notes %q", s.Title, s.Notes)
			}
		})
	}
}

// TestEmbeds checks that a study can embed only files of its module.
func TestEmbeds(t *testing.T) {
	embeds := func(attribute string) string {
		return "@extern(embed)\n\n" + head + "seeds: [1]\n_x: _ @embed(" + attribute + ")\ntitle: \"\\(_x)\"\n}\n"
	}
	root := module(t, map[string]string{
		"link/s.cue": embeds("file=x.txt"), "glob/s.cue": embeds("glob=*.txt"), "up/s.cue": embeds("file=\"../x.txt\""),
		`a\b/s.cue`: embeds("file=x.txt"), `a\b/x.txt`: "x",
		"fifo/s.cue": embeds("file=x.txt"), "beside/s.cue": head + "seeds: [1]\n}\n", "cue/s.cue": head + "seeds: [1]\n}\n",
		"within/s.cue": embeds("file=x.txt"), "pipe/s.cue": embeds("file=x.txt"), "none/s.cue": embeds("file=none.txt"), "kept.txt": "kept",
	})
	secret := filepath.Join(t.TempDir(), "secret")
	if err := errors.Join(os.WriteFile(secret, []byte("TOP SECRET"), 0o666),
		os.Symlink(secret, filepath.Join(root, "link/x.txt")), os.Symlink(secret, filepath.Join(root, "glob/x.txt")),
		os.Symlink("../kept.txt", filepath.Join(root, "within/x.txt")), os.Symlink("/dev/zero", filepath.Join(root, "pipe/x.txt")),
		syscall.Mkfifo(filepath.Join(root, "fifo/x.txt"), 0o666), syscall.Mkfifo(filepath.Join(root, "cue/t.cue"), 0o666),
		syscall.Mkfifo(filepath.Join(root, "beside/x.json"), 0o666), os.Symlink("nowhere", filepath.Join(root, "beside/y.json"))); err != nil {
		t.Fatal(err)
	}
	if s, err := language.Load(filepath.Join(root, "within"), language.Options{}); err != nil || s.Title != "kept" {
		t.Errorf("a link within the module: %v, %v", s, err)
	}
	if _, err := language.Load(filepath.Join(root, "beside"), language.Options{}); err != nil {
		t.Errorf("a pipe and a dead link beside the study: %v", err)
	}
	for dir, want := range map[string]string{
		`a\b`:  `a\b/s.cue:9:7: @embed: CUE cannot embed files below a folder with a backslash or a colon in its name, as in `,
		"fifo": "fifo/s.cue:9:7: @embed: x.txt is neither a file nor a folder (a study embeds regular files)",
		"cue":  "cue/t.cue: it is not a regular file (leave it out of the study's folder)",
		"link": "link/s.cue:9:7: @embed: x.txt points to " + secret + ", which is outside of the module (a study embeds files of its own module: copy the file into it)",
		"glob": "glob/s.cue:9:7: @embed: x.txt points to " + secret + ", which is outside",
		"pipe": "pipe/s.cue:9:7: @embed: x.txt points to /dev/zero, which is outside",
		"up":   "up/s.cue:9:7: @embed: cannot refer to parent directory (a study embeds files of its own folder and of the folders in it: copy the file there, and name it as in @embed(file=prompts.json))",
		"none": "none/s.cue:9:7: @embed: open none.txt: no such file or directory (a study embeds",
	} {
		_, err := language.Load(filepath.Join(root, dir), language.Options{})
		if !errors.As(err, new(*language.Errors)) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error\n%v\nwant\n%s", dir, err, want)
		}
	}
}

// TestTooLarge checks that a study with too many views is an error that names the arm.
func TestTooLarge(t *testing.T) {
	values := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, strconv.Itoa(i+1))
		}
		return "[" + strings.Join(list, ", ") + "]"
	}
	for body, want := range map[string]string{
		`arms: {one: set: {}, grid: sweep: {"finetune.beta": ` + values(101) + `, "finetune.steps": ` + values(100) + `, "finetune.warmup": ` + values(100) + `}}`: "study.cue:7:22: arms.grid: the arm has more than 1000000 combinations of its axes' values (sweep fewer values, couple axes with zip, or make several arms of it)",
		`arms: {one: set: {}, grid: sweep: {"finetune.beta": ` + values(450) + `, "finetune.steps": ` + values(450) + `}}`:                                         `arms: the study has 202501 points times seeds, of which arm "grid" has 202500 × 1; a study has at most 200000`,
	} {
		_, err := language.Load(study(t, "seeds: [1]\n"+body), language.Options{})
		if !errors.As(err, new(*language.Errors)) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v\nwant %s", err, want)
		}
	}
}

// TestSingle checks that numbers outside the range of 32-bit floating point, in which networks
// compute, are mistakes wherever they are written, and that 0 is accepted.
func TestSingle(t *testing.T) {
	const why = "is outside the range of 32-bit numbers; must be 0 or of a size from 1.2e-38 to 3.4e+38"
	for body, want := range map[string]string{
		"seeds: [1]\nbase: finetune: learningRate: 1e-50":                                 "study.cue:7:31: base.finetune.learningRate: 1e-50 " + why,
		"seeds: [1]\nbase: sampler: shift: 1e300":                                         "study.cue:7:23: base.sampler.shift: 1e+300 " + why,
		"seeds: [1]\nbase: finetune: learningRate: 1e-40":                                 "study.cue:7:31: base.finetune.learningRate: 1e-40 " + why,
		"seeds: [1]\narms: a: sweep: \"finetune.beta\": [0, 3.5e38]":                      "study.cue:7:38: arms.a.sweep.\"finetune.beta\"[1]: 3.5e38 " + why,
		"seeds: [1]\narms: a: set: finetune: beta: 3.5e38":                                "study.cue:7:31: arms.a.set.finetune.beta: 3.5e+38 " + why,
		"seeds: [1]\narms: a: zip: {\"finetune.beta\": [1e-46], \"finetune.steps\": [1]}": "study.cue:7:34: arms.a.zip.\"finetune.beta\"[0]: 1e-46 " + why,
	} {
		_, err := language.Load(study(t, body), language.Options{})
		if !errors.As(err, new(*language.Errors)) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v\nwant %s", err, want)
		}
	}
	_, err := language.Load(study(t, "seeds: [1]"), language.Options{Set: []string{"finetune.beta=1e-60"}})
	if want := "--set finetune.beta=1e-60: finetune.beta: 1e-60 " + why; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %s", err, want)
	}
	if s := load(t, "seeds: [1]\nbase: finetune: {beta: 0, learningRate: 1e-37}"); len(s.Views) != 1 {
		t.Error("0 and small numbers are none")
	}
}
