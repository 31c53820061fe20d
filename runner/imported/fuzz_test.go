package imported

import (
	"bytes"
	"io"
	"os"
	"testing"

	"ablate/analysis/table"
	"ablate/runner/rows"
)

// take reads rows as a table and as an export of W&B, and makes the tables of the results
// if possible.
func take(t *testing.T, open func() (rows.Reader, error)) {
	for _, p := range []plan{(*collector).plain, (*collector).wandb} {
		if r, err := open(); err == nil {
			takeAs(t, r, p)
		}
	}
}

func takeAs(t *testing.T, in rows.Reader, p plan) {
	c := newCollector(t.Context(), Options{})
	c.takeRows(in, c.file("f"), nil, p)
	r := c.finish()
	if r.Err() != nil {
		return
	}
	trials, prompts, err := r.Tables("study")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []*table.Table{trials, prompts} {
		if err := table.Write(io.Discard, x); err != nil {
			t.Errorf("read but cannot be written: %v", err)
		}
	}
}

func FuzzCSV(f *testing.F) {
	for _, path := range []string{"testdata/images.csv", "testdata/wandb.csv"} {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("arm,seed,metric,value,n,prompt,axis.lr\na,1.2,fid,3,2,p,1e-4\n"))
	f.Add([]byte("arm;seed;fid;fid.n\na;1.0;3;2\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		take(t, func() (rows.Reader, error) { return rows.CSV(bytes.NewReader(b)) })
	})
}

func FuzzJSONL(f *testing.F) {
	b, err := os.ReadFile("testdata/wandb.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"arm":"a","seed":1,"metric":"fid","value":1e3,"x":[{"]":"\"["}],"y":{}}`))
	f.Add([]byte(`{"arm":"\u00e4\\","seed":"1.2","a":{"b":{"c":NaN}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		take(t, func() (rows.Reader, error) { return rows.JSONL(bytes.NewReader(b)) })
	})
}

func FuzzParquet(f *testing.F) {
	b, err := os.ReadFile("testdata/images.parquet")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) { take(t, func() (rows.Reader, error) { return rows.NewParquet(b) }) })
}

func FuzzEvents(f *testing.F) {
	for _, path := range []string{"testdata/tensorboard/dpo/seed_1/events.out.tfevents.0", "testdata/tensorboard/dpo/seed_1/events.out.tfevents.1"} {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := newCollector(t.Context(), Options{})
		c.events(bytes.NewReader(b), c.file("f"), func(string, logged) {}, func(string) {})
		// The fuzzer can hardly produce valid checksums, so messages are also read
		// without them.
		if err := readEvent(b, func(string, scalar) {}, func(string) {}); err == nil {
			_, _, _ = readTensor(b)
		}
	})
}
