// Package e2e is the end-to-end suite: whole groups of real worker processes against the embedded broker and against a real
// Kafka, killed, stopped and joined under load, and judged by package checker from ledgers and topics alone. It holds tests
// and nothing else; nobody imports it.
//
// How it is laid out. story_test.go is the one story that runs on both brokers: staff_test.go starts and ends its worker
// processes (this test binary again, see worker_test.go), load_test.go makes and enqueues the jobs, jobs_test.go handles
// them, judge_test.go asks the checker. The real_*_test.go files hold what only a real Kafka can show: the broker's clock,
// configurations as stored, trimming, static members, joins, an operator's reset, SASL and TLS, a rolling deploy. Their
// instances run in the test's process (rig_test.go). In real_upgrade_test.go half of the story's worker processes are built
// from an earlier commit (earlier_test.go), which WAYBILL_UPGRADE_FROM may name.
//
// A story that fails is looked into with its ledgers and its workers' logs: `go test -artifacts -outputdir /tmp/story ...`
// keeps them.
//
// WAYBILL_KAFKA decides whether the real ones run; see internal/realkafka.
package e2e
