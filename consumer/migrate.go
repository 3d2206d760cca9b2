package consumer

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/consumer/internal/group"
)

// stock are the balancers that a group can be moved over from, by the names under which members agree on them. Java's
// assignors of these names are the same protocols.
var stock = map[string]func() kgo.GroupBalancer{
	"cooperative-sticky": kgo.CooperativeStickyBalancer,
	"range":              kgo.RangeBalancer,
	"roundrobin":         kgo.RoundRobinBalancer,
	"sticky":             kgo.StickyBalancer,
}

// balancers are those the member offers the group, the best first: the group uses the first that all its members offer.
func (c *Consumer) balancers() []kgo.GroupBalancer {
	all := []kgo.GroupBalancer{group.NewBalancer(c.primaryOf)}
	for _, name := range c.cfg.MigrateFrom {
		all = append(all, stock[name]())
	}
	return all
}

func checkMigration(names []string) error {
	var errs []error
	for i, name := range names {
		if stock[name] == nil {
			errs = append(errs, fmt.Errorf("MigrateFrom[%d]: %q is no stock balancer; use the name that the group's description gives: %s",
				i, name, strings.Join(slices.Sorted(maps.Keys(stock)), ", ")))
		} else if slices.Contains(names[:i], name) {
			errs = append(errs, fmt.Errorf("MigrateFrom[%d]: %q stands there twice", i, name))
		}
	}
	return errors.Join(errs...)
}

// groupHint says what to do about an error of joining, empty where the error says it all.
func groupHint(err error) string {
	if errors.Is(err, kerr.InconsistentGroupProtocol) {
		return "the members of the group do not know Waybill's balancer: if it is another application's group on its way to Waybill, set MigrateFrom to the balancer it uses (docs/migrate.md); else use another group"
	}
	return ""
}
