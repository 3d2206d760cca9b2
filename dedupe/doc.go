// Package dedupe is what a task remembers: receipts, the log that holds them, and the store that is the fold of that log.
//
// A receipt is the durable outcome of one job. Receipts are facts: they are joined (Join), never overwritten, so that
// replays, duplicates and late writers change nothing; and they decide which records are dead (Receipt.Stale). The receipt
// log is one Kafka partition per task. Its records are entries: ownership records, whose offset is the epoch, and segments
// of receipts and frontiers claimed under an epoch. A Store is the fold of that log up to its Position, and nothing else:
// whoever folds the same entries has the same store (I13). The log is its write-ahead log.
//
//	            AppendOwner, AppendSegment              LogReader.Read, Decode            Store.Apply
//	owner ────────────────────────────────▶ receipt log ────────────────────▶ Entry ─────────────────▶ Store ──▶ Get
//
// The engine (package consumer and its rooms) calls this package; handlers never meet it. A new Store must pass the
// conformance suite in dedupetest. Only LogReader knows a Kafka client; everything else is pure. The package writes no
// record, commits no offset, starts no goroutine that outlives a call, reads no clock, and decides nothing about jobs
// beyond what a receipt makes stale.
package dedupe
