package consumer

import "github.com/twmb/franz-go/pkg/kgo"

// detachFrom is the size of a record, in bytes, from which its task keeps a copy of it. A record as the client hands it out
// is a few slices of a whole batch once decompressed, or of the answer of a broker with all partitions in it: some
// megabytes, which one unfinished job would keep from being collected, and which no budget counts. Of small records
// thousands stand in such a buffer, most of which are held at the same time; copying them would cost more than it frees.
const detachFrom = 2 << 10

// detached is r, or for a large record a copy that shares no memory with other records.
func detached(r *kgo.Record) *kgo.Record {
	if lengthOf(r) < detachFrom {
		return r
	}
	return apart(r)
}

// lengthOf is how much a record refers to of the buffer in which it came.
func lengthOf(r *kgo.Record) int {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Value)
	}
	return n
}

// apart is a copy of a record that shares no memory with other records.
func apart(r *kgo.Record) *kgo.Record {
	buf := make([]byte, 0, lengthOf(r))
	own := func(b []byte) []byte {
		if b == nil { // which is not the same as empty
			return nil
		}
		at := len(buf)
		buf = append(buf, b...)
		return buf[at:len(buf):len(buf)]
	}
	d := *r // in a block of its own: the client allocates the records of a batch together
	d.Key, d.Value = own(r.Key), own(r.Value)
	d.Headers = make([]kgo.RecordHeader, len(r.Headers))
	for i, h := range r.Headers {
		d.Headers[i] = kgo.RecordHeader{Key: h.Key, Value: own(h.Value)}
	}
	return &d
}
