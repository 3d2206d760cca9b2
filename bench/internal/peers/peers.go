// Package peers holds what is measured: Waybill and others, each as its own documentation says to use it for throughput
// while an offset is committed only after its record was handled.
//
// package side runs one of them in a process of its own; package page prints what they say about themselves. A peer here
// never counts, times or decides anything: it hands each record's value to Work.Handle and marks it.
package peers

import (
	"context"
	"runtime/debug"
	"slices"
	"strings"
)

// Work is what a peer is given. The topic exists; the group is new.
type Work struct {
	Brokers []string // plaintext, host:port
	Topic   string
	Group   string
	// Handle is called once for each record, from any goroutine, with the record's value, which it does not keep.
	Handle func(value []byte)
}

// Peer is one side of the comparison.
type Peer struct {
	ID   string // in results and flags
	Name string // for people
	// Modules are the paths whose versions are printed.
	Modules []string
	// Bundled is a version that no module tells; nil where there is none.
	Bundled func() string
	// Settings are those that differ from the peer's defaults, and why.
	Settings string
	// Concurrency is how many handlers run at once, as its documentation offers it.
	Concurrency string
	// Serial says that one handler runs at a time, whatever the topic has.
	Serial bool
	// Lacks is what one gets from another side and not from this one.
	Lacks string
	// Run consumes from the start of the topic until ctx ends, which is no error; then it commits what was marked and leaves.
	Run func(ctx context.Context, w Work) error
}

// All are the peers in the order in which they take their turns.
func All() []Peer {
	return []Peer{franz, waybillAtLeastOnce, waybillEffectivelyOnce, saramaGroup, watermillRouter, gokaProcessor, kafkaGo, confluent}
}

// Lookup finds a peer by its ID.
func Lookup(id string) (Peer, bool) {
	all := All()
	i := slices.IndexFunc(all, func(p Peer) bool { return p.ID == id })
	if i < 0 {
		return Peer{}, false
	}
	return all[i], true
}

// Version is what this program was built with.
func (p Peer) Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	var found []string
	for _, d := range info.Deps {
		if !slices.Contains(p.Modules, d.Path) {
			continue
		}
		v := d.Version
		if d.Replace != nil {
			v = "this tree"
		}
		if len(p.Modules) > 1 {
			v = d.Path[strings.LastIndex(strings.TrimSuffix(d.Path, "/v3"), "/")+1:] + " " + v
		}
		found = append(found, v)
	}
	if p.Bundled != nil {
		found = append(found, p.Bundled())
	}
	return strings.Join(found, ", ")
}
