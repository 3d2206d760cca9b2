// Package demo is the story behind `waybill demo`: a shop whose jobs are run by three worker processes while one of them is
// killed, some jobs fail and recover, some cannot succeed until a fix is deployed and their letters are redriven, and at the
// end the whole topic is read again from offset zero.
//
// The parent (Run) owns the broker, the topics, the producer and the worker processes; a worker (Work) is this program
// started again. They share nothing but Kafka and a folder: each worker writes what its handlers saw into a ledger file of
// its own, and at the end the parent has package checker judge all ledgers against the topics. What the story says of
// itself is therefore not what the engine says of itself.
//
//	story.go     the chapters, in order            process.go  a worker as the parent sees it
//	cluster.go   topics, sabotage by an operator   worker.go   a worker as it sees itself
//	watch.go     what is known while it runs       shop.go     the three kinds, their handlers and the workload
//	judge.go     the account at the end            event.go    what an observer is told
//	staff.go     hiring and dismissing workers     letters.go  the dead letters and their redrive
//	replay.go    the whole topic once more
//
// Only cmd may call it. It draws nothing: it tells an observer what happens.
package demo
