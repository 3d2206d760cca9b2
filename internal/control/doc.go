// Package control keeps what a whole group must agree on, as records of its compacted control topic: so far the layout,
// which is every retry tier a job topic ever had and its partition count.
//
// consumer, internal/setup and cmd call it. It decides nothing about topics and never creates one.
package control
