// Package audit is the format of the audit topic: one line of JSON for each thing that somebody, or an instance on its own
// authority, did to jobs: redrives, discards, rewinds, changes of topics.
//
// Who writes to a group's audit topic makes the record here and produces it with its own client; who reads it decodes it
// here. The package knows no Kafka client and reads no clock.
package audit
