// Package realkafka starts a real Apache Kafka 4.4.0 (KRaft, no ZooKeeper, no
// containers) as child processes of a test or of the command next door, so that
// what kfake cannot show (ACLs, replication, broker death, fencing, LogAppendTime)
// is tested against the software users run.
//
// # Who may call it
//
// Tests of any package of this module, benchmarks, and cmd/realkafka. Library
// packages never import it. It needs Java 17 or later; Maven (mvn) is needed only
// until the jars are in the cache.
//
// # How to use it from a test
//
//	func TestMain(m *testing.M) { os.Exit(realkafka.Main(m)) }
//
//	func TestCommitSurvivesFailover(t *testing.T) {
//		c := realkafka.ForTest(t, realkafka.Options{Brokers: 3}) // own cluster
//		...
//	}
//
//	func TestRoundTrip(t *testing.T) {
//		c := realkafka.Shared(t) // one broker per test process; use topic names of your own
//		...
//	}
//
// # Environment
//
//	WAYBILL_KAFKA           unset: the suite is skipped; "auto": clusters are
//	                        started; "host:port,...": tests attach to that cluster
//	                        (plaintext, no SASL), and tests that need to control
//	                        brokers or their configuration are skipped.
//	WAYBILL_KAFKA_REQUIRED  "1": what would be skipped fails instead. For CI.
//	WAYBILL_KAFKA_CACHE     where the jars live; default <user cache>/waybill/kafka-4.4.0.
//	                        About 100 MB; filled by the first start, which takes some
//	                        ten seconds longer. To be removed as a whole, when nothing
//	                        runs from it.
//
// # What differs from Kafka's defaults
//
// Automatic topic creation is off; replication factors and min ISR follow the number
// of brokers (3 brokers: 3 and 2); the internal topics have 8 partitions; a silent
// broker is fenced after 4 s instead of 9; deleted topics leave the disk after 1 s; the first
// rebalance of a group is not delayed; session timeouts from 1 s are accepted; the
// heap is small. [Options.Properties] overrides any of it.
//
// # What it never does
//
// It never listens beyond 127.0.0.1, never adopts data of an earlier cluster, never
// changes the caller's working directory or environment, and never leaves a process
// behind: each child is owned by one goroutine that starts and reaps it, [Cluster.Close]
// joins them all, and on Linux the kernel kills them when the parent dies in any other
// way, SIGKILL included. On macOS there is no such kernel service: a SIGKILLed parent
// leaves its brokers running there. Other systems are refused by [Start]. A parent that
// dies without Close leaves its temporary directory (waybill-kafka-*) behind.
package realkafka
