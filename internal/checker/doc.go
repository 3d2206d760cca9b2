// Package checker judges a finished run from outside: what producers, handlers, the downstream and the driver wrote into
// a ledger (package ledger), and what stands in the topics afterwards. It proves that nothing accepted was lost, that
// every record is accounted for exactly once, and that order, dedupe, delays, fences and attempts were as promised.
//
// It shares no code with the engine and must not: it reads the wire headers (headers.go) and the receipt
// log (log.go) by parsers of its own, written from docs/wire.md and docs/log.md, so that a mistake of the engine cannot hide
// itself. It imports ledger and the
// standard library; its sub-package topics, which reads whole topics from a broker, is the only one with a Kafka client.
// Simulations, end-to-end runs, the demo and the bench may call it; the engine never does.
//
// How a run is judged. Check builds an index (index.go): a job is an identity (kind, key, id) in one partition of a job
// topic, with its records there, its copies in the tiers, its letters, and its calls, each from called to returned. Then
// every rule walks the index on its own:
//
//	settled.go   I1 I14 lost quiesced   what became of each job and record; account.go prints it (I11)
//	copies.go    copy letter redrive    chains of hops and dead letters are well-formed and carry what they must
//	order.go     I5                     jobs of one key overlap in nothing and start in log order
//	enqueues.go  again                  what may be enqueued again runs again, and only then
//	strict.go    I5                     and of strict kinds start when all before them have ended
//	reruns.go    I6 at_most_once        what was finished is not run again, unless a fault excuses it
//	remembered.go I2 I3 I13 log     what the receipt log says settles what frontiers and commits pass, and is what owners know
//	due.go       I7                     nothing runs before it is due
//	fences.go    I9 I12                 fencing tokens only rise; who lost its lease starts nothing
//	attempts.go  attempts poison        attempts are counted as they were burnt, and are not exceeded
//	effects.go   effect                 the downstream saw one effect a job, as far as that was promised
//	ledger.go    ledger identity        the ledger itself is whole, and handlers were told the job their record holds
//
// Faults excuse: faults.go says which, for how long, and whom. A run without fault events is excused nothing.
package checker
