package task

// Stats counts what became of the records of one task in this ownership. Every record read is in exactly one of Done,
// Hopped, Dead, Discarded, Expired, Duplicate, Stale, Conflict or Vanished, still held, or set aside.
type Stats struct {
	Read      int64 `json:"read"`
	Bytes     int64 `json:"bytes"`
	Held      int64 `json:"held"`
	HeldBytes int64 `json:"held_bytes"`
	Aside     int64 `json:"aside"` // of keys that have more than they may hold in memory: in the log until their turn
	Again     int64 `json:"again"` // how often one was read again
	Done      int64 `json:"done"`
	Hopped    int64 `json:"hopped"` // moved to a tier: retried, snoozed, scheduled, unknown
	Dead      int64 `json:"dead"`
	Discarded int64 `json:"discarded"`
	Expired   int64 `json:"expired"`
	Duplicate int64 `json:"duplicate"`
	Stale     int64 `json:"stale"`
	Conflict  int64 `json:"conflict"`
	Lost      int64 `json:"lost"`     // removed by retention before they were read, or read again
	Vanished  int64 `json:"vanished"` // of those: had been read, and set aside
	Attempts  int64 `json:"attempts"`
	Retried   int64 `json:"retried"`
	Cancelled int64 `json:"cancelled"`
	// Misrouted counts records of the job topic whose key belongs in another partition. They are worked on like all others;
	// but order and dedupe hold within a partition only.
	Misrouted int64 `json:"misrouted"`
}

// Settled is the sum of all ends.
func (s Stats) Settled() int64 {
	return s.Done + s.Hopped + s.Dead + s.Discarded + s.Expired + s.Duplicate + s.Stale + s.Conflict + s.Vanished
}

func (s *Stats) read(size int) {
	s.Read++
	s.Bytes += int64(size)
}

func (s *Stats) settled(end End) {
	switch end {
	case EndDone:
		s.Done++
	case EndDead:
		s.Dead++
	case EndDiscarded:
		s.Discarded++
	case EndExpired:
		s.Expired++
	case EndDuplicate:
		s.Duplicate++
	case EndStale:
		s.Stale++
	case EndConflict:
		s.Conflict++
	default:
		s.Hopped++
	}
}

// SourceStatus is one partition as the status page shows it.
type SourceStatus struct {
	Topic    string        `json:"topic"`
	Next     int64         `json:"next"`
	Frontier int64         `json:"frontier"` // durable
	Held     int           `json:"held"`
	Waiting  int           `json:"waiting"` // of those: not due
	Pauses   []PauseReason `json:"pauses"`
}

// Restore is how far the receipt log is read of a task that was taken over: from From on up to, not including, To. It begins
// where a store on disk knows no more, else at 0, which may lie before the log's start.
type Restore struct {
	From int64 `json:"from"`
	Next int64 `json:"next"` // the offset to be folded next
	To   int64 `json:"to"`
}

// Status is a task as the status page shows it.
type Status struct {
	Topic     string         `json:"topic"`
	Partition int32          `json:"partition"`
	Phase     string         `json:"phase"`
	Epoch     int64          `json:"epoch"`
	Receipts  int            `json:"receipts"`
	Restore   *Restore       `json:"restore,omitempty"` // while phase is restoring
	Offered   int            `json:"offered"`
	Writes    int            `json:"writes"`
	Suspects  int            `json:"suspects"` // held jobs that may have been running when the owner before died
	Stats     Stats          `json:"stats"`
	Sources   []SourceStatus `json:"sources"`
}

// Status describes the machine as it is now.
func (m *Machine) Status() Status {
	st := Status{Topic: m.cfg.Topic, Partition: m.cfg.Partition, Phase: phaseText[m.phase], Epoch: m.epoch, Receipts: m.cfg.Store.Len(),
		Offered: m.offered, Writes: m.writing, Suspects: m.doubtful, Stats: m.stats}
	if m.phase == restoring {
		st.Restore = &Restore{From: m.restored, Next: m.cfg.Store.Position().Next, To: m.epoch + 1}
	}
	for _, s := range m.sources {
		st.Sources = append(st.Sources, SourceStatus{Topic: s.topic, Next: s.next, Frontier: s.durable, Held: s.held,
			Waiting: s.wait.len(), Pauses: s.pauses.list()})
	}
	return st
}

// Stats returns the counters.
func (m *Machine) Stats() Stats { return m.stats }
