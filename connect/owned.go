package connect

import (
	"crypto/tls"
	"errors"
	"fmt"
	"reflect"
	"slices"

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

// CheckDialing refuses options that dial in another way than the TLS of s says: one that dials in clear text would win
// without a word.
func (s Settings) CheckDialing(opts []kgo.Opt) error {
	opts = slices.DeleteFunc(slices.Clone(opts), func(o kgo.Opt) bool {
		switch o.(type) {
		case nil, kgo.ConsumerOpt, kgo.GroupOpt: // a client made with those would begin to work
			return true
		}
		return false
	})
	if !s.TLS.Enabled || len(opts) == 0 {
		return nil
	}
	const instead = "Opts: TLS.Enabled says how to dial: set TLS.Config instead of kgo.DialTLSConfig, and turn TLS off to dial with a kgo.Dialer of your own"
	probe := &tls.Config{MinVersion: tls.VersionTLS12}
	with := append([]kgo.Opt{kgo.DialTLSConfig(probe)}, opts...)
	alone, err := kgo.NewClient(opts...)
	if err != nil {
		return nil //nolint:nilerr // a fault of the options that is not about dialling: whoever uses them hears of it
	}
	defer alone.Close()
	cl, err := kgo.NewClient(with...)
	if err != nil { // the client refuses two ways to dial
		return errors.New(instead)
	}
	defer cl.Close()
	if got, _ := cl.OptValue(kgo.DialTLSConfig).(*tls.Config); got != probe {
		return errors.New(instead)
	}
	return nil
}
