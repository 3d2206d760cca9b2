package task

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/waybill-dev/waybill/job"
)

// A key with more followers than its kind allows (Policy.MaxFollowers) pauses the job topic until half of them are gone.

// crowd is told of a job that stands behind another: with more of its key than its kind allows no more is read. Only those count
// that this owner has read past, since those before them may still have to be read.
func (s *strict) crowd(e *Entry, next int64) {
	hash := job.KeyHash(e.env.Key)
	q := s.keys[hash]
	if q == nil { // it was too large to follow
		return
	}
	if q.most == 0 || e.Kind.Policy.MaxFollowers < q.most {
		q.most = e.Kind.Policy.MaxFollowers
	}
	if q.followers(next) >= q.most {
		s.full[hash] = q
	}
}

// followers are the jobs behind the first that entered the job topic before an offset.
func (q *queue) followers(next int64) int {
	n, _ := slices.BinarySearchFunc(q.all, next, func(b blocker, o int64) int { return cmp.Compare(b.origin, o) })
	return n - 1
}

// balanceKeys pauses the job topic for keys with too many followers, until half of them are gone.
func (m *Machine) balanceKeys() {
	if m.strict == nil {
		return
	}
	var head *blocker
	for hash, q := range m.strict.full {
		if q.followers(m.readTo(hash)) <= q.most/2 {
			delete(m.strict.full, hash)
		} else if b := &q.all[0]; head == nil || b.origin < head.origin {
			head = b
		}
	}
	m.pause(m.main, KeyBlocked, head != nil)
	if head == nil {
		m.strict.told = job.Identity{}
	} else if m.strict.told != head.id {
		m.strict.told = head.id
		m.main.pauses.explain(KeyBlocked, m.blockedBy(head))
	}
}

// blockedBy names the job that holds up its key, and says what ends that.
func (m *Machine) blockedBy(b *blocker) string {
	name := b.name
	if name == "" {
		name = "a job"
	}
	what := "it goes on when that one, or half of what follows it, has ended"
	if b.dead {
		what = "that one is dead and holds its key (Policy.OnDead): redrive its letter, or forget its receipt to let the others pass"
	}
	return fmt.Sprintf("Policy.MaxFollowers jobs of one key follow %s, which entered at offset %d of %s/%d; %s", name, b.origin, m.cfg.Topic, m.cfg.Partition, what)
}
