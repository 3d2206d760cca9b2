package task

import (
	"strings"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
)

// Reason says why a partition is paused. Reasons form a set: a partition flows when the set is empty.
type Reason uint8

// The reasons, in the order in which they are shown.
const (
	Restoring     Reason = iota // the receipts are being read; ends with the restore
	Backpressure                // the task holds as much as its budget allows; ends when half of it is finished
	Ahead                       // too many finished jobs above an unfinished one; ends when that one finishes
	NotDue                      // the tier holds as many waiting jobs as it may; ends a fetch wait before half of them are due
	UnackedWrites               // a copy, letter, audit entry or receipt cannot be written; ends when it is acked
	Layout                      // the partition is not in the layout; ends when an operator grows it
	Truncated                   // the start lies beyond the end of the log; an operator must reset the group's offset
	Lease                       // the instance cannot prove that it is still a member; ends with the next heartbeat
	Stopped                     // the log or the task is in a state only an operator can mend; see the text
	Missing                     // a topic that the partition needs does not exist; ends when it does
	Recreated                   // the topic was deleted and made anew; an operator must say where to begin in the new one
	Denied                      // the brokers refuse to serve the partition, for want of a right for instance; ends when they do
	Storage                     // the instance's disk is full or its receipts are being read anew; ends when there is room
	KeyBlocked                  // too many jobs of one key follow one that is not finished (Policy.MaxFollowers); ends when half of them are gone
	Foreign                     // the receipt log is of another cluster; an operator must say where to begin in this one
	reasons
)

var reasonText = [reasons]string{"restoring", "backpressure", "ahead", "not_due", "unacked_writes", "layout", "truncated", "lease", "stopped", "missing", "recreated", "denied", "storage", "key_blocked", "foreign"}

// String is the reason's name as shown by the CLI and the status page.
func (r Reason) String() string {
	if r < reasons {
		return reasonText[r]
	}
	return "unknown"
}

// MarshalText is String, for the status page.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// pauses is a set of reasons, each with its since-when.
type pauses struct {
	bits  uint16
	since [reasons]int64
	texts map[Reason]string // of those that have more to say than ends
}

// set puts r into the set or takes it out and reports whether the set became, or ceased to be, empty.
func (p *pauses) set(r Reason, on bool, now int64) (flipped bool) {
	bit := uint16(1) << r
	if on == (p.bits&bit != 0) {
		return false
	}
	was := p.bits
	p.bits ^= bit
	if on {
		p.since[r] = now
	} else {
		delete(p.texts, r)
	}
	return (was == 0) != (p.bits == 0)
}

func (p *pauses) has(r Reason) bool { return p.bits&(1<<r) != 0 }

func (p *pauses) String() string {
	var s []string
	for _, r := range p.list() {
		s = append(s, r.Reason.String())
	}
	return strings.Join(s, ",")
}

// source is one partition the task reads: of the job topic (tier -1) or of a tier.
type source struct {
	topic  string
	id     dedupe.TopicID
	idText string // id as it stands in the ids of records that have none
	tier   int    // -1 for the job topic, else its place among the machine's sources
	delay  time.Duration

	ready    bool  // next is known and fetching was started there
	astray   bool  // the broker says that next is outside the log: to be looked up again
	cut      int64 // astray: one more than the offset from which on the log is another; 0: that is not known
	below    bool  // of what this epoch has claimed: not to be committed before the task is owned again
	next     int64 // offset after the last record read
	durable  int64 // frontier of the last acked segment, -1 before the first
	from     int64 // where this ownership began to read
	lost     int64 // records below the log start that were never read
	win      window
	held     int   // entries not settled
	doubts   int64 // how many more records may have been running when the owner before died
	doubtful int64 // below which offset
	full     int64 // since when as many are held as may be; 0: they are not
	short    int64 // since when there is no room for more, or lanes were cut for that; 0: there is
	shortAt  int64 // next then
	bytes    int
	leaders  leaders
	pauses   pauses
	wait     waiting
}

// frontier is the offset below which everything is settled in a segment up to limit.
func (s *source) frontier(limit uint64) int64 {
	s.win.advance(limit)
	if o, ok := s.win.first(); ok {
		return o
	}
	return s.next
}

// ours reports whether the frontier may be committed as the group's offset: not in a topic that is another by now, nor while
// the log does not say it.
func (s *source) ours() bool { return !s.below && !s.pauses.has(Recreated) }
