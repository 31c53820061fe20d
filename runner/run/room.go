package run

import (
	"context"
	"fmt"
	"sync"

	"ablate/runner/failure"
	"ablate/runner/launch"
	"ablate/runner/layout"
	"ablate/runner/resource"
)

// room has the grants of actions, by their structural names. It is the graph's room.
type room struct {
	a    *resource.Allocator
	need func(name string) resource.Need

	mu     sync.Mutex
	grants map[string]resource.Grant
}

func (r *room) Begin() { r.a.Begin() }

func (r *room) Take(name string) bool {
	g, ok := r.a.Take(name, r.need(name))
	if ok {
		r.keep(name, g)
	}
	return ok
}

// Give gives back what an action has, if it has something.
func (r *room) Give(name string) {
	r.mu.Lock()
	g, ok := r.grants[name]
	delete(r.grants, name)
	r.mu.Unlock()
	if ok {
		r.a.Give(g)
	}
}

// acquire waits for what an action needs.
func (r *room) acquire(ctx context.Context, name string) error {
	g, err := r.a.Acquire(ctx, r.need(name))
	if err == nil {
		r.keep(name, g)
	}
	return err
}

func (r *room) keep(name string, g resource.Grant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.grants[name] = g
}

// grant returns what an action has.
func (r *room) grant(name string) resource.Grant {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.grants[name]
}

// elsewhere reports whether an action can never run in this process.
func (r *room) elsewhere(name string) bool { return r.a.Capacity().Misfit(r.need(name)) != "" }

// misfit returns the error of an action that can never run in this process.
func (r *room) misfit(a *layout.Action) error {
	why := r.a.Capacity().Misfit(r.need(a.Name.String()))
	if why == "" {
		return nil
	}
	return launch.WithClass(string(failure.Setup), fmt.Errorf("%s needs %s: another machine has to compute it", a.Kind, why))
}
