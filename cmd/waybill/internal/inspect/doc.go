// Package inspect is what the command line knows of a running group without being part of it: offsets, members, the newest
// ownership records and the records that wait in retry tiers. It only reads, joins no group and asks no worker.
//
// The commands of waybill call it. Nothing it says is a promise: every figure was true at some moment while it was asked.
package inspect
