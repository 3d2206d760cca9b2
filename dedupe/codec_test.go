package dedupe

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/job"
)

func identity(b byte) (id job.Identity) {
	for i := range id {
		id[i] = b
	}
	return id
}

var sample = Segment{
	Epoch:     300,
	Frontiers: []Frontier{{Topic: TopicID{15: 1}, Offset: 1000}, {Topic: TopicID{15: 2}, Offset: -1}},
	Receipts: []Receipt{
		{Identity: identity(0xaa), State: Done, Attempt: 1, Origin: 1000, KeyHash: 0x1122334455667788, Digest: 0x99},
		{Identity: identity(0xbb), State: Dead, Attempt: 10, Origin: 999, Hop: 9, Gen: 1, Code: job.CodePanic, Result: []byte("no")},
	},
	Marks: []Receipt{{Identity: identity(0xcc), State: Started, Attempt: 0, Origin: 7, Hop: 300}},
}

var steps = Segment{Epoch: 300, Receipts: []Receipt{
	{Identity: identity(0xaa), State: Step, Attempt: 0, Origin: 7, Hop: 1, Result: bytes.Repeat([]byte{0xee}, MaxResult+1)},
	{Identity: identity(0xbb), State: Done, Attempt: 1, Origin: 8, Result: []byte("no")},
}}

var again = Segment{Epoch: 300, Receipts: []Receipt{
	{Identity: identity(0xaa), State: Done, Attempt: 1, Origin: 7, Repeats: true},
	{Identity: identity(0xbb), State: Done, Attempt: 1, Origin: 8, Result: []byte("no")},
}}

var forget = Segment{Epoch: -1, Forget: []job.Identity{identity(0xaa), identity(0xbb)}}

// The golden bytes are the format: if this test fails, either the change is a mistake or it needs a new version.
func TestGoldenFormat(t *testing.T) {
	owner := Owner{Instance: "a", Process: "p1", Member: "m", Group: "g", Generation: 5, Intake: 100}
	cases := []struct {
		name  string
		entry Entry
		value []byte
		want  string
	}{
		{"owner", Entry{Owner: &owner}, AppendOwner(nil, &owner),
			"01 01 0161 027031 016d 0167 0a c801 a234d2fe"},
		{"segment", Entry{Segment: &sample}, AppendSegment(nil, &sample),
			"01 02 d804 02 00000000000000000000000000000001 d00f 00000000000000000000000000000002 01" +
				"02 07 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 8877665544332211 9900000000000000 d00f" +
				"fe bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb 0000000000000000 0000000000000000 01 09 01 0a 02 01 6e6f" +
				"01 2b cccccccccccccccccccccccccccccccc 0000000000000000 0000000000000000 0e ac02 00 7280fec0"},
		{"steps", Entry{Segment: &steps}, AppendSegment(nil, &steps),
			"02 02 d804 00 02 aa aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 0000000000000000 0000000000000000 0e 01 00 8102" + strings.Repeat("ee", 257) +
				"87 bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb 0000000000000000 0000000000000000 02 02 6e6f 00 17881d5f"},
		{"released", Entry{Segment: &Segment{Epoch: 5, Marks: sample.Marks, Release: Released}}, AppendSegment(nil, &Segment{Epoch: 5, Marks: sample.Marks, Release: Released}),
			"01 02 0a 00 00 02 2b cccccccccccccccccccccccccccccccc 0000000000000000 0000000000000000 0e ac02 00" +
				"03 00000000000000000000000000000000 0000000000000000 0000000000000000 00 bb98e76f"},
		{"suspects left", Entry{Segment: &Segment{Epoch: 5, Release: LeftSuspects}}, AppendSegment(nil, &Segment{Epoch: 5, Release: LeftSuspects}),
			"01 02 0a 00 00 01 0b 00000000000000000000000000000000 0000000000000000 0000000000000000 00 01 07228ed2"},
		{"again", Entry{Segment: &again}, AppendSegment(nil, &again),
			"03 02 d804 00 02 07 01 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 0000000000000000 0000000000000000 0e" +
				"87 00 bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb 0000000000000000 0000000000000000 02 02 6e6f 00 5011cdb8"},
		{"forget", Entry{Segment: &forget}, AppendSegment(nil, &forget),
			"04 02 01 00 00 00 02 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb 391c4785"},
		{"empty segment", Entry{Segment: &Segment{}}, AppendSegment(nil, &Segment{}), "01 02 00 00 00 00 cbc838c8"},
	}
	for _, c := range cases {
		if got := hex.EncodeToString(c.value); got != strings.ReplaceAll(c.want, " ", "") {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, strings.ReplaceAll(c.want, " ", ""))
		}
		got, err := Decode(c.value)
		if err != nil || !reflect.DeepEqual(got, c.entry) {
			t.Errorf("%s: decoded %+v, %v", c.name, got, err)
		}
	}
}

