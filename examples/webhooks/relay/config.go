package relay

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/examples/webhooks/hook"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

// Subscriber is one receiver of deliveries.
type Subscriber struct {
	// Name is part of the name of its consumer group, so it stays when the URL changes. Required.
	Name string
	// URL is where deliveries are posted. Required.
	URL string
	// Secret signs them. Required.
	Secret string
	// Events are those it wants. Defaults to all.
	Events []string
}

// Config is how a relay works. Subscribers and the Brokers, Group and Topics of Consumer are required.
type Config struct {
	// Consumer is the engine's settings, for each subscriber alike. Its Group is the beginning of their groups' names
	// (Group-Name); its Mux is not used.
	Consumer consumer.Config
	// Subscribers are who receives deliveries.
	Subscribers []Subscriber
	// Timeout is how long a subscriber may take to answer. Defaults to 10 s.
	Timeout time.Duration
	// MaxAttempts is how often a delivery is sent before it becomes a dead letter. Defaults to 10.
	MaxAttempts int
	// Middleware goes around each delivery, outermost first.
	Middleware []processor.Middleware
	// Transport sends the requests. Defaults to one of its own.
	Transport http.RoundTripper
}

func (c Config) withDefaults() Config {
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	return c
}

// name is what may stand in the name of a group.
var name = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)

// Validate returns every fault of c, joined. Those of Consumer are left to New.
func (c Config) Validate() error {
	var errs []error
	add := func(bad bool, format string, a ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, a...))
		}
	}
	add(len(c.Subscribers) == 0, "Subscribers: is empty; name at least one")
	seen := map[string]bool{}
	for i, s := range c.Subscribers {
		u, err := url.Parse(s.URL)
		add(!name.MatchString(s.Name), "Subscribers[%d].Name: %q; use 1 to 40 small letters, digits and hyphens", i, s.Name)
		add(seen[s.Name], "Subscribers[%d].Name: %q is another's too", i, s.Name)
		add(err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https", "Subscribers[%d].URL: is not http(s)://host/...", i)
		add(s.Secret == "", "Subscribers[%d].Secret: is empty; without one %s cannot know who calls", i, s.Name)
		seen[s.Name] = true
	}
	add(c.Timeout < 0, "Timeout: %v is negative", c.Timeout)
	return errors.Join(errs...)
}

// mux is the one handler of a subscriber's group.
func (c Config) mux(s Subscriber, client *http.Client) *processor.Mux {
	mux := processor.NewMux()
	mux.Use(c.Middleware...)
	call := caller{subscriber: s, client: client}
	processor.Register(mux, processor.Kind[hook.Delivery]{
		Codec:  hook.Codec,
		Handle: call.deliver,
		Policy: job.Policy{Timeout: c.Timeout, MaxAttempts: c.MaxAttempts},
		Card:   processor.Card{Description: "Posts a webhook delivery to " + s.Name},
	})
	return mux
}

func (s Subscriber) wants(event string) bool {
	return len(s.Events) == 0 || slices.Contains(s.Events, event)
}
