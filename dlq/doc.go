// Package dlq is the dead letters: what a letter looks like on the wire, and how an operator lists, shows, exports and
// redrives them.
//
// The engine makes letters with Record (or Truncated, when a letter is too large for its topic) and produces them itself.
// Tools open a Client. The codec is pure and may be used by anyone; only client.go and its neighbours (scan.go, list.go,
// redrive.go) talk to Kafka. The package never changes or removes a letter: its topic keeps everything, and what became
// of a letter stands in the audit topic.
//
// One job may leave several records in the topic, since filing is repeated until it is acked. Letters are therefore one
// per (identity, generation, digest): the Client shows the first of such copies and counts them.
package dlq
