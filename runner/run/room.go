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

// room has the grants of actions.
type room struct {
	a    *resource.Allocator
	need Needs

	mu     sync.Mutex
	grants map[*layout.Action]resource.Grant
}

// take grants an action what it needs, if that is free.
func (r *room) take(a *layout.Action) bool {
	g, ok := r.a.Take(a.Name.String(), r.need(a))
	if ok {
		r.keep(a, g)
	}
	return ok
}

// give gives back what an action has, if it has something.
func (r *room) give(a *layout.Action) {
	r.mu.Lock()
	g, ok := r.grants[a]
	delete(r.grants, a)
	r.mu.Unlock()
	if ok {
		r.a.Give(g)
	}
}

// acquire waits for what an action needs.
func (r *room) acquire(ctx context.Context, a *layout.Action) error {
	g, err := r.a.Acquire(ctx, r.need(a))
	if err == nil {
		r.keep(a, g)
	}
	return err
}

func (r *room) keep(a *layout.Action, g resource.Grant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.grants[a] = g
}

// grant returns what an action has.
func (r *room) grant(a *layout.Action) resource.Grant {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.grants[a]
}

// elsewhere reports whether an action can never run in this process.
func (r *room) elsewhere(a *layout.Action) bool { return r.a.Capacity().Misfit(r.need(a)) != "" }

// misfit returns the error of an action that can never run in this process.
func (r *room) misfit(a *layout.Action) error {
	why := r.a.Capacity().Misfit(r.need(a))
	if why == "" {
		return nil
	}
	return launch.WithClass(string(failure.Setup), fmt.Errorf("%s needs %s: another machine has to compute it", a.Kind, why))
}
