package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/checker"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/producer"
)

// ErrUnbalanced is Run's error when the account at the end shows a fault: a job lost, doubled, run twice, out of order.
var ErrUnbalanced = errors.New("the account does not balance")

// patience is how long any one step of the story may take beyond what it should.
const patience = 90 * time.Second

// story is one run. Run's goroutine owns it; tell may be called by others.
type story struct {
	o      Options
	begun  time.Time
	dir    string
	stage  *stage
	driver *ledger.Writer // what the story itself does
	watch  *watch
	jobs   []errand
	hired  int
	staff  []*process // all of them
	twice  string
	again  int // handlers called in the replay

	telling sync.Mutex
	ended   map[string]bool // processes whose end was told; under telling
}

// Run tells the story and returns the checker's verdict. The error wraps ErrUnbalanced when that is bad; any other is about
// the run itself: a worker that died by itself, a step that took too long, a cluster that refuses. It ends every process
// it started, also when ctx ends.
func Run(ctx context.Context, o Options) (res *checker.Result, err error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	s := &story{o: o, begun: time.Now(), dir: o.Dir, jobs: workload(o.Jobs), ended: map[string]bool{}}
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "waybill-demo-"); err != nil {
			return nil, err
		}
		defer func() {
			if err == nil || errors.Is(err, ErrUnbalanced) || ctx.Err() != nil {
				_ = os.RemoveAll(s.dir)
				return
			}
			err = fmt.Errorf("%w\nthe ledgers and logs of the workers are in %s", err, s.dir)
		}()
	} else if err := unused(s.dir); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	if o.Sabotage == Double {
		s.twice = faultless(s.jobs)
	}
	res, err = s.play(ctx)
	return res, err
}

// driverLedger is the file that every demo leaves in its folder.
const driverLedger = "driver.ledger"

// unused makes the folder, unless a demo was there before: its ledgers would be held against the topics of this one.
func unused(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, driverLedger)); err == nil {
		return fmt.Errorf("folder %s has the ledgers of an earlier demo: name another, or delete it", dir)
	}
	return os.MkdirAll(dir, 0o755)
}

// play sets the stage, tells the chapters, and clears up whatever happened.
func (s *story) play(ctx context.Context) (res *checker.Result, err error) {
	if s.stage, err = openStage(s.o.Connection); err != nil {
		return nil, err
	}
	defer s.stage.close()
	path := filepath.Join(s.dir, driverLedger)
	if s.driver, err = ledger.Open(path, "driver"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.driver.Close()) }()
	defer func() { err = errors.Join(err, s.clear()) }()
	if err = s.prologue(ctx); err != nil {
		return nil, err
	}
	if s.watch, err = newWatch(s.stage, s.jobs, func(p *Progress) { s.tell(Event{Type: Progressed, Progress: p}) }); err != nil {
		return nil, err
	}
	defer s.watch.reader.Close()
	s.watch.follow("driver", path, nil)
	watching, stop := context.WithCancel(ctx)
	var looking sync.WaitGroup
	looking.Add(2)
	go func() { defer looking.Done(); s.watch.run(watching) }()
	go func() { defer looking.Done(); s.watchStandstills(watching) }()
	err = s.chapters(ctx)
	stop()
	looking.Wait()
	if err != nil {
		s.inquest(ctx)
		return nil, err
	}
	return s.epilogue(ctx)
}

// inquest has every worker that lives write to its log what it does, when a chapter has failed and nobody asked for that.
func (s *story) inquest(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, heartbeat*4)
	defer cancel()
	for _, p := range s.living() {
		p.report()
	}
	for _, p := range s.living() {
		select {
		case <-p.told:
		case <-p.done:
		case <-ctx.Done():
			return
		}
	}
}

// clear ends every worker that is left and takes the topics away.
func (s *story) clear() error {
	for _, p := range s.staff {
		if !p.gone() {
			p.kill()
		}
		<-p.done
		s.tellEnd(p)
	}
	if s.stage.broker != nil || s.o.Keep {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*session) // also after ctx has ended
	defer cancel()
	return s.stage.remove(ctx)
}

// tell hands an event to the observer, one at a time.
func (s *story) tell(e Event) {
	s.telling.Lock()
	defer s.telling.Unlock()
	e.Time = time.Now()
	e.Elapsed = e.Time.Sub(s.begun).Round(time.Millisecond).Seconds()
	s.o.Observe(e)
}

func (s *story) chapter(format string, a ...any) {
	s.tell(Event{Type: Chapter, Text: fmt.Sprintf(format, a...)})
}

