package people

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// BenchmarkPeople: 50 people at once see a task with its eight pictures and answer it. It reports the 99th percentile of
// the time of a request, and fails where an answer is lost.
//
//	go test ./runner/people -run '^$' -bench People -benchtime 20x
func BenchmarkPeople(b *testing.B) {
	const people = 50
	for range b.N {
		b.StopTimer()
		c, _ := collected(b, 10, Size{Raters: people})
		server := served(b, c)
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: people}}
		var mu sync.Mutex
		var took []time.Duration
		timed := func(ask func() (*http.Response, error)) {
			begin := time.Now()
			resp, err := ask()
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			mu.Lock()
			took = append(took, time.Since(begin))
			mu.Unlock()
			if resp.StatusCode != http.StatusOK {
				b.Error(resp.Status)
			}
		}
		var wait sync.WaitGroup
		b.StartTimer()
		for _, r := range c.Raters {
			wait.Add(1)
			go func() {
				defer wait.Done()
				base := server.URL + "/r/" + r.Token + "/"
				for _, task := range r.Tasks {
					timed(func() (*http.Response, error) { return client.Get(base + "state") })
					for side := range 2 {
						for k := range c.Tasks[task].Images {
							timed(func() (*http.Response, error) {
								return client.Get(fmt.Sprintf("%simage/%d/%d/%d.png", base, task, side, k))
							})
						}
					}
					timed(func() (*http.Response, error) {
						return client.Post(base+"answer", "application/json", strings.NewReader(fmt.Sprintf(`{"id": "answer-%02d", "task": %d, "seconds": 1, "alignment": "left", "fidelity": "tie"}`, task, task)))
					})
				}
			}()
		}
		wait.Wait()
		b.StopTimer()
		if done, of := c.Done(); done != of {
			b.Errorf("%d of %d answers", done, of)
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
		client.CloseIdleConnections()
	}
}
