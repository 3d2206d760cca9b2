package demo

import (
	"fmt"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/checker"
)

// EventType says what an Event is about. The set is closed.
type EventType string

// The types, with the fields each carries beside Time, Elapsed and, for readers, Text.
const (
	Began         EventType = "began"          // Brokers, Topic, Group
	Chapter       EventType = "chapter"        // the next part of the story begins
	WorkerStarted EventType = "worker_started" // Worker, PID, Release
	WorkerReady   EventType = "worker_ready"   // Worker, PID, Release: it has joined the group
	WorkerEnded   EventType = "worker_ended"   // Worker, PID, Release, Signal, ExitStatus
	Progressed    EventType = "progress"       // Progress
	Letters       EventType = "letters"        // Letters: what waits in the dead letters, by cause
	Redriven      EventType = "redriven"       // Count
	Replayed      EventType = "replayed"       // Worker, Count: records read again; Runs: those of them that were run again
	Sabotaged     EventType = "sabotage"       // what was planted
	StoodStill    EventType = "stood_still"    // the machine slept, or was halted
	Account       EventType = "account"        // Result: the checker's; Count and Runs as of the replay
	Finished      EventType = "finished"       // OK, and in Text what was shown and what to try next
)

// Event is one thing that happened. It marshals to one line of JSON.
type Event struct {
	Type    EventType `json:"event"`
	Time    time.Time `json:"time"`
	Elapsed float64   `json:"elapsed_seconds"`
	Text    string    `json:"text,omitempty"`

	Brokers []string `json:"brokers,omitempty"`
	Topic   string   `json:"topic,omitempty"`
	Group   string   `json:"group,omitempty"`

	Worker     string `json:"worker,omitempty"`
	PID        int    `json:"pid,omitempty"`
	Release    int    `json:"release,omitempty"`     // of the handlers; 2 has the fix
	Signal     string `json:"signal,omitempty"`      // the one that ended the worker, such as SIGKILL
	ExitStatus *int   `json:"exit_status,omitempty"` // -1 for a worker that a signal ended before it could exit

	Progress *Progress       `json:"progress,omitempty"`
	Letters  []LetterGroup   `json:"letters,omitempty"`
	Count    int             `json:"count,omitempty"`
	Runs     *int            `json:"runs,omitempty"`
	Result   *checker.Result `json:"result,omitempty"`
	OK       *bool           `json:"ok,omitempty"`
}

// LetterGroup is the dead letters of one cause.
type LetterGroup struct {
	Kind        string `json:"kind"`
	Disposition string `json:"disposition"`
	Text        string `json:"text"` // of one of them
	Attempts    int    `json:"attempts"`
	Count       int    `json:"count"`
}

// Progress is how far the story is, as seen from outside the engine.
type Progress struct {
	Planned  int              `json:"planned"`
	Produced int              `json:"produced"`
	Done     int              `json:"done"`
	Unread   int64            `json:"unread"` // records of the job topic that are not settled
	Tiers    []TierProgress   `json:"tiers"`
	Letters  int              `json:"letters"` // records of the dead-letter topic
	Kinds    []KindProgress   `json:"kinds"`
	Workers  []WorkerProgress `json:"workers"`

	idle bool      // everything produced so far is settled
	late []string  // the partitions of which that is not true, and how far they are
	seen time.Time // not older than this
}

// summary is what is left to do, for the error of a step that took too long.
func (p *Progress) summary() string {
	parts := []string{fmt.Sprintf("%d of %d jobs are done, %d records of the job topic and %d of the tiers are not settled", p.Done, p.Planned, p.Unread, p.Waiting())}
	parts = append(parts, p.late...)
	for _, w := range p.Workers {
		parts = append(parts, fmt.Sprintf("%s is %s: %d tasks, %d attempts running", w.Worker, w.State, w.Tasks, w.Running))
	}
	return strings.Join(parts, "; ")
}

// Waiting is the sum of the tiers.
func (p *Progress) Waiting() (n int64) {
	for _, t := range p.Tiers {
		n += t.Waiting
	}
	return n
}

// TierProgress is how many jobs wait in one retry tier.
type TierProgress struct {
	Tier    string `json:"tier"`
	Waiting int64  `json:"waiting"`
}

// KindProgress is one kind.
type KindProgress struct {
	Kind     string `json:"kind"`
	Order    string `json:"order"`
	Planned  int    `json:"planned"`
	Produced int    `json:"produced"`
	Done     int    `json:"done"`
	Failures int    `json:"failures"` // attempts that did not end well
}

// WorkerProgress is one worker process, gone ones included.
type WorkerProgress struct {
	Worker   string `json:"worker"`
	PID      int    `json:"pid"`
	Release  int    `json:"release"`
	State    string `json:"state"` // joining, working, draining, exited, killed
	Tasks    int    `json:"tasks"`
	Running  int    `json:"running"`
	Attempts int    `json:"attempts"`
}
