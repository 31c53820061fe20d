package people

import (
	"bytes"
	"context"
	"crypto/subtle"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

//go:embed page
var assets embed.FS

// A Server shows the tasks of a collection to its raters, each by a link of his own, and keeps what they answer.
type Server struct {
	c     *Collection
	image func(trial string, index int) (image.Image, error)
	hosts []string // of which requests are answered; nil: all

	mu     sync.Mutex
	drawn  map[string][]byte // PNG files by trial and index, those shown last
	order  []string
	tokens map[string]*bucket
}

// Limits of requests.
const (
	mostBody  = 4 << 10
	mostDrawn = 2048 // pictures in memory
	burst     = 200  // requests of a rater at once
	rate      = 50   // requests of a rater a second after that
)

// A bucket limits the requests of a rater.
type bucket struct {
	left  float64
	since time.Time
}

// NewServer returns a server of a collection. draw returns an image of a trial's model; it is called by one goroutine at a time.
func NewServer(c *Collection, draw func(trial string, index int) (image.Image, error)) *Server {
	return &Server{c: c, image: draw, drawn: map[string][]byte{}, tokens: map[string]*bucket{}}
}

// Links returns the path of each rater's page, by the names of raters in order.
func (c *Collection) Links() []string {
	var out []string
	for _, r := range c.Raters {
		out = append(out, "/r/"+r.Token+"/")
	}
	return out
}

// Serve answers requests until the context ends, and then waits for those under way.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.hosts = hostsOf(l.Addr())
	server := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 32 << 10, BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) }}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		later, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		stopped <- server.Shutdown(later)
	}()
	err := server.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		err = <-stopped
	}
	return err
}

// hostsOf returns the names by which a loopback address is asked for: a page of another site whose name leads here has
// another one. Of other addresses it returns nil.
func hostsOf(a net.Addr) []string {
	at, err := netip.ParseAddrPort(a.String())
	if err != nil || !at.Addr().IsLoopback() {
		return nil
	}
	port := strconv.Itoa(int(at.Port()))
	return []string{net.JoinHostPort("localhost", port), net.JoinHostPort("127.0.0.1", port), net.JoinHostPort("::1", port)}
}

// refused is an error that a page shows, with its status.
type refused struct {
	status int
	msg    string
}

func (r refused) Error() string { return r.msg }

var notFound = refused{http.StatusNotFound, "there is no such page: check the link that you were given"}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; img-src 'self'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer") // the address has the token
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if err := s.serve(w, r); err != nil {
		status := http.StatusInternalServerError
		var no refused
		if errors.As(err, &no) {
			status = no.status
		} else {
			zerolog.Ctx(r.Context()).Error().Err(err).Str("path", without(r.URL.Path)).Msg("a request failed")
			err = errors.New("the answer could not be kept, or the picture not be read: tell the person who gave you the link; nothing before it is lost")
		}
		h.Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
	}
}

// without returns a path without its token.
func without(path string) string {
	parts := strings.Split(path, "/")
	if len(parts) > 2 && parts[1] == "r" {
		parts[2] = "…"
	}
	return strings.Join(parts, "/")
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) error {
	if s.hosts != nil && !slices.Contains(s.hosts, r.Host) {
		return refused{http.StatusMisdirectedRequest, "this server is not asked by that name"}
	}
	rest, ok := strings.CutPrefix(r.URL.Path, "/r/")
	if !ok {
		return notFound
	}
	token, path, ok := strings.Cut(rest, "/")
	who := slices.IndexFunc(s.c.Raters, func(r Rater) bool { return equal(r.Token, token) })
	if !ok || who < 0 {
		return notFound
	}
	rater := s.c.Raters[who]
	if !s.allowed(token) {
		w.Header().Set("Retry-After", "1")
		return refused{http.StatusTooManyRequests, "too many requests: wait a second"}
	}
	switch {
	case r.Method == http.MethodPost && (path == "answer" || path == "undo"):
		if err := own(r); err != nil {
			return err
		}
		return s.post(w, r, rater, path)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD, POST")
		return refused{http.StatusMethodNotAllowed, "this cannot be asked so"}
	case path == "state":
		return s.state(w, rater)
	case strings.HasPrefix(path, "image/"):
		return s.picture(w, rater, strings.TrimPrefix(path, "image/"))
	}
	name := path
	if name == "" {
		name = "index.html"
	}
	data, err := fs.ReadFile(assets, "page/"+name)
	if err != nil {
		return notFound
	}
	types := map[string]string{"html": "text/html; charset=utf-8", "js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
	w.Header().Set("Content-Type", types[name[strings.LastIndexByte(name, '.')+1:]])
	_, _ = w.Write(data) // who has gone away needs no answer
	return nil
}

// allowed takes a request from what a rater may ask.
func (s *Server) allowed(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	b := s.tokens[token]
	if b == nil {
		b = &bucket{burst, now}
		s.tokens[token] = b
	}
	b.left = min(burst, b.left+rate*now.Sub(b.since).Seconds())
	b.since = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// own returns an error for a request that a page of another site has made.
func own(r *http.Request) error {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return refused{http.StatusForbidden, "another site cannot answer"}
	}
	if origin := r.Header.Get("Origin"); origin != "" && origin != "http://"+r.Host && origin != "https://"+r.Host {
		return refused{http.StatusForbidden, "another site cannot answer"}
	}
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); kind != "application/json" {
		return refused{http.StatusUnsupportedMediaType, "an answer is JSON"}
	}
	return nil
}

