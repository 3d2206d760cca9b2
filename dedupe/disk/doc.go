// Package disk keeps receipts on a local disk: one DB per instance, in it a dedupe.Store for each task.
//
// It is a cache of the receipt logs and has no log of its own. What is applied gathers in a table in memory; when enough has
// come together, the tables of all tasks are frozen, sorted and written as one segment: a sorted table of Pebble whose keys
// begin with a number nobody used before, taken in as it is. So nothing on disk ever overlaps, and Pebble has nothing to
// compact. Each step on disk, be it a flush, a merge or an expiry, is one atomic ingestion whose last key is a manifest: the
// segments that count, and for each task how far its log is folded in them. After a crash a task goes on from there, with the
// tail of its log.
//
//	Apply ──▶ active table ──▶ frozen table ──▶ segment ──▶ larger segment ──▶ excised, when its bucket is over
//	(task)    (task's own)     (worker: flush)  (worker: merge)
//	Get   ◀── active, frozen, then segments from the newest on: a filter of each in memory says where to look
//
// A job's newest receipt holds all that older ones say: it is joined with them before it is kept, so the first one found
// is the answer. Whoever asks before applying, as the engine does, pays for one search: what was found absent is
// remembered until the receipt comes.
//
// A task's goroutine owns its active table. One worker goroutine per DB writes; it and the tasks meet in task.mu, which a
// Get never takes. A DB never blocks on the network, and decides nothing about jobs: full and failed are states to be asked for
// (DB.Full, DB.Failed), the engine pauses and moves on. A directory that is damaged, of another cluster or of another
// version is moved aside, never guessed about: all of it can be read from the logs again (docs/store.md).
package disk
