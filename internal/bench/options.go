package bench

import (
	"errors"
	"fmt"
	"strings"

	"github.com/waybill-dev/waybill/connect"
)

// The method's measures.
const (
	Rounds  = 5
	Seconds = 10.0
)

// Options say what is run, and how. The zero value of Rounds, Seconds and Jobs is the method's.
type Options struct {
	// Connection is how the cluster is reached.
	Connection connect.Settings
	// Side is the command that turns this program into one side of a measurement; see Serve.
	Side []string
	// Row limits a run to rows of that name.
	Row string
	// Rounds is how many pairs are measured. Defaults to 5.
	Rounds int
	// Seconds is how long a side works at least. Defaults to 10.
	Seconds float64
	// Jobs is how many jobs a topic is loaded with. Defaults to what the case says.
	Jobs int
	// Profile is a folder for processor profiles, one a side and round. Defaults to none; profiling costs a few per cent.
	Profile string
	// Report receives each row when it is measured. Required. An error ends the run.
	Report func(*Row) error
	// Say receives a line of progress. Defaults to nothing.
	Say func(line string)
}

func (o Options) withDefaults() Options {
	if o.Rounds == 0 {
		o.Rounds = Rounds
	}
	if o.Seconds == 0 {
		o.Seconds = Seconds
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
	return o
}

// Validate returns every fault of o, joined, each naming its field.
func (o Options) Validate() error {
	var errs []error
	add := func(bad bool, format string, a ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, a...))
		}
	}
	add(o.Rounds < 0, "Rounds: %d is negative", o.Rounds)
	add(o.Seconds < 0, "Seconds: %v is negative", o.Seconds)
	add(o.Jobs < 0, "Jobs: %d is negative", o.Jobs)
	add(len(o.Side) == 0, "Side: is empty; name the command that calls Serve")
	add(o.Report == nil, "Report: is nil; rows must go somewhere")
	return errors.Join(append(errs, o.Connection.Validate())...)
}

// Below says what about o is less than the method asks for, empty when nothing is.
func (o Options) Below() string {
	o = o.withDefaults()
	var short []string
	if o.Rounds < Rounds {
		short = append(short, fmt.Sprintf("%d of %d rounds", o.Rounds, Rounds))
	}
	if o.Seconds < Seconds {
		short = append(short, fmt.Sprintf("sides of %g instead of %g s", o.Seconds, Seconds))
	}
	if o.Jobs != 0 {
		short = append(short, fmt.Sprintf("topics of %d jobs", o.Jobs))
	}
	if o.Profile != "" {
		short = append(short, "profiled")
	}
	return strings.Join(short, ", ")
}
