package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Case is one thing that is measured.
type Case struct {
	Name string
	// Measures is one sentence for people.
	Measures string
	// Rows are the names of what is printed, in that order. A case with one row has one empty name.
	Rows []string
	// jobs is how many the topic is loaded with where Options.Jobs says nothing.
	jobs int
	run  func(ctx context.Context, e *env) error
}

// Cases are all there are, in the order in which they are shown.
func Cases() []Case {
	return []Case{noopCase, workCase, failingCase, retryCase, latencyCase, memoryCase, scaleCase, moveCase, receiptsCase, storeCase, liveCase, restoreCase, crashCase}
}

// Lookup finds cases by name; every name that is none is an error, and so is a row that none of the cases has.
func Lookup(names []string, row string) ([]Case, error) {
	all := Cases()
	var known []string
	for _, c := range all {
		known = append(known, c.Name)
	}
	var found []Case
	for _, n := range names {
		i := slices.Index(known, n)
		if i < 0 {
			return nil, fmt.Errorf("there is no case %q; the cases are %s", n, strings.Join(known, ", "))
		}
		found = append(found, all[i])
	}
	if row == "" {
		return found, nil
	}
	var rows []string
	for _, c := range found {
		rows = append(rows, c.Rows...)
	}
	if !slices.Contains(rows, row) {
		return nil, fmt.Errorf("%s has no row %q; the rows are %s", strings.Join(names, ", "), row, strings.Join(rows, ", "))
	}
	return found, nil
}
