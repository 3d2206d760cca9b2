package task

import (
	"errors"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

func (r *rig) landSegment() *flight {
	x := r.p.logq[0]
	x.landAll()
	return x
}

func (r *rig) ack(x *flight) {
	r.t.Helper()
	if err := x.answerLog(); err != nil {
		r.t.Fatal(err)
	}
}

func TestSegments(t *testing.T) {
	r := newRig(t)
	r.give(msg("free", "1", ""), msg("free", "2", ""), msg("free", "3", ""))
	r.p.tick(true)
	r.said("run free/1", "!segment") // nothing to say
	r.end("free/2", success)
	r.p.tick(true)
	r.said("segment of epoch 0: free/2 done; main=0 retry.10s=0 retry.2m=0") // a receipt above an unfinished job is written all the same
	r.end("free/1", success)
	r.p.tick(true)
	r.said("!segment") // one in flight
	r.p.tick(false)
	r.ack(r.landSegment())
	r.p.commit()
	r.said("!commit", "!segment")
	r.p.tick(false)
	r.said("!segment") // only a tick that is asked to
	r.p.tick(true)
	r.said("segment of epoch 0: free/1 done; main=2")
	r.end("free/3", success)
	r.ack(r.landSegment()) // free/3 was settled after the segment was sent
	r.p.commit()
	r.said("commit main=2")
	r.p.tick(true)
	r.p.settleDown()
	r.said("segment of epoch 0: free/3 done; main=3", "commit main=3")
	r.p.tick(true)
	r.said("!segment")
}

// A frontier passes what is settled without a receipt too.
func TestFrontierWithoutReceipts(t *testing.T) {
	r := newRig(t)
	r.give(msg("free", "1", ""))
	r.end("free/1", success)
	r.p.tick(true)
	r.p.settleDown()
	r.lines = nil
	r.give(msg("free", "1", ""), msg("free", "1", ""))
	r.p.tick(true)
	r.p.settleDown()
	r.said("segment of epoch 0: main=3 retry.10s=0 retry.2m=0", "commit main=3")
}

func TestRefusedSegment(t *testing.T) {
	r := newRig(t)
	r.give(msg("free", "1", ""))
	r.end("free/1", success)
	r.p.tick(true)
	x := r.p.logq[0]
	x.failed = true
	r.ack(x)
	r.said("segment", "pause main (unacked_writes)")
	equal(t, "next try", time.Duration(r.p.m.NextDue()-r.now), 200*time.Millisecond)
	r.p.tick(true)
	r.said("!segment")
	r.wait(200 * time.Millisecond)
	r.p.tick(false)
	r.said("segment of epoch 0: free/1 done; main=1")
	r.p.settleDown()
	r.said("resume main", "commit main=1")
}

// A segment whose ack is lost is sent again; the gap is its own first copy, and changes nothing.
func TestSegmentTwice(t *testing.T) {
	r := newRig(t)
	r.give(msg("free", "1", ""))
	r.end("free/1", success)
	r.p.tick(true)
	x := r.landSegment()
	x.failed = true
	r.ack(x)
	r.wait(time.Second)
	r.p.tick(true)
	r.lines = nil
	r.ack(r.landSegment())
	r.p.settleDown()
	r.said("read log 2 to 4", "resume main", "commit main=1")
	equal(t, "epoch", r.p.m.Epoch(), 0)
}

// The broker acked without telling where, as it does for a batch that it has seen before.
func TestSegmentAckWithoutOffset(t *testing.T) {
	r := newRig(t)
	r.give(msg("free", "1", ""))
	r.end("free/1", success)
	r.p.tick(true)
	x := r.landSegment()
	x.blind = true
	r.ack(x)
	r.said("segment", "read log 2 to -1", "!commit")
	r.p.settleDown()
	r.said("commit main=1")
}

// In the gap stands what a zombie knew: it is read before anything is applied, run or committed.
func TestGapIsReadBeforeAnythingRuns(t *testing.T) {
	r := newRig(t)
	r.give(msg("free", "1", ""), msg("keyed", "2", "x"), msg("keyed", "3", "x"))
	r.end("free/1", success)
	r.p.tick(true)
	r.land(nil, dedupe.Entry{Segment: &dedupe.Segment{Epoch: -7, Receipts: []dedupe.Receipt{
		{Identity: job.IdentityOf("keyed", []byte("x"), "3"), State: dedupe.Done, Digest: job.DigestOf([]byte("payload"))}}}})
	r.ack(r.landSegment())
	r.said("read log 2 to 4")
	r.end("keyed/2", success)
	r.give(msg("free", "4", ""))
	r.p.tick(true)
	r.said("!run", "!commit", "!segment")
	r.p.settleDown()
	r.said("run free/4", "!keyed/3", "!ownership")
	equal(t, "keyed/3 was done by the zombie", r.p.m.Stats().Duplicate, 1)
}

// A later ownership record in the gap: our receipts count, our frontiers do not; own again, then claim them anew.
func TestLaterOwnerInTheGap(t *testing.T) {
	r := newRig(t)
	r.give(msg("free", "1", ""), msg("free", "2", ""), msg("free", "3", ""))
	r.end("free/1", success)
	r.p.tick(true)
	r.land(nil, dedupe.Entry{Owner: &dedupe.Owner{Process: "another"}})
	r.ack(r.landSegment())
	r.lines = nil
	r.p.readSome(100)
	r.said("ownership record", "note: main/0: another instance took the task over at epoch 2 while this one (epoch 0) still held it: owning again")
	equal(t, "running", r.p.m.Running(), false)
	equal(t, "owning", r.p.m.Owning(), true)
	r.end("free/2", success) // what runs goes on; its outcome waits
	r.give(msg("free", "4", ""))
	r.p.tick(true)
	r.said("!segment", "!run", "!commit")
	r.p.settleDown()
	r.said("read log 4 to 5", "prove membership", "run free/4", "!start", "!free/1")
	equal(t, "fence", r.entry("free/4").env.Fence, 4)
	equal(t, "epoch", r.p.m.Epoch(), 4)
	r.p.tick(true)
	r.p.settleDown()
	r.said("segment of epoch 4: free/2 done; main=2 retry.10s=0 retry.2m=0", "commit main=2")
}

// And not a member any more: it stops; what it knows is written as late outcomes.
func TestLaterOwnerAndNotAMember(t *testing.T) {
	r := newRig(t)
	r.give(msg("free", "1", ""), msg("free", "2", ""), msg("free", "3", ""))
	r.end("free/1", success)
	r.p.tick(true)
	r.land(nil, dedupe.Entry{Owner: &dedupe.Owner{Process: "another"}})
	r.ack(r.landSegment())
	r.member = nil
	r.end("free/2", success)
	r.lines = nil
	r.p.settleDown()
	r.said("late segment of epoch 4: free/2 done;", "drained", "!commit")
	r.end("free/3", success)
	r.said("late segment of epoch 4: free/3 done;")
	equal(t, "gone", r.p.m.Gone(), true)
	equal(t, "idle", r.p.m.Idle(), true)
}

type brokenStore struct {
	dedupe.Store
	err error
}

func (b *brokenStore) Apply(e *dedupe.Entry) error {
	if b.err != nil {
		return b.err
	}
	return b.Store.Apply(e)
}

// A store that fails: the error goes to the shard, nothing is committed on it, and once stopped nothing runs.
func TestBrokenStore(t *testing.T) {
	r := newRig(t)
	b := &brokenStore{r.p.m.cfg.Store, nil}
	r.p.m.cfg.Store = b
	r.give(msg("keyed", "1", "x"), msg("keyed", "2", "x"))
	r.end("keyed/1", success)
	r.p.tick(true)
	b.err = errors.New("disk")
	if err := r.landSegment().answerLog(); !errors.Is(err, b.err) {
		t.Fatalf("got %v", err)
	}
	if err := r.p.m.Entries([]*dedupe.Entry{{Offset: 99, Owner: &dedupe.Owner{}}}); !errors.Is(err, b.err) {
		t.Fatalf("got %v", err)
	}
	r.p.m.Hold(Stopped, true, r.now)
	r.p.carry()
	r.lines = nil
	r.end("keyed/2", job.Outcome{Verdict: job.VerdictCancelled})
	r.p.tick(true)
	r.said("!run", "!commit", "!segment")
}

// The log forgets: the frontiers of an idle task are written again before it does.
func TestIdleFrontiersAreWrittenAgain(t *testing.T) {
	const window = 72 * time.Hour
	r := newRig(t)
	for range 3 {
		r.wait(window / 2)
		r.p.m.Expire(window, r.now)
		r.p.tick(true)
		r.said("!segment")
		r.wait(1)
		r.p.m.Expire(window, r.now)
		r.p.tick(true)
		r.said("segment of epoch 0: main=0 retry.10s=0 retry.2m=0")
		r.p.settleDown()
		r.lines = nil
	}
}

// And what is known of jobs that have not ended, for as long as they have not: a copy that waits, a mark.
func TestUnfinishedReceiptsAreWrittenAgain(t *testing.T) {
	const window = 72 * time.Hour
	r := newRig(t)
	later := msg("free", "later", "")
	later.At = time.Unix(0, r.now).Add(20 * window)
	r.give(later, msg("once", "marked", ""))
	r.mark("once/marked")
	if got := r.durable("free/later"); got.State != dedupe.Retrying {
		t.Fatalf("the scheduled job: %+v", got)
	}
	known := func(name string) dedupe.State { return r.durable(name).State }
	for i := range 30 { // each copy hops on when its tier is due, and none does here: nothing is fetched
		r.wait(window / 8)
		r.p.m.Expire(window, r.now)
		if known("free/later") != dedupe.Retrying || known("once/marked") != dedupe.Started {
			t.Fatalf("after %d eighths of a window: %v, %v", i+1, known("free/later"), known("once/marked"))
		}
	}
}

func TestExpire(t *testing.T) {
	r := newRig(t)
	r.give(msg("free", "1", ""))
	r.end("free/1", success)
	r.p.tick(true)
	r.p.settleDown()
	equal(t, "receipts", r.p.m.Status().Receipts, 1)
	r.folds[len(r.folds)-1].facts = nil // the fold of the test knows no window
	clear(r.names)
	r.p.m.Expire(time.Hour, r.now+int64(3*time.Hour))
	equal(t, "receipts", r.p.m.Status().Receipts, 0)
	r.main().start = 1
}
