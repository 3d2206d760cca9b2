package task

import "github.com/waybill-dev/waybill/job"

// leaving is the entries that are out of their lanes and wait for the ack of what replaces them, by job. Every head of a lane
// is asked for, and nearly none is among them: a count for each of a few thousand classes of identities spares most the map.
type leaving struct {
	jobs  map[job.Identity]*Entry
	marks []uint32 // how many of jobs are of each class
}

// leavingClasses is a power of two, and some ten times what leaves at once where many jobs fail.
const leavingClasses = 4096

// mark is the count of an identity's class. Who chooses ids may fill one class, which costs a look into the map.
func (l *leaving) mark(id *job.Identity) *uint32 {
	return &l.marks[identityLane(*id)%leavingClasses]
}

func (l *leaving) add(e *Entry) {
	if l.jobs == nil {
		l.jobs, l.marks = map[job.Identity]*Entry{}, make([]uint32, leavingClasses)
	}
	id := &e.env.Identity
	if l.jobs[*id] == nil {
		*l.mark(id)++
	}
	l.jobs[*id] = e
}

func (l *leaving) remove(e *Entry) {
	id := &e.env.Identity
	if l.jobs[*id] != nil {
		*l.mark(id)--
		delete(l.jobs, *id)
	}
}

func (l *leaving) has(id *job.Identity) bool {
	return len(l.jobs) > 0 && *l.mark(id) > 0 && l.jobs[*id] != nil
}
