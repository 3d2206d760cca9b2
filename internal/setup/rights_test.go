package setup

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

func TestRightsOfARole(t *testing.T) {
	w := Want{Group: "mailer", Topics: []TopicWant{{Name: "emails"}}, Tiers: []time.Duration{10 * time.Second}}
	for role, want := range map[Role][]string{
		Worker: {"READ on topic emails", "DESCRIBE_CONFIGS on topic emails",
			"READ on topic emails.mailer.retry.10s", "WRITE on topic emails.mailer.retry.10s", "DELETE on topic emails.mailer.retry.10s", "DESCRIBE_CONFIGS on topic emails.mailer.retry.10s",
			"READ on topic emails.mailer.retry.1h", "WRITE on topic emails.mailer.retry.1h", "DELETE on topic emails.mailer.retry.1h", "DESCRIBE_CONFIGS on topic emails.mailer.retry.1h",
			"WRITE on topic emails.mailer.dlq", "DESCRIBE_CONFIGS on topic emails.mailer.dlq",
			"READ on topic emails.mailer.receipts", "WRITE on topic emails.mailer.receipts", "DESCRIBE_CONFIGS on topic emails.mailer.receipts",
			"READ on topic mailer.control", "DESCRIBE_CONFIGS on topic mailer.control", "DESCRIBE on topic mailer.status", "DESCRIBE_CONFIGS on topic mailer.status",
			"WRITE on topic mailer.audit", "DESCRIBE_CONFIGS on topic mailer.audit", "READ on group mailer"},
		Producer: {"WRITE on topic emails", "DESCRIBE_CONFIGS on topic emails"},
	} {
		got := names(Rights(role, w, map[string][]time.Duration{"emails": {time.Hour}}))
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", role, got, want)
		}
	}
	for _, role := range Roles() {
		all := Rights(role, w, nil)
		if got := names(all); len(got) != len(slices.Compact(got)) {
			t.Errorf("%s: a right twice: %v", role, got)
		}
		for _, r := range all {
			if r.For == "" {
				t.Errorf("%s: %s is for nothing", role, r)
			}
		}
	}
}

func names(rights []Right) (out []string) {
	for _, r := range rights {
		out = append(out, r.String())
	}
	slices.Sort(out)
	return out
}

func TestCommand(t *testing.T) {
	for want, r := range map[string]Right{
		"kafka-acls.sh --add --allow-principal User:w --operation DescribeConfigs --topic t": {Name: "t", Op: DescribeConfigs},
		"kafka-acls.sh --add --allow-principal User:w --operation AlterConfigs --topic t":    {Name: "t", Op: AlterConfigs},
		"kafka-acls.sh --add --allow-principal User:w --operation Read --group g":            {Name: "g", Op: Read, Group: true},
	} {
		if got := r.Command("User:w"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// What brokers do not say is not taken for a refusal.
func TestLacking(t *testing.T) {
	rights := []Right{{Name: "t", Op: Read}, {Name: "t", Op: Write}}
	for name, c := range map[string]struct {
		code int16
		ops  int32
		want int
	}{
		"both":                    {0, 1<<Read | 1<<Write, 0},
		"one":                     {0, 1 << Read, 1},
		"none":                    {0, 0, 2},
		"not said":                {0, math.MinInt32, 0},
		"the topic is hidden":     {kerr.TopicAuthorizationFailed.Code, math.MinInt32, 2},
		"the topic is not there":  {kerr.UnknownTopicOrPartition.Code, math.MinInt32, 0},
		"no leader at the moment": {kerr.LeaderNotAvailable.Code, 0, 0},
	} {
		if got := lacking(rights, c.code, c.ops); len(got) != c.want {
			t.Errorf("%s: lacks %v", name, got)
		}
	}
	err := error(&RightsError{rights})
	var as *RightsError
	if !errors.As(err, &as) || !strings.Contains(err.Error(), "WRITE on topic t") {
		t.Error(err)
	}
}
