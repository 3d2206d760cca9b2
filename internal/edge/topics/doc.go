// Package topics holds the cases at the edge that are about topics and groups: topics that are missing, have the wrong
// number of partitions, are deleted, made anew or grown; offsets that are lost, beyond the end or set by an operator. It has
// no code but its tests; docs/edge.md says what each of them shows.
package topics