func (s *story) prologue(ctx context.Context) error {
	if err := s.stage.create(ctx); err != nil {
		return err
	}
	where := "a broker inside this process"
	if s.stage.broker == nil {
		where = "the cluster given"
	}
	s.tell(Event{Type: Began, Brokers: s.stage.connection.Brokers, Topic: s.stage.topic, Group: s.stage.group,
		Text: fmt.Sprintf("%s; topic %s with %d partitions, group %s, retry tiers 1s 3s 8s", where, s.stage.topic, partitions, s.stage.group)})
	return nil
}

// early is how many jobs are enqueued before any worker is there.
const early = 24

func (s *story) chapters(ctx context.Context) error {
	prod, err := producer.New(producer.Config{Brokers: s.stage.connection.Brokers, TLS: s.stage.connection.TLS, SASL: s.stage.connection.SASL, Topic: s.stage.topic})
	if err != nil {
		return err
	}
	defer prod.Close(context.WithoutCancel(ctx))
	if err := s.enqueue(ctx, prod, s.jobs[:early], 0); err != nil {
		return err
	}
	if err := s.drop(ctx); err != nil {
		return err
	}
	if s.o.Sabotage == Double {
		s.tell(Event{Type: Sabotaged, Text: "a wrapper around the handlers will call " + s.twice + " twice"})
	}
	s.chapter("three workers start; %d jobs of three kinds follow over %v", len(s.jobs), s.o.Over.Round(time.Second))
	for seat := range 3 {
		if _, err := s.hire(1, seat); err != nil {
			return err
		}
	}
	if err := s.joined(ctx, s.staff...); err != nil {
		return err
	}
	sending, stop := context.WithCancel(ctx)
	defer stop()
	sent := make(chan error, 1)
	go func() { sent <- s.enqueue(sending, prod, s.jobs[early:], s.o.Over) }()
	if err := s.loss(ctx); err != nil {
		stop()
		if late := <-sent; late != nil && !errors.Is(late, context.Canceled) { // else it was ended by us
			err = errors.Join(err, late)
		}
		return err
	}
	if err := <-sent; err != nil {
		return err
	}
	return s.recovery(ctx)
}

