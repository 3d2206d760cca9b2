// Package setup compares the topics of a group with what the design asks of them, and mends what can be mended safely.
//
// A plan is made by a pure comparison of what is wanted with what a cluster has; only Look and Apply speak to a broker.
// consumer calls it at start, cmd for `waybill setup`. It never deletes a topic, never lowers a retention that somebody
// raised for other reasons, and never changes a partition count.
package setup
