// Package pool runs attempts: one Pool per job class, with a fixed number of workers, fed by every task of the instance.
//
// A pool keeps three kinds of queue: fresh jobs, due retries, and one per kind that takes batches. When fresh jobs and
// retries both wait, one in four starts goes to a retry. An entry may come with a chain of others that are to be run behind
// it, however it ends, unless it is cancelled. Workers take several short jobs at a time, so that the price of a hand-over is shared, and one at a time as soon as
// jobs take long, so that none waits behind another while a worker is idle. Nothing here bounds the queues: what is in them was admitted within the tasks' limits.
//
// Only package consumer may use it. It knows nothing of Kafka, receipts or order: an entry it is given may run at once.
package pool
