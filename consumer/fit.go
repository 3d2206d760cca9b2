package consumer

import "github.com/twmb/franz-go/pkg/kgo"

// fetchFit makes the fetches of the group's client smaller while batches inflate, since what would be left closed need not come
// over the network, and where many tasks share the budget: what fills a task at one go has it paused, which throws away what
// else was fetched of it. The poller's alone.
type fetchFit struct {
	all, part int32 // the client's settings, in bytes
	now       int32 // of part
}

// heldWorth is how many bytes of a task's budget there are for each that is fetched of a partition at once. A small record takes
// four times its size once it is held, and a task that flows has half of its budget free.
const heldWorth = 8

// leastFetch is what is fetched of a partition at least, in bytes: batches of others that do not inflate may come with it.
const leastFetch = 64 << 10

func newFetchFit(cl *kgo.Client) *fetchFit {
	f := &fetchFit{}
	f.all, _ = cl.OptValue(kgo.FetchMaxBytes).(int32)
	f.part, _ = cl.OptValue(kgo.FetchMaxPartitionBytes).(int32)
	f.now = f.part
	return f
}

// follow is what to fetch of a partition when batches become so many times their size and a task may hold share bytes, and
// whether that is news.
func (f *fetchFit) follow(times, share int64) (part int32, changed bool) {
	most := int64(f.part)
	fit := min(most, share/heldWorth)
	if times > inflates {
		fit = min(fit, most*inflates/times)
	}
	part = int32(max(fit, min(leastFetch, most)))
	if part == f.now || part > f.now && part < f.part && part < f.now+f.now/4 { // not for each little change
		return f.now, false
	}
	f.now = part
	return part, true
}