// enqueue sends jobs evenly over a time, and notes what was acked.
func (s *story) enqueue(ctx context.Context, prod *producer.Producer, jobs []errand, over time.Duration) error {
	gap := time.NewTicker(max(time.Microsecond, over/time.Duration(len(jobs))))
	defer gap.Stop()
	for _, e := range jobs {
		if over > 0 {
			select {
			case <-gap.C:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		rec, _, err := prod.Encode(e.args, &e.opts)
		if err != nil {
			return err
		}
		at, err := prod.Enqueue(ctx, e.args, &e.opts)
		if err != nil {
			return err
		}
		s.driver.Record(ledger.Event{Type: ledger.Produced, Record: ledger.Pos{Topic: at.Topic, Partition: at.Partition, Offset: at.Offset},
			Kind: e.args.Kind(), Key: string(rec.Key), ID: at.ID, Digest: ledger.DigestOf(rec.Value), Intent: string(ledger.OutcomeDone)})
	}
	return nil
}

// drop is the sabotage of an operator: nobody is a member yet, so the group takes any commit.
func (s *story) drop(ctx context.Context) error {
	if s.o.Sabotage != Drop {
		return nil
	}
	events, err := ledger.ReadFile(s.watch.path("driver"))
	if err != nil {
		return err
	}
	for _, e := range events {
		if e.Type == ledger.Produced && e.Record.Offset == 0 {
			s.tell(Event{Type: Sabotaged, Text: fmt.Sprintf("somebody commits past %s (%s at %s) before a worker reads it", e.ID, e.Kind, e.Record)})
			return s.stage.skip(ctx, e.Record.Partition)
		}
	}
	return errors.New("sabotage: no job is at offset 0")
}

// toDie is the seat of the worker that is killed.
const toDie = 1

// loss kills a worker in the middle of its work, and waits until others have its tasks.
func (s *story) loss(ctx context.Context) error {
	victim := s.staff[toDie]
	_, err := s.watch.until(ctx, s.o.Over+patience, "a quarter of the jobs was not enqueued", func(p *Progress) bool { return p.Produced >= len(s.jobs)/4 })
	if err != nil {
		return err
	}
	running, err := s.busy(ctx, victim)
	if err != nil {
		return err
	}
	victim.kill()
	<-victim.done
	s.driver.Record(ledger.Event{Type: ledger.Faulted, Fault: ledger.Kill, Target: victim.name})
	s.chapter("%s (pid %d) is killed at work (attempts running: %d); its tasks wait until its session of %v has ended", victim.name, victim.pid, running, session)
	s.tellEnd(victim)
	p, err := s.hire(1, victim.seat)
	if err != nil {
		return err
	}
	if err := s.joined(ctx, p); err != nil {
		return err
	}
	return s.takeover(ctx)
}

// busy waits until a worker's ledger has attempts that have not returned, and is how many.
func (s *story) busy(ctx context.Context, victim *process) (running int, err error) {
	book := tail{path: s.watch.path(victim.name)}
	every := time.NewTicker(10 * time.Millisecond)
	defer every.Stop()
	for {
		events, err := book.next()
		if err != nil {
			return 0, err
		}
		for i := range events {
			switch events[i].Type {
			case ledger.Called:
				running++
			case ledger.Returned:
				running--
			}
		}
		if running > 0 {
			return running, nil
		}
		select {
		case <-every.C:
		case <-victim.done:
			return 0, s.died(victim)
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// takeover waits until all tasks have an owner again.
func (s *story) takeover(ctx context.Context) error {
	_, err := s.watch.until(ctx, patience, "the tasks found no owner", func(p *Progress) bool {
		owned := 0
		for _, w := range p.Workers {
			owned += w.Tasks
		}
		return owned == partitions
	})
	if err == nil {
		s.chapter("all %d tasks have an owner again; retries go on", partitions)
	}
	return err
}

// recovery waits for the tiers to drain, deploys the fix and redrives what the old release could not do.
func (s *story) recovery(ctx context.Context) error {
	s.chapter("everything is enqueued; what failed comes back from the tiers")
	if err := s.idle(ctx); err != nil {
		return err
	}
	if err := s.letters(ctx); err != nil {
		return err
	}
	s.chapter("release %d has the fix: one worker after another drains on SIGTERM and is replaced", fixed)
	for _, old := range s.living() {
		if err := s.dismiss(ctx, old); err != nil {
			return err
		}
		p, err := s.hire(fixed, old.seat)
		if err != nil {
			return err
		}
		if err := s.joined(ctx, p); err != nil {
			return err
		}
	}
	if err := s.redrive(ctx); err != nil {
		return err
	}
	if err := s.idle(ctx); err != nil {
		return err
	}
	s.chapter("nothing is left to do; the workers are told to stop")
	for _, p := range s.living() {
		if err := s.dismiss(ctx, p); err != nil {
			return err
		}
	}
	if s.o.Sabotage == Drop {
		return nil // to read the topic again would mend it
	}
	return s.replay(ctx)
}

func (s *story) idle(ctx context.Context) error {
	_, err := s.watch.until(ctx, patience, "the jobs were not all settled", func(p *Progress) bool { return p.idle })
	return err
}

// epilogue gives the verdict.
func (s *story) epilogue(ctx context.Context) (*checker.Result, error) {
	res, err := s.judge(ctx)
	if err != nil {
		return nil, err
	}
	account := Event{Type: Account, Result: res, Text: "the checker has held every ledger against every topic"}
	if s.o.Sabotage != Drop {
		account.Count, account.Runs = len(s.jobs), &s.again
	}
	s.tell(account)
	ok := res.OK() && res.Account.Balanced() && s.again == 0
	text := fmt.Sprintf("Shown: %d jobs through a crash, retries, dead letters, a rolling deploy, a redrive and a replay of the whole topic, each accounted for once. "+
		"Next: `waybill demo --sabotage drop` shows the account fail; `waybill demo --brokers HOST:PORT` runs it on your Kafka.", res.Stats.Jobs)
	switch {
	case ok && s.o.Sabotage != None:
		ok, text = false, "The sabotage was not noticed: the account balances although it must not."
		err = errors.New("demo: the checker did not notice sabotage " + string(s.o.Sabotage))
	case !ok && s.o.Sabotage != None:
		text = "The account fails, as it should: --sabotage " + string(s.o.Sabotage) + " planted that. Next: `waybill demo` without it."
		err = fmt.Errorf("%w: %d violations, as planted", ErrUnbalanced, len(res.Violations))
	case !ok:
		text = "The account does not balance: see the violations above. `waybill demo --dir FOLDER` keeps ledgers and logs for a report."
		err = fmt.Errorf("%w: %d violations, %d run again in the replay", ErrUnbalanced, len(res.Violations), s.again)
	}
	s.tell(Event{Type: Finished, OK: &ok, Text: text})
	return res, err
}
