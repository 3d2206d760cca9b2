// Package dedupetest is the conformance suite of dedupe.Store: what every store of receipts must do, run first by the one
// in memory.
//
// Run puts three kinds of questions to a store: cases that each name one rule; random logs, compared after every entry with
// a fold so plain that it can be checked by reading (I13: the store is the fold of the log); and, independent of the store,
// the algebra of dedupe.Join by enumeration (I17: what a receipt makes stale, every greater one does). Entries go through
// the wire format on their way, and their memory is overwritten afterwards.
//
// Only tests import this package. It knows no implementation of a store.
package dedupetest
