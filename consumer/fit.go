package consumer

import "github.com/twmb/franz-go/pkg/kgo"

// fetchFit makes the fetches of the group's client smaller while batches inflate: what would be left closed need not come
// over the network. The poller's alone.
type fetchFit struct {
	all, part int32 // the client's settings, in bytes
	now       int32 // of part
}

// leastFetch is what is fetched of a partition at least, in bytes: batches of others that do not inflate may come with it.
const leastFetch = 64 << 10

func newFetchFit(cl *kgo.Client) *fetchFit {
	f := &fetchFit{}
	f.all, _ = cl.OptValue(kgo.FetchMaxBytes).(int32)
	f.part, _ = cl.OptValue(kgo.FetchMaxPartitionBytes).(int32)
	f.now = f.part
	return f
}

// follow is what to fetch of a partition when batches become so many times their size, and whether that is news.
func (f *fetchFit) follow(times int64) (part int32, changed bool) {
	part = f.part
	if times > inflates {
		part = int32(max(min(leastFetch, int64(f.part)), int64(f.part)*inflates/times))
	}
	if part == f.now || part > f.now && part < f.part && part < f.now+f.now/4 { // not for each little change
		return f.now, false
	}
	f.now = part
	return part, true
}
