package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/internal/embedded"
	"github.com/waybill-dev/waybill/internal/realkafka"
	"github.com/waybill-dev/waybill/internal/witness"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
	"github.com/waybill-dev/waybill/producer"
)

// poisonEnv makes this binary a worker that one of its jobs kills; its value is a poisoned.
const poisonEnv = "WAYBILL_E2E_POISON"

// poisoned is what such a worker is told.
type poisoned struct {
	Brokers []string
	Topic   string // and name of the group
	Ran     string // file that gets the id of each job as its attempt begins
	Dir     string // of receipts; empty: they are in memory
}

// killed is the exit status of a worker whose handler ended the process.
const killed = 7

// killers is the job that does, whatever recovers from panics; sparing ones take a moment, so that some always run beside it.
type killers struct {
	Kills bool `json:"kills"`
}

func (killers) Kind() string { return "e2e.killers" }

// workPoisoned is the life of such a worker, until SIGTERM or the job that kills it.
func workPoisoned(ctx context.Context, told string) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	var p poisoned
	if err := json.Unmarshal([]byte(told), &p); err != nil {
		return err
	}
	ran, err := os.OpenFile(p.Ran, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer ran.Close()
	m := processor.NewMux()
	processor.Handle(m, func(ctx context.Context, j *job.Job[killers]) error {
		if _, err := ran.WriteString(j.ID + "\n"); err != nil {
			return err
		}
		if j.Args.Kills {
			os.Exit(killed)
		}
		return witness.Rest(ctx, 5*time.Millisecond)
	}, job.Policy{})
	return consumer.Run(ctx, consumer.Config{Brokers: p.Brokers, Group: p.Topic, Topics: []string{p.Topic}, Mux: m, Tiers: tiers, Setup: consumer.Create,
		Partitions: 4, StaticID: "the-one", Dir: p.Dir, SessionTimeout: session, Heartbeat: heartbeat, RebalanceTimeout: rebalance, DrainTimeout: drain})
}

func TestPoisonOnEmbeddedBroker(t *testing.T) {
	broker, err := embedded.Start(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	poison(t, broker.Addrs(), "poisoned")
}

func TestRealPoison(t *testing.T) {
	poison(t, realkafka.Shared(t).Addrs(), fmt.Sprintf("poisoned-%d", time.Now().UnixNano()))
}

// poison has a worker that is started again whenever it dies, as a cluster's scheduler would: the job that kills it takes at
// most three processes down, and everything else is done.
func poison(t *testing.T, brokers []string, topic string) {
	p := poisoned{Brokers: brokers, Topic: topic, Ran: filepath.Join(t.TempDir(), "ran")}
	const jobs, kills = 400, 150
	w := startPoisoned(t, p)
	enqueueKillers(t, p, jobs, kills)
	deaths := 0
	until(t, 2*patience, func() string {
		if w.dead() {
			if code := w.cmd.ProcessState.ExitCode(); code != killed {
				t.Fatalf("a worker ended with %v: %s", w.cmd.ProcessState, w.said.String())
			}
			if deaths++; deaths > 3 {
				t.Fatal("the job took a fourth process down")
			}
			w = startPoisoned(t, p)
		}
		if n := len(p.ran(t)); n < jobs {
			return fmt.Sprintf("%d of %d jobs were begun, after %d deaths", n, jobs, deaths)
		}
		if n := len(poisonLetters(t, p)); n != 1 {
			return fmt.Sprintf("%d letters, after %d deaths", n, deaths)
		}
		return ""
	})
	if l := poisonLetters(t, p)[0]; l.ID != fmt.Sprint("job-", kills) || l.Disposition != dlq.Poison || l.Code != job.CodePoison {
		t.Errorf("the letter is %s, %v, %v", l.ID, l.Disposition, l.Code)
	}
	if n := p.ran(t)[fmt.Sprint("job-", kills)]; n != deaths {
		t.Errorf("the job was begun %d times and took %d processes down", n, deaths)
	}
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if <-w.done; w.cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("in the end: %v: %s", w.cmd.ProcessState, w.said.String())
	}
	t.Logf("%d processes died", deaths)
}

// ran counts the attempts that were begun of each job.
func (p poisoned) ran(t *testing.T) map[string]int {
	text, err := os.ReadFile(p.Ran)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	n := map[string]int{}
	for id := range strings.FieldsSeq(string(text)) {
		n[id]++
	}
	return n
}

func enqueueKillers(t *testing.T, p poisoned, jobs, kills int) {
	t.Helper()
	enqueuer, err := producer.New(producer.Config{Brokers: p.Brokers, Topic: p.Topic})
	if err != nil {
		t.Fatal(err)
	}
	defer enqueuer.Close(t.Context())
	for i := range jobs {
		o := &job.Options{ID: fmt.Sprint("job-", i)}
		until(t, patience, func() string { // the worker makes the topic
			if _, err := enqueuer.Enqueue(t.Context(), killers{Kills: i == kills}, o); err != nil {
				return err.Error()
			}
			return ""
		})
	}
}

func poisonLetters(t *testing.T, p poisoned) (letters []*dlq.Letter) {
	t.Helper()
	c, err := dlq.Open([]kgo.Opt{kgo.SeedBrokers(p.Brokers...)}, p.Topic, p.Topic)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.List(t.Context(), dlq.Filter{}, func(l *dlq.Letter) error {
		letters = append(letters, l)
		return nil
	}); err != nil {
		t.Logf("letters: %v", err) // the topic may not exist yet
	}
	return letters
}

// deathbed is a worker process whose end is no fault.
type deathbed struct {
	cmd  *exec.Cmd
	said bytes.Buffer
	done chan struct{}
}

func startPoisoned(t *testing.T, p poisoned) *deathbed {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	told, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	w := &deathbed{cmd: exec.Command(self), done: make(chan struct{})}
	w.cmd.Env = append(os.Environ(), poisonEnv+"="+string(told))
	w.cmd.SysProcAttr, w.cmd.Stderr = childAttr(), &w.said
	started := make(chan error, 1)
	go func() { // keeps its thread until the worker is reaped, see worker.own
		defer close(w.done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := w.cmd.Start()
		if started <- err; err == nil {
			_ = w.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = w.cmd.Process.Kill()
		<-w.done
	})
	return w
}

func (w *deathbed) dead() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}
