package task

import "time"

// ends says of each reason what it is about and what ends it, for the status page. A pause that knows more has a text of
// its own.
var ends = [reasons]string{
	Restoring:     "the receipts of the task are being read; it goes on by itself",
	Backpressure:  "the task holds as many jobs as its share of Config.Memory allows; it goes on when half of them are finished",
	Ahead:         "too many jobs are finished above an unfinished one; it goes on when that one finishes",
	NotDue:        "the tier holds as many waiting jobs as it may; it goes on when half of them are due and done",
	UnackedWrites: "a record cannot be written; it is tried again until it is acked",
	Layout:        "the partition is beyond the group's layout; it goes on when the group is grown",
	Truncated:     "the place to read from lies beyond the end of the log; stop the group and set its offset",
	Lease:         "no heartbeat was answered within the session timeout; it goes on with the next that is",
	Stopped:       "only an operator can mend what the instance's log says",
	Missing:       "a topic does not exist; it goes on when it does",
	Recreated:     "the topic was deleted and made anew; stop the group and set its offset",
	Denied:        "the brokers refuse to serve the partition; it is asked for again until they do",
	KeyBlocked:    "too many jobs of one key follow one that is not finished; it goes on when half of them are gone",
	Foreign:       "the receipt log tells of another cluster; stop the group and set its offset",
	Storage:       "the receipts cannot be kept on the instance's disk; it goes on when they can",
}

// Text is what the reason is about and what ends it, in one sentence.
func (r Reason) Text() string {
	if r < reasons {
		return ends[r]
	}
	return ""
}

// PauseReason is one reason of one partition.
type PauseReason struct {
	Reason Reason    `json:"reason"`
	Since  time.Time `json:"since"`
	Text   string    `json:"text"` // what it is about and what ends it
}

func (p *pauses) list() (out []PauseReason) {
	for r := range reasons {
		if p.has(r) {
			text := p.texts[r]
			if text == "" {
				text = ends[r]
			}
			out = append(out, PauseReason{r, time.Unix(0, p.since[r]), text})
		}
	}
	return out
}

// explain gives a reason that is set a text of its own.
func (p *pauses) explain(r Reason, text string) {
	if text == "" || !p.has(r) {
		return
	}
	if p.texts == nil {
		p.texts = map[Reason]string{}
	}
	p.texts[r] = text
}

// pauseFor sets a reason of one source with a text of its own.
func (m *Machine) pauseFor(s *source, r Reason, text string) {
	m.pause(s, r, true)
	s.pauses.explain(r, text)
}

// Hold sets or lifts a pause reason that the instance knows of: Layout, Lease, Stopped. Without a lease no attempt is
// offered either (I12), nor while stopped, when the store may not know what is done.
func (m *Machine) Hold(r Reason, on bool, now int64) {
	m.now = now
	for _, s := range m.sources {
		m.pause(s, r, on)
	}
	delete(m.texts, r)
	if m.holds &^= 1 << r; on {
		m.holds |= 1 << r
	}
}

// HoldFor is Hold with a text that says more than Reason.Text: what it is about and what ends it.
func (m *Machine) HoldFor(r Reason, text string, now int64) {
	m.Hold(r, true, now)
	m.texts[r] = text
	for _, s := range m.sources {
		s.pauses.explain(r, text)
	}
}

// HoldTopic sets or lifts a reason of one partition alone: Missing or Recreated.
func (m *Machine) HoldTopic(topic string, r Reason, on bool, text string, now int64) {
	m.now = now
	s := m.byTopic[topic]
	if s == nil {
		return
	}
	if s.pauses.has(r) != on {
		m.asked, m.askAt = 0, 0 // where it starts may be known now
	}
	m.pause(s, r, on)
	s.pauses.explain(r, text)
}
