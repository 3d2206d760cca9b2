package mutants

const (
	segmentGo = "consumer/internal/task/segment.go"
	settleGo  = "consumer/internal/task/settle.go"
	decideGo  = "consumer/internal/task/decide.go"
	admitGo   = "consumer/internal/task/admit.go"
	ownGo     = "consumer/internal/task/own.go"
	machineGo = "consumer/internal/task/machine.go"
	suspectGo = "consumer/internal/task/suspect.go"
	asideGo   = "consumer/internal/task/aside.go"
	strictGo  = "consumer/internal/task/strict.go"
	againGo   = "consumer/internal/task/enqueue.go"
	sourceGo  = "consumer/internal/task/source.go"
	windowGo  = "consumer/internal/task/window.go"
	receiptGo = "dedupe/receipt.go"
	storeGo   = "dedupe/store.go"
)

// all is every planted bug, by the way of a job.
var all = []Mutant{
	// order, gates, time
	{Name: "lanes ignored", By: Task, File: admitGo, Old: "if tail != nil {", New: "if false && tail != nil {"},
	{Name: "due compared wrongly", By: Task, File: admitGo, Old: "if e.ready = due; due > m.now {", New: "if e.ready = due; due > m.now+int64(5*time.Second) {"},
	{Name: "instant ignored", By: Task, File: decideGo, Old: "nanos(env.At) > m.now:", New: "nanos(env.At) > m.now+int64(time.Minute):"},
	{Name: "expiry ignored", By: Task, File: decideGo, Old: "nanos(env.Expires) <= m.now:", New: "nanos(env.Expires) <= m.now-int64(time.Minute):"},
	{Name: "lease ignored", By: Task, File: machineGo, Old: "m.holds&(1<<Lease|1<<Stopped) == 0", New: "m.holds&(1<<Stopped) == 0"},
	{Name: "records of one job at once", By: Task, File: decideGo, Old: "return m.leaving.has(&e.env.Identity)", New: "return false"},

	// which record is live
	{Name: "hop ignored", By: Task, File: receiptGo, Old: "return r.State.Final() || r.Hop > hop", New: "return r.State.Final()"},
	{Name: "generation ignored", By: Task, File: receiptGo, Old: "case r.State == Done, gen < r.Gen:", New: "case r.State == Done:"},
	{Name: "join takes the later receipt", By: Task, File: receiptGo, Old: "if b.rank().above(a.rank()) {", New: "if true {"},
	{Name: "conflict overlooked", By: Task, File: decideGo, Old: "r.Digest != e.env.Digest:", New: "false:"},

	// acks before receipts
	{Name: "receipt before the copy's ack", By: Task, File: settleGo, Old: "m.send(&Write{Entry: e, Dest: ToTier,", New: "m.record(r)\n\tm.send(&Write{Entry: e, Dest: ToTier,"},
	{Name: "receipt before the letter's ack", By: Task, File: settleGo, Old: "\tm.send(w)\n}\n\n// end settles", New: "\tif !w.silent {\n\t\tm.record(w.receipt)\n\t}\n\tm.send(w)\n}\n\n// end settles"},
	{Name: "receipt before what was emitted", By: Task, File: settleGo, Old: "\tif emitted {\n\t\tm.send(", New: "\tif emitted {\n\t\tm.record(done)\n\t\tm.send("},
	{Name: "a refused write is taken for acked", By: Task, File: settleGo, Old: "case res == Acked:\n\t\tm.forget(w)", New: "case res == Acked || res == Refused:\n\t\tm.forget(w)"},

	// the tick
	{Name: "commit before the log's ack", By: Task, File: segmentGo, Old: "\tm.segment = seg\n\tm.Out.Segment = seg\n", New: "\tm.segment = seg\n\tm.Out.Segment = seg\n\tfor _, f := range seg.sources {\n\t\tm.Out.Commit = append(m.Out.Commit, Offset{Topic: f.src.topic, At: f.offset, Epoch: -1})\n\t}\n"},
	{Name: "receipt after offset", By: Task, File: segmentGo, Old: "seg.Receipts, m.usual = m.pending.list,", New: "seg.Receipts, m.usual = m.pending.list[:len(m.pending.list)/2],"},
	{Name: "frontier above what runs", By: Task, File: sourceGo, Old: "if o, ok := s.win.first(); ok {", New: "if o, ok := s.win.first(); ok && s.win.len() > 2 {"},
	{Name: "gap check dropped", By: Task, File: segmentGo, Old: "if e.Offset != next {", New: "if e.Offset < next {"},
	{Name: "frontiers carried forward forgotten", By: Task, File: segmentGo, Old: "for id, at := range m.claimable() {", New: "for id, at := range map[dedupe.TopicID]int64{} {"},

	// owners
	{Name: "a later owner overlooked", By: Task, File: segmentGo, Old: "if m.cfg.Store.Position().Epoch == m.epoch {", New: "if true {"},
	{Name: "epoch not compared", By: Task, File: storeGo, Old: "if p.Epoch < 0 || s.Epoch != p.Epoch {", New: "if p.Epoch < 0 {"},
	{Name: "proof not awaited", By: Task, File: ownGo, Old: "\tif !member {", New: "\tif !member && m.phase != proving {"},
	{Name: "an operator's order overlooked", By: Task, File: ownGo, Old: "case st.Committed >= 0 && !st.Ours:", New: "case st.Committed >= 0 && !st.Ours && !known:"},
	{Name: "restore ends too early", By: Task, File: ownGo, Old: "m.Out.Read = &Span{m.restored, offset + 1}", New: "m.Out.Read = &Span{max(m.restored, offset), offset + 1}"},

	// suspects and progress
	{Name: "a mark found is no suspicion", By: Task, File: suspectGo, Old: "case m.before.release == dedupe.Held:\n\t\t\tfound++", New: "case m.before.release == dedupe.Held:"},
	{Name: "poison after one death", By: Task, File: suspectGo, Old: "case found > 1:", New: "case found > 0:"},
	{Name: "marks of others count", By: Task, File: storeGo, Old: "if p.Epoch < 0 || s.Epoch != p.Epoch {\n\t\treturn false", New: "if p.Epoch < 0 || s.Epoch != p.Epoch {\n\t\treturn true"},
	{Name: "unrecorded jobs run ahead", By: Task, File: "consumer/internal/task/ahead.go", Old: "return !e.recorded() && ", New: "return false && "},

	// what is set aside
	{Name: "the frontier passes what is set aside", By: Task, File: windowGo, Old: "s.seq != 0 && s.seq <= limit }", New: "s.seq != 0 && s.seq <= limit || s.seq == asideSlot }"},
	{Name: "a record set aside is forgotten", By: Task, File: asideGo, Old: "b.open, b.from = false, r.Offset\n", New: "b.open, b.from = false, r.Offset+1\n"},
	{Name: "later records overtake what is set aside", By: Task, File: admitGo, Old: "if m.isAside(e) {", New: "if false && m.isAside(e) {"},

	// order through retries
	{Name: "strict order ignored", By: Whole, File: strictGo, Old: "if m.strict == nil || !e.ordered() {", New: "if true {"},
	{Name: "a dead job does not hold its key", By: Whole, File: strictGo, Old: "e.Kind.Policy.OnDead != job.Block {", New: "true {"},
	{Name: "who holds up a key is not known to the next owner", By: Whole, File: strictGo, Old: "func (m *Machine) reorder() {\n\tif m.strict == nil {", New: "func (m *Machine) reorder() {\n\tif true {"},
	{Name: "a failed strict job lets its chain go on", By: Task, File: strictGo, Old: "o.Verdict == job.VerdictCancelled || e.Kind.strict() && (", New: "o.Verdict == job.VerdictCancelled || false && ("},
	{Name: "a follower that comes early starts", By: Task, File: strictGo, Old: "e.early = m.tooEarly(e)", New: "e.early = false && m.tooEarly(e)"},

	// enqueued again
	{Name: "a job that has ended is never open again", By: Whole, File: againGo, Old: "case w == job.UntilDone:\n\t\treturn true", New: "case w == job.UntilDone:\n\t\treturn false"},
	{Name: "a window is over at once", By: Whole, File: againGo, Old: "return at > int64(r.At)*1e9+int64(w)", New: "return at > int64(r.At)*1e9-int64(w)"},
	{Name: "unfinished jobs are open to another enqueue", By: Whole, File: againGo, Old: "case r.Unfinished() || w == 0:", New: "case w == 0:"},
	{Name: "a done job does not say how far it reaches", By: Task, File: againGo, Old: "if to <= done.Origin || e.src.tier < 0 && others == 0 {", New: "if true || to <= done.Origin || e.src.tier < 0 && others == 0 {"},

	// orders, proofs, progress
	{Name: "orders to forget ignored", By: Task, File: "dedupe/memory.go", Old: "for i := range e.Segment.Forget {", New: "for i := range e.Segment.Forget[:0] {"},
	{Name: "a proof older than the ownership record", By: Task, File: ownGo, Old: "if m.phase == proving && m.proofs > 0 {", New: "if m.phase == proving && m.proofs > 1000 {", Seeds: 150_000},

	// what a task alone does not show
	{Name: "read again from too late", By: Whole, File: "consumer/reread.go", Old: "r.Fetch(ctx, at)", New: "r.Fetch(ctx, at+1)"},
	{Name: "Reconcile not asked", By: Whole, File: "processor/attempt.go", Old: "m.Unsure && r.reconcile != nil {", New: "m.Unsure && r.reconcile == nil {"},
	{Name: "a lease never ends", By: Whole, File: "consumer/lease.go", Old: "return t != nil && t.valid(now)\n", New: "return t != nil\n"},
}
