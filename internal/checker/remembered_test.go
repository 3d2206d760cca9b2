package checker

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash/crc32"
	"os"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// logOf makes the records of a receipt log out of bodies.
func logOf(bodies ...[]byte) (out []Record) {
	for i, b := range bodies {
		value := binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
		out = append(out, Record{Topic: "t.g.receipts", Offset: int64(i), Time: ms(1000 + 10*i), Value: value})
	}
	return out
}

func ownerBody() []byte { return []byte{1, 1, 0, 0, 0, 0, 0, 0} }

var jobsID = [16]byte{1}

// segmentBody claims a frontier of the job topic; words come after it.
func segmentBody(epoch, frontier int64, receipts, marks []said) []byte {
	b := binary.AppendVarint([]byte{1, 2}, epoch)
	b = append(binary.AppendUvarint(b, 1), jobsID[:]...)
	b = binary.AppendVarint(b, frontier)
	for _, list := range [][]said{receipts, marks} {
		b = binary.AppendUvarint(b, uint64(len(list)))
		for _, w := range list {
			b = append(append(append(b, w.state), w.job[:]...), make([]byte, 16)...)
			b = binary.AppendVarint(b, w.origin)
		}
	}
	return b
}

// remembering is a run of one job, done under epoch 0, with its receipt.
func remembering() Input {
	at := ledger.Pos{Topic: "t", Partition: 0, Offset: 0}
	e := ledger.Event{Process: "w", Record: at, Kind: "k", Key: "u", ID: "i", Attempt: 1, Fence: 0, Order: ledger.ByKey, Digest: ledger.DigestOf(nil)}
	called, returned := e, e
	called.Type, called.Time = ledger.Called, ms(1001)
	returned.Type, returned.Time, returned.Result = ledger.Returned, ms(1002), ledger.Done
	done := said{job: nameOf(&job{identity: identity{kind: "k", key: "u", id: "i"}}), state: stateDone}
	return Input{
		Ledger: []ledger.Event{called, returned},
		Topics: map[string][]Record{
			"t":            {{Topic: "t", Time: ms(1000), Key: []byte("u"), Headers: []Header{{"waybill-kind", []byte("k")}, {"waybill-id", []byte("i")}}}},
			"t.g.receipts": logOf(ownerBody(), segmentBody(0, 1, []said{done}, nil)),
		},
		TopicIDs:  map[string][16]byte{"t": jobsID},
		Committed: Offsets{"t": {0: 1}},
		Commits:   map[string][]Commit{"t.g.receipts": {{Topic: "t", Offset: 1, Ours: true, LogEnd: 2}}},
		Jobs:      []JobTopic{{Topic: "t", Receipts: "t.g.receipts"}},
	}
}

func TestRemembered(t *testing.T) {
	done := said{job: nameOf(&job{identity: identity{kind: "k", key: "u", id: "i"}}), state: stateDone}
	log := func(bodies ...[]byte) func(*Input) {
		return func(in *Input) { in.Topics["t.g.receipts"], in.Commits = logOf(bodies...), nil }
	}
	seen := func(cs ...Commit) func(*Input) { return func(in *Input) { in.Commits["t.g.receipts"] = cs } }
	for _, c := range []struct {
		name string
		do   func(*Input)
		want Rule // empty: none
	}{
		{"a good run", func(*Input) {}, ""},
		{"a frontier above what is settled", log(ownerBody(), segmentBody(0, 1, nil, nil)), RuleI3},
		{"a void frontier above it", log(ownerBody(), ownerBody(), segmentBody(0, 1, nil, nil), segmentBody(1, 1, []said{done}, nil)), ""},
		{"a commit before its segment", seen(Commit{Topic: "t", Offset: 1, Ours: true, LogEnd: 1}), RuleI3},
		{"a commit of an operator", seen(Commit{Topic: "t", Offset: 1, LogEnd: 1}), ""},
		{"a commit that goes back", seen(Commit{Topic: "t", Offset: 1, Ours: true, LogEnd: 2}, Commit{Topic: "t", Offset: 0, Ours: true, LogEnd: 2}), RuleI2},
		{"the same behind an operator's", seen(Commit{Topic: "t", Offset: 1, Ours: true, LogEnd: 2}, Commit{Topic: "t", LogEnd: 2}, Commit{Topic: "t", Ours: true, LogEnd: 2}), ""},
		{"a frontier that goes back", log(ownerBody(), segmentBody(0, 1, []said{done}, nil), ownerBody(), segmentBody(2, 0, nil, nil)), RuleI2},
		{"a run behind its receipt", func(in *Input) {
			log(ownerBody(), segmentBody(0, 1, []said{done}, nil), ownerBody())(in)
			for i := range in.Ledger {
				in.Ledger[i].Fence = 2
			}
		}, RuleI13},
		{"an entry that does not read", log(ownerBody(), []byte{9, 9}, segmentBody(0, 1, []said{done}, nil)), RuleLog},
		{"a run without its mark", func(in *Input) { in.Kinds = map[string]Kind{"k": {Guarantee: AtMostOnce}} }, RuleAtMostOnce},
		{"a run with its mark", func(in *Input) {
			in.Kinds = map[string]Kind{"k": {Guarantee: AtMostOnce}}
			mark := done
			mark.state = stateStarted
			log(ownerBody(), segmentBody(0, 0, nil, []said{mark}), segmentBody(0, 1, []said{done}, nil))(in)
		}, ""},
	} {
		in := remembering()
		c.do(&in)
		res := Check(in)
		if c.want == "" && !res.OK() || c.want != "" && (res.Counts[c.want] == 0 || len(res.Counts) != 1) {
			t.Errorf("%s: want %q, got\n%v", c.name, c.want, res)
		}
	}
}

// The vectors of docs/log.md are read here too.
func TestLogVectors(t *testing.T) {
	page, err := os.Open("../../docs/log.md")
	if err != nil {
		t.Fatal(err)
	}
	defer page.Close()
	lines, n := bufio.NewScanner(page), 0
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), `{"value"`) {
			continue
		}
		n++
		var v struct {
			Value, Fault string
			Owner        *struct{}
			Segment      *struct {
				Epoch                              int64
				Receipts, Marks, Frontiers, Forget []any
			}
		}
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		value, _ := hex.DecodeString(v.Value)
		e, err := readEntry(value)
		switch {
		case (err != nil) != (v.Fault != ""):
			t.Errorf("%s: %v", lines.Text(), err)
		case err != nil:
		case e.owner != (v.Owner != nil):
			t.Errorf("%s: an owner: %v", lines.Text(), e.owner)
		case v.Segment != nil && (e.epoch != v.Segment.Epoch || len(e.words)-e.marks != len(v.Segment.Receipts) || e.marks != len(v.Segment.Marks) ||
			len(e.frontiers) != len(v.Segment.Frontiers) || len(e.forget) != len(v.Segment.Forget)):
			t.Errorf("%s: %+v", lines.Text(), e)
		}
	}
	if n == 0 {
		t.Error("no vectors")
	}
}
