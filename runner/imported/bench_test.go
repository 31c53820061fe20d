package imported

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// imageRows writes CSV with a row for each of n images: 10 arms, 5 seeds, 160 prompts.
func imageRows(tb testing.TB, n int) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "images.csv")
	f, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	r := rand.New(rand.NewPCG(1, 2))
	fmt.Fprintln(w, "arm,seed,prompt,category,aligned,clip,aesthetic")
	for i := range n {
		p := i % 160
		fmt.Fprintf(w, "arm %d,%d,a photo of prompt number %d,category %d,%t,%.5f,%.4f\n", i*10/n, i*50/n%5, p, p%4, r.IntN(2) == 0, r.Float64(), 10*r.Float64())
	}
	if err := w.Flush(); err != nil {
		tb.Fatal(err)
	}
	return path
}

// BenchmarkImages reads a million rows of images: go test -bench Images -benchtime 1x.
func BenchmarkImages(b *testing.B) {
	path := imageRows(b, 1_000_000)
	b.ReportAllocs()
	for b.Loop() {
		r, err := Read(b.Context(), []string{path}, Options{})
		if err != nil || r.Err() != nil || len(r.Runs) != 50 {
			b.Fatal(err, r.Err(), len(r.Runs))
		}
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapSys)/(1<<20), "MiB-heap")
}
