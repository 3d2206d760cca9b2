package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/waybill-dev/waybill/internal/realkafka"
)

// workerEnv makes this binary a worker process instead of a test.
const workerEnv = "WAYBILL_E2E_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) != "" {
		if err := work(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if told := os.Getenv(poisonEnv); told != "" {
		if err := workPoisoned(context.Background(), told); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := realkafka.Main(m)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// until polls a condition; left says what is missing, empty when it holds.
func until(t *testing.T, limit time.Duration, left func() string) {
	t.Helper()
	if said := within(t.Context(), limit, left); said != "" {
		t.Fatalf("not within %v: %s", limit, said)
	}
}

func within(ctx context.Context, limit time.Duration, left func() string) string {
	end := time.NewTimer(limit)
	defer end.Stop()
	every := time.NewTicker(50 * time.Millisecond)
	defer every.Stop()
	for {
		said := left()
		if said == "" {
			return ""
		}
		select {
		case <-every.C:
		case <-end.C:
			return said
		case <-ctx.Done():
			return said + ": " + ctx.Err().Error()
		}
	}
}
