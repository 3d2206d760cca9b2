// Package network holds the cases of the edge in which brokers do not answer as they should: they are slow, hang, are gone for
// a minute, or speak nonsense. docs/edge.md says what each must look like. It has tests only; nobody imports it.
package network
