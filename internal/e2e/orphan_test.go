package e2e

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/internal/embedded"
)

// A worker whose parent is gone ends at once: all it sees of that is the end of its standard input. On Linux the kernel
// kills it besides.
func TestWorkersDieWithTheirParent(t *testing.T) {
	broker, err := embedded.Start(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	s := newStory(t, place{broker.Addrs(), []kgo.Opt{kgo.SeedBrokers(broker.Addrs()...)}})
	w := s.hire()
	s.settled(w)
	if err := w.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	s.gone(w)
	if code := w.cmd.ProcessState.ExitCode(); code != orphaned {
		t.Errorf("it ended with %v, want exit status %d", w.cmd.ProcessState, orphaned)
	}
}
