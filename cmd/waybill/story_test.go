package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/embedded"
	"github.com/waybill-dev/waybill/internal/realkafka"
	"github.com/waybill-dev/waybill/job"
)

func TestOperatorOnEmbeddedBroker(t *testing.T) {
	b, err := embedded.Start(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	operate(t, b.Addrs())
}

func TestOperatorOnRealKafka(t *testing.T) { operate(t, realkafka.Shared(t).Addrs()) }

// operate is the story of one job as an operator sees it: it dies, is redriven, and redriven once more in vain, ends, is
// forgotten and runs again. What the commands print is in the log of the test (-v).
func operate(t *testing.T, brokers []string) {
	t.Setenv("WAYBILL_CONFIG", "")
	s := &transcript{t: t, broker: strings.Join(brokers, ",")}
	t.Cleanup(func() { t.Log("\n" + s.text.String()) })
	name := fmt.Sprintf("op%d", time.Now().UnixNano())
	on := []string{"--group", name, "--topic", name + "-jobs"}
	// do runs a command and holds all it prints against patterns.
	do := func(line string, want ...string) {
		t.Helper()
		o := s.run(append(strings.Fields(line), on...)...)
		if o.code != 0 {
			t.Errorf("%s: exit %d\n%s", line, o.code, o.stderr)
		}
		for _, w := range want {
			if !regexp.MustCompile(w).MatchString(o.stdout + o.stderr) {
				t.Errorf("%s lacks %s:\n%s%s", line, w, o.stdout, o.stderr)
			}
		}
	}
	state := func(state string) {
		t.Helper()
		s.until(`"state":"`+state+`"`, append(strings.Fields("receipt show email.welcome/w1 --json"), on...)...)
	}
	do("setup apply --partitions 1 --tiers 1s,1h --replication 1")
	h := work(t, s.broker, name, name+"-jobs")
	do("job enqueue email.welcome --id w1")
	h.runs("w1")
	do("job why email.welcome/w1", "it is the next of its key")
	h.ends(job.Dead(errors.New("no such user 17")))
	state("dead")
	do("receipt show email.welcome/w1", `state +dead`, `attempts +1`, `by worker-1, epoch \d+`)
	do("job why email.welcome/w1", `dead letter at .*no such user 17`)
	do("dlq redrive 0/0 --reason fixed --by ann --yes", "1 of 1 letter redriven")
	h.runs("w1")
	h.ends(nil)
	state("done")
	do("dlq redrive 0/0 --reason again --by ann --yes", `0/0: .*done`, "nothing to redrive")
	do("receipt show email.welcome/w1", `state +done`, `generation +1`)
	do("job show email.welcome/w1", `enqueued`, `letter .*no such user 17`, `dead `, `redriven .*ann .*fixed`, `done .*worker-1`)
	do("job why email.welcome/w1", `it is done since`)
	do("receipt verify", `-jobs/0 .* 0\n`)
	do("receipt forget email.welcome/w1 --reason lost --by ann --yes", "its owner worker-1 has read that")
	do("job enqueue email.welcome --id w1")
	h.runs("w1")
	h.ends(nil)
	state("done")
	do("job show email.welcome/w1", `forgotten .*ann .*lost`, `done`)
	do("receipt verify", `-jobs/0 .* 0\n`)
}