func TestAppendKeepsWhatIsThere(t *testing.T) {
	value := AppendSegment([]byte("head"), &sample)
	if !bytes.Equal(value[:4], []byte("head")) || !bytes.Equal(value[4:], AppendSegment(nil, &sample)) {
		t.Error("AppendSegment depends on what stands before it")
	}
	value = AppendOwner([]byte("head"), &Owner{Group: "g"})
	if !bytes.Equal(value[:4], []byte("head")) || !bytes.Equal(value[4:], AppendOwner(nil, &Owner{Group: "g"})) {
		t.Error("AppendOwner depends on what stands before it")
	}
}

func TestAppendLeavesOutWhatCannotBeSaid(t *testing.T) {
	s := Segment{Receipts: []Receipt{{Origin: 5}, {State: states, Origin: 6},
		{State: Done, Attempt: 1, Origin: 7, Result: bytes.Repeat([]byte{1}, MaxResult+9)}}}
	e, err := Decode(AppendSegment(nil, &s))
	if err != nil || len(e.Segment.Receipts) != 1 {
		t.Fatalf("%+v, %v", e.Segment, err)
	}
	if r := e.Segment.Receipts[0]; r.Origin != 7 || len(r.Result) != MaxResult {
		t.Errorf("origin %d, %d bytes of result", r.Origin, len(r.Result))
	}
}

func TestEveryFlippedBitIsFound(t *testing.T) {
	for name, value := range map[string][]byte{"segment": AppendSegment(nil, &sample), "owner": AppendOwner(nil, &Owner{Group: "g"})} {
		for bit := range len(value) * 8 {
			bad := bytes.Clone(value)
			bad[bit/8] ^= 1 << (bit % 8)
			if _, err := Decode(bad); !errors.Is(err, ErrMalformed) {
				t.Fatalf("%s, bit %d: %v", name, bit, err)
			}
		}
		for n := range value {
			if _, err := Decode(value[:n]); !errors.Is(err, ErrMalformed) {
				t.Fatalf("%s, first %d bytes: %v", name, n, err)
			}
		}
	}
}

// sealed frames a body, whatever it holds.
func sealed(text string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		panic(err)
	}
	return appendChecksum(b, 0)
}

