// Package retrytopics plans retries: what the topics of a job topic and a group are called, which retry tier a delay
// goes to, how long a failed attempt waits, and in which order a tier's records come due.
//
// Three parts that share nothing but their subject: names (names.go), the Plan (plan.go) and the DelayQueue (queue.go).
//
// Every package that needs a topic name calls this one; nobody else glues names together. It knows no Kafka client, reads
// no clock, draws no random number and starts no goroutine: times and random numbers are the caller's.
package retrytopics
