package disk

import (
	"fmt"
	"testing"
)

// What is merged: small segments always, those of whole flushes in a crowd; never across buckets, nor what is forgotten soon.
func TestPick(t *testing.T) {
	cfg := Config{FlushAt: 100, MergeAt: 400, Crowd: 12}
	of := func(bucket int64, n, count int) (out []*segment) {
		for i := range n {
			out = append(out, &segment{bucket: bucket, order: uint64(bucket)*10 + uint64(i), count: count})
		}
		return out
	}
	all := func(parts ...[]*segment) (out []*segment) {
		for _, p := range parts {
			out = append(out, p...)
		}
		return out
	}
	for _, c := range []struct {
		name  string
		segs  []*segment
		limit int64
		round uint64
		want  string // bucket: from, to in the list
	}{
		{"nothing", nil, 0, 100, "none"},
		{"whole flushes", of(1, 12, 100), 0, 100, "none"},
		{"small ones", of(1, 16, 3), 0, 100, "0 to 16"},
		{"small ones, not enough", of(1, 11, 3), 0, 100, "none"},
		{"small ones that are a flush together", of(1, 4, 30), 0, 100, "0 to 4"},
		{"a small one between whole ones", all(of(1, 3, 100), of(1, 1, 3), of(1, 3, 100)), 0, 100, "none"},
		{"small ones of two buckets", all(of(1, 1, 3), of(2, 1, 3)), 0, 100, "none"},
		{"two small ones, and no more to come", all(of(1, 2, 3), of(2, 1, 100)), 0, 100, "0 to 2"},
		{"two small ones, and more may come", all(of(1, 2, 3), of(2, 1, 100)), 0, 13, "none"},
		{"two small ones that are forgotten soon", all(of(1, 2, 3), of(2, 1, 100)), 2, 100, "none"},
		{"a crowd in the newest bucket", of(1, 13, 100), 0, 100, "0 to 4"},
		{"a crowd: the youngest bucket that has come to rest", all(of(1, 5, 100), of(2, 5, 100), of(3, 3, 100)), 0, 100, "5 to 9"},
		{"a crowd: what is large stays", all(of(1, 13, 400), of(2, 1, 100)), 0, 100, "none"},
		{"a crowd that is forgotten soon", all(of(1, 14, 100), of(2, 1, 100)), 2, 100, "none"},
	} {
		got := "none"
		if run := cfg.pick(c.segs, c.limit, c.round); run != nil {
			for i := range c.segs {
				if c.segs[i] == run[0] {
					got = fmt.Sprintf("%d to %d", i, i+len(run))
				}
			}
			for _, s := range run {
				if s.bucket != run[0].bucket {
					t.Errorf("%s: across buckets", c.name)
				}
			}
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