func TestDecodeRefuses(t *testing.T) {
	receipt := strings.Repeat("00", 32)
	for name, text := range map[string]string{
		"an order to forget nothing":    "04 02 01 00 00 00 00",
		"more to forget than bytes":     "04 02 01 00 00 00 03" + receipt,
		"no kind":                       "01",
		"unknown kind":                  "01 03",
		"a byte too many":               "01 02 00 00 00 00 00",
		"number not in shortest form":   "01 02 8000 00 00 00",
		"number without end":            "01 02 ffffffffffffffffffffff 00 00 00",
		"more receipts than bytes":      "01 02 00 00 ffffffffffffffff7f 00",
		"more frontiers than bytes":     "01 02 00 ffffffff0f 00 00",
		"receipt without state":         "01 02 00 00 01 00" + receipt + "00 00",
		"hop 0 written":                 "01 02 00 00 01 0f" + receipt + "00 00 00",
		"generation 0 written":          "01 02 00 00 01 17" + receipt + "00 00 00",
		"attempt 1 written":             "01 02 00 00 01 27" + receipt + "00 01 00",
		"code 0 written":                "01 02 00 00 01 47" + receipt + "00 00 00",
		"hop beyond 32 bits":            "01 02 00 00 01 0f" + receipt + "00 8080808010 00",
		"result cut short":              "01 02 00 00 01 87" + receipt + "00 ff 00",
		"owner's text longer than all":  "01 01 ffffffffffffffffff01 00",
		"generation beyond 32 bits":     "01 01 00000000 8080808080 01 00",
		"a mark after the release":      "01 02 00 00 00 02 03" + receipt + "00 03" + receipt + "00",
		"a release with a code":         "01 02 00 00 00 01 43" + receipt + "00 05",
		"version 3 without need":        "03 02 00 00 01 07 00" + receipt + "00 00",
		"version 3 with an unknown bit": "03 02 00 00 01 07 03" + receipt + "00 00",
	} {
		if e, err := Decode(sealed(text)); !errors.Is(err, ErrMalformed) || e.Owner != nil || e.Segment != nil {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
}

func TestDecodeOfANewerVersion(t *testing.T) {
	_, err := Decode(sealed("05 aabbcc"))
	var v *VersionError
	if !errors.As(err, &v) || v.Version != 5 || v.Newest != version4 || !strings.Contains(err.Error(), "upgrade") {
		t.Errorf("got %v", err)
	}
	if errors.Is(err, ErrMalformed) {
		t.Error("a newer version is not damage")
	}
}

func drawReceipt(t *rapid.T) Receipt {
	u32 := rapid.OneOf(rapid.Uint32Range(0, 3), rapid.Uint32())
	r := Receipt{
		Gen: u32.Draw(t, "gen"), Hop: u32.Draw(t, "hop"), Attempt: u32.Draw(t, "attempt"),
		State:   State(rapid.IntRange(int(Retrying), int(Done)).Draw(t, "state")),
		Origin:  rapid.OneOf(rapid.Int64Range(0, 1000), rapid.Int64()).Draw(t, "origin"),
		KeyHash: rapid.Uint64().Draw(t, "key"), Digest: rapid.Uint64().Draw(t, "digest"),
		Code: job.Code(rapid.Byte().Draw(t, "code")),
	}
	copy(r.Identity[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
	r.Identity[0] |= 1 // all zeros is no job's
	r.Repeats = rapid.IntRange(0, 9).Draw(t, "repeats") == 0
	sizes := []int{0, 0, 1, 2, MaxResult}
	if r.State != Done {
		sizes = append(sizes, MaxResult+1, MaxProgress)
	}
	if n := rapid.SampledFrom(sizes).Draw(t, "result"); n > 0 {
		r.Result = bytes.Repeat([]byte{byte(n)}, n)
	}
	return r
}

func drawReceipts(t *rapid.T) (list []Receipt) {
	for range rapid.IntRange(0, 4).Draw(t, "receipts") {
		list = append(list, drawReceipt(t))
	}
	return list
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Segment{Epoch: rapid.Int64().Draw(t, "epoch"), Receipts: drawReceipts(t), Marks: drawReceipts(t),
			Release: rapid.SampledFrom([]Release{Held, LeftSuspects, Released}).Draw(t, "release")}
		for i := range rapid.IntRange(0, 4).Draw(t, "frontiers") {
			s.Frontiers = append(s.Frontiers, Frontier{TopicID{byte(i)}, rapid.Int64().Draw(t, "offset")})
		}
		for range rapid.IntRange(0, 2).Draw(t, "forget") {
			s.Forget = append(s.Forget, identity(rapid.Byte().Draw(t, "forgotten")))
		}
		value := AppendSegment(nil, &s)
		if limit := SegmentOverhead + len(s.Frontiers)*MaxFrontierSize + (len(s.Receipts)+len(s.Marks))*MaxReceiptSize + 16*len(s.Forget); len(value) > limit {
			t.Fatalf("%d bytes, the documented bound is %d", len(value), limit)
		}
		if e, err := Decode(value); err != nil || !reflect.DeepEqual(e, Entry{Segment: &s}) {
			t.Fatalf("wrote %+v\n read %+v, %v", s, e.Segment, err)
		}
		text := rapid.String()
		o := Owner{text.Draw(t, "instance"), text.Draw(t, "process"), text.Draw(t, "member"), text.Draw(t, "group"),
			rapid.Int32().Draw(t, "generation"), rapid.Int64().Draw(t, "intake"), Place{}}
		if e, err := Decode(AppendOwner(nil, &o)); err != nil || !reflect.DeepEqual(e, Entry{Owner: &o}) {
			t.Fatalf("wrote %+v\n read %+v, %v", o, e.Owner, err)
		}
	})
}

func TestSizeOfAnOrdinaryReceipt(t *testing.T) {
	s := Segment{Epoch: 1 << 30}
	for i := range 1000 {
		s.Receipts = append(s.Receipts, Receipt{State: Done, Attempt: 1, Origin: 1<<40 + int64(i), KeyHash: math.MaxUint64, Digest: math.MaxUint64})
	}
	if n := len(AppendSegment(nil, &s)); n > 36*1000 {
		t.Errorf("1000 receipts take %d bytes", n)
	}
}

// FuzzDecode holds the codec to its word that each value has one encoding. The input is a body; the frame is added, or the
// checksum would keep the fuzzer out.
func FuzzDecode(f *testing.F) {
	for _, v := range [][]byte{AppendSegment(nil, &sample), AppendSegment(nil, &again), AppendSegment(nil, &Segment{Release: Released}), AppendSegment(nil, &Segment{}), AppendOwner(nil, &Owner{Group: "g", Intake: 9})} {
		f.Add(v[:len(v)-checksumSize])
	}
	f.Add([]byte{2, 0})
	f.Add([]byte("\x04\x02\x01\x00\x00\x00\x01aaaaaaaaaaaaaaaa"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := Decode(body); err == nil && len(body) < 7 {
			t.Fatalf("%x was accepted", body)
		}
		value := appendChecksum(bytes.Clone(body), 0)
		e, err := Decode(value)
		var v *VersionError
		switch {
		case err != nil:
			if !errors.Is(err, ErrMalformed) && !errors.As(err, &v) {
				t.Fatalf("an error of no class: %v", err)
			}
		case e.Owner != nil && e.Segment == nil:
			if again := AppendOwner(nil, e.Owner); !bytes.Equal(again, value) {
				t.Fatalf("%x was read as %+v, which is %x", value, e.Owner, again)
			}
		case e.Segment != nil && e.Owner == nil:
			if again := AppendSegment(nil, e.Segment); !bytes.Equal(again, value) {
				t.Fatalf("%x was read as %+v, which is %x", value, e.Segment, again)
			}
		default:
			t.Fatalf("%x is neither or both: %+v", value, e)
		}
	})
}
