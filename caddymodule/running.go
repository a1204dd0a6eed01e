package caddymodule

import (
	"slices"
	"sync"
)

// inForce lists the apps that have started and not stopped, oldest first. During
// a reload there are two; one that Caddy rolls back leaves the other.
var inForce struct {
	sync.Mutex
	apps []*App
}

// begins makes the app the one that the admin API tells of.
func (a *App) begins() {
	names := make(map[string]bool)
	for _, h := range a.handlers {
		names[h.Name] = true
	}
	kept.limit(names, a.keptPerHandler())
	inForce.Lock()
	defer inForce.Unlock()
	inForce.apps = append(inForce.apps, a)
}

func (a *App) ends() {
	inForce.Lock()
	defer inForce.Unlock()
	inForce.apps = slices.DeleteFunc(inForce.apps, func(other *App) bool { return other == a })
}

// current returns the app of the configuration in force, nil if it has none.
func current() *App {
	inForce.Lock()
	defer inForce.Unlock()
	if n := len(inForce.apps); n > 0 {
		return inForce.apps[n-1]
	}
	return nil
}

// named returns the handlers of a name, all without one.
func (a *App) named(name string) (handlers []*Handler) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, h := range a.handlers {
		if name == "" || h.Name == name {
			handlers = append(handlers, h)
		}
	}
	return handlers
}

// snapshots returns what the handlers verify with now, and others besides.
func (a *App) snapshots(others ...*snapshot) []*snapshot {
	handlers := a.named("")
	all := append(make([]*snapshot, 0, len(others)+len(handlers)), others...)
	for _, h := range handlers {
		all = append(all, h.keys.current.Load())
	}
	return all
}

// keptPerHandler is how many rejections of a handler are kept.
func (a *App) keptPerHandler() int { return orElse(a.KeepRejected, defaultKept) }