// post keeps an answer or takes the last one back, and returns the state after it.
func (s *Server) post(w http.ResponseWriter, r *http.Request, rater Rater, path string) error {
	var x struct {
		ID      string  `json:"id"`
		Task    int     `json:"task"`
		Seconds float64 `json:"seconds"`
		Answer
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&x); err != nil {
		return refused{http.StatusBadRequest, "the answer cannot be read: " + err.Error()}
	}
	if len(x.ID) < 8 || len(x.ID) > 64 || x.Seconds < 0 || x.Seconds > 1e6 {
		return refused{http.StatusBadRequest, "the answer's id must have 8 to 64 characters, and its time be from 0 to 1,000,000 seconds"}
	}
	rec := record{ID: rater.Name + " " + x.ID, Rater: rater.Name, Task: x.Task, Seconds: x.Seconds, Time: time.Now().UTC().Truncate(time.Millisecond)}
	if path == "undo" {
		task, ok := s.c.j.last(rater.Name)
		if !ok {
			return s.state(w, rater)
		}
		rec.Task = task
	} else {
		if !slices.Contains(rater.Tasks, x.Task) {
			return refused{http.StatusBadRequest, fmt.Sprintf("there is no task %d for you", x.Task)}
		}
		if err := x.Answer.check(); err != nil {
			return refused{http.StatusBadRequest, err.Error()}
		}
		rec.Answer = &x.Answer
	}
	if err := s.c.j.add(rec); err != nil {
		return err
	}
	return s.state(w, rater)
}

// A state is what a page shows.
type state struct {
	Rater string   `json:"rater"`
	Done  int      `json:"done"`
	Of    int      `json:"of"`
	Left  float64  `json:"left"` // seconds that the rest will take, by the median of what was answered; 0 if that is not known
	Undo  bool     `json:"undo"` // an answer can be taken back
	Task  *asked   `json:"task"` // null when all is answered
	Next  []string `json:"next"` // pictures of the task after it, to load meanwhile
}

// asked is a task without what would tell its sides.
type asked struct {
	Number int         `json:"number"`
	Prompt string      `json:"prompt"`
	Sides  [2][]string `json:"sides"` // pictures on the left and on the right
}

// state writes what is to be answered next.
func (s *Server) state(w http.ResponseWriter, rater Rater) error {
	x := state{Rater: rater.Name, Of: len(rater.Tasks)}
	var took []float64
	for _, task := range rater.Tasks {
		if g, ok := s.c.j.given(rater.Name, task); ok {
			x.Done, x.Undo = x.Done+1, true
			took = append(took, g.Seconds)
			continue
		}
		a := &asked{Number: task, Prompt: s.c.Tasks[task].Prompt}
		for side := range a.Sides {
			for k := range s.c.Tasks[task].Images {
				a.Sides[side] = append(a.Sides[side], fmt.Sprintf("image/%d/%d/%d.png", task, side, k))
			}
		}
		if x.Task == nil {
			x.Task = a
		} else if x.Next == nil {
			x.Next = append(slices.Clone(a.Sides[0]), a.Sides[1]...)
		}
	}
	if len(took) > 0 {
		slices.Sort(took)
		x.Left = took[len(took)/2] * float64(x.Of-x.Done)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(x) // who has gone away needs no answer
	return nil
}

// picture writes a picture of a rater's task. Its name says the side on which it is shown and not the model.
func (s *Server) picture(w http.ResponseWriter, rater Rater, name string) error {
	parts := strings.Split(strings.TrimSuffix(name, ".png"), "/")
	var n [3]int // task, side, place
	if len(parts) != len(n) || !strings.HasSuffix(name, ".png") {
		return notFound
	}
	for i := range n {
		v, err := strconv.Atoi(parts[i])
		if err != nil || v < 0 || strconv.Itoa(v) != parts[i] {
			return notFound
		}
		n[i] = v
	}
	if !slices.Contains(rater.Tasks, n[0]) || n[1] > 1 || n[2] >= len(s.c.Tasks[n[0]].Images) {
		return notFound
	}
	side := n[1] // 0 is on the left
	if s.c.left(rater.Name, n[0]) == 1 {
		side = 1 - side
	}
	x := s.c.Tasks[n[0]].Images[n[2]]
	data, err := s.png(x.Trials[side], x.Index)
	if err != nil {
		return fmt.Errorf("a picture of %s, trial %s, index %d: %w", s.c.Sides[side], x.Trials[side], x.Index, err)
	}
	w.Header().Set("Content-Type", "image/png")
	w.Header().Set("Cache-Control", "private, max-age=3600")
	_, _ = w.Write(data) // who has gone away needs no answer
	return nil
}

// png returns a picture as a file. The same picture has the same bytes, whoever sees it on which side.
func (s *Server) png(trial string, index int) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := fmt.Sprintf("%s %d", trial, index)
	if data, ok := s.drawn[key]; ok {
		return data, nil
	}
	img, err := s.image(trial, index)
	if err == nil && img == nil {
		err = errors.New("it is not in the store")
	}
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return nil, err
	}
	if len(s.order) >= mostDrawn {
		delete(s.drawn, s.order[0])
		s.order = s.order[1:]
	}
	s.drawn[key], s.order = b.Bytes(), append(s.order, key)
	return b.Bytes(), nil
}

// equal compares tokens in a time that does not say where they differ.
func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
