package demo

import (
	"errors"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/connect"
)

// Sabotage is a fault planted behind the engine's back, to show that the account at the end would tell.
type Sabotage string

// The sabotages.
const (
	None   Sabotage = ""
	Drop   Sabotage = "drop"   // an operator commits past a job before any worker starts: it is never read
	Double Sabotage = "double" // a wrapper around a worker's handlers calls one of them twice
)

// Options say how the story is told. The zero value is the whole story on an embedded broker, except Worker and Observe.
type Options struct {
	// Connection is the cluster to use. Without Brokers one is embedded in this process.
	Connection connect.Settings
	// Worker is the command that becomes a worker: a program and arguments that end in a call of Work. Required.
	Worker []string
	// Sabotage defaults to None.
	Sabotage Sabotage
	// Jobs is how many are enqueued, at least 60. Defaults to 1200.
	Jobs int
	// Over is how long enqueueing them takes. Defaults to 30 s.
	Over time.Duration
	// Keep leaves topics and group on a cluster that is not embedded. The default deletes them.
	Keep bool
	// Dir is where ledgers and worker logs are written and stay. Defaults to a temporary folder that is removed.
	Dir string
	// Observe is told everything, one call at a time. It must return soon. Required.
	Observe func(Event)
}

const (
	defaultJobs = 1200
	defaultOver = 30 * time.Second
	minJobs     = 60 // fewer leave no failing ones
)

func (o Options) withDefaults() Options {
	if o.Jobs == 0 {
		o.Jobs = defaultJobs
	}
	if o.Over == 0 {
		o.Over = defaultOver
	}
	return o
}

func (o Options) validate() error {
	var errs []error
	add := func(bad bool, format string, a ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, a...))
		}
	}
	add(len(o.Worker) == 0, "Worker: is empty; name the command that becomes a worker")
	add(o.Observe == nil, "Observe: is nil")
	add(o.Jobs < minJobs, "Jobs: %d is less than %d", o.Jobs, minJobs)
	add(o.Over < 0, "Over: %v is negative", o.Over)
	add(o.Sabotage != None && o.Sabotage != Drop && o.Sabotage != Double, "Sabotage: %q is unknown; use %s or %s", o.Sabotage, Drop, Double)
	if len(o.Connection.Brokers) > 0 {
		errs = append(errs, o.Connection.Validate())
	}
	return errors.Join(errs...)
}
