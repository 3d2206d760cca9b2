// Package producer puts jobs onto Kafka.
//
// A Producer turns typed arguments into a record (kind, id, key and times in headers, see package job), routes it by kind
// to a job topic and waits until all in-sync replicas have it. Records are idempotent, and partitioned by Kafka's murmur2
// of the key: order by key and one effect per job hold only where every producer of a topic partitions like that.
//
// Any program may use it; inside Waybill only the commands and examples do. It never consumes, never retries a job under
// another id, never creates topics, and never drops a job silently: what Close could not write, it lists.
//
// What becomes of a job is one of three: Enqueue returned no error, then it is written; an error that is ErrUnknown, then
// it may be written, now or a little later; another error, then it is not. After ErrUnknown enqueue it again under the same
// Options.ID: two records of one (kind, key, id) are one job to the consumer.
package producer
