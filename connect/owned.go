package connect

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Owned is a client option that a part of Waybill sets itself because its promises rest on it.
type Owned struct {
	Name    string // of the option, as a user wrote it
	Option  any    // the option's function, such as kgo.RequiredAcks
	Want    []any  // what kgo.Client.OptValues must say
	Instead string // what the user should do
}

// CheckOwned returns, joined, an error for each owned option whose value in cl is not the wanted one: some later option,
// the user's, has changed it. An option that a user set to the very value wanted is no conflict.
func CheckOwned(cl *kgo.Client, owned []Owned) error {
	var errs []error
	for _, o := range owned {
		if got := cl.OptValues(o.Option); !reflect.DeepEqual(got, o.Want) {
			errs = append(errs, fmt.Errorf("Opts: kgo.%s belongs to Waybill; %s", o.Name, o.Instead))
		}
	}
	return errors.Join(errs...)
}
