package docs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/producer"
)

const root = "../.."

// block is the lines of all fenced blocks of docs/wire.md and docs/log.md with that info string.
func block(t *testing.T, info string) []string {
	t.Helper()
	var pages []byte
	for _, name := range []string{"wire.md", "log.md"} {
		page, err := os.ReadFile(filepath.Join(root, "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, page...)
	}
	var lines []string
	in := false
	for line := range strings.Lines(string(pages)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case line == "```"+info:
			in = true
		case strings.HasPrefix(line, "```"):
			in = false
		case in:
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		t.Fatalf("no page has a block %q", info)
	}
	return lines
}

// vectors calls each with every vector of that name.
func vectors[T any](t *testing.T, name string, each func(t *testing.T, v T)) {
	t.Helper()
	for i, line := range block(t, "jsonl "+name) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			d := json.NewDecoder(strings.NewReader(line))
			d.DisallowUnknownFields()
			var v T
			if err := d.Decode(&v); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			each(t, v)
		})
	}
}

// octets are the bytes of a text, nil for none.
func octets(s *string) []byte {
	if s == nil {
		return nil
	}
	return append([]byte{}, *s...)
}

func TestPartitionVectors(t *testing.T) {
	type vector struct {
		Key      string `json:"key"`
		Murmur2  int32  `json:"murmur2"`
		Positive int32  `json:"positive"`
		Of6      int32  `json:"of_6"`
		Of12     int32  `json:"of_12"`
		Of50     int32  `json:"of_50"`
	}
	vectors(t, "partition", func(t *testing.T, v vector) {
		key := append([]byte{}, v.Key...)
		if got := job.PartitionOf(key, math.MaxInt32); got != v.Positive || v.Murmur2&math.MaxInt32 != v.Positive {
			t.Errorf("positive is %d", got)
		}
		client := producer.Partitioner().ForTopic("emails")
		for n, want := range map[int]int32{6: v.Of6, 12: v.Of12, 50: v.Of50} {
			if got := job.PartitionOf(key, int32(n)); got != want {
				t.Errorf("of %d partitions it belongs in %d", n, got)
			}
			if got := client.Partition(&kgo.Record{Key: key}, n); got != int(want) {
				t.Errorf("of %d partitions the producer takes %d", n, got)
			}
		}
	})
}

func TestIdentityVectors(t *testing.T) {
	type vector struct {
		Kind     string  `json:"kind"`
		Key      *string `json:"key"`
		ID       string  `json:"id"`
		Hashed   string  `json:"hashed"`
		Identity string  `json:"identity"`
	}
	vectors(t, "identity", func(t *testing.T, v vector) {
		if got := job.IdentityOf(v.Kind, octets(v.Key), v.ID).String(); got != v.Identity {
			t.Errorf("the identity is %s", got)
		}
		if v.Hashed == "" {
			return
		}
		input, err := hex.DecodeString(v.Hashed)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(input); hex.EncodeToString(sum[:16]) != v.Identity {
			t.Errorf("the input hashes to %x", sum[:16])
		}
	})
}

func TestDigestVectors(t *testing.T) {
	type vector struct {
		Payload *string `json:"payload"`
		XXH64   *string `json:"xxh64"`
		Digest  string  `json:"digest"`
	}
	vectors(t, "digest", func(t *testing.T, v vector) {
		got := job.DigestOf(octets(v.Payload))
		if fmt.Sprintf("%016x", got) != v.Digest {
			t.Errorf("the digest is %016x", got)
		}
		if v.XXH64 == nil {
			if v.Payload != nil {
				t.Error("only a null payload has no hash")
			}
			return
		}
		if got := job.KeyHash(octets(v.Payload)); fmt.Sprintf("%016x", got) != *v.XXH64 { // the same hash
			t.Errorf("XXH64 is %016x", got)
		}
	})
}

func TestDeterministicIDVectors(t *testing.T) {
	type vector struct {
		Kind    string  `json:"kind"`
		Key     *string `json:"key"`
		Payload string  `json:"payload"`
		ID      string  `json:"id"`
	}
	vectors(t, "deterministic-id", func(t *testing.T, v vector) {
		if got := producer.DeterministicID(v.Kind, octets(v.Key), []byte(v.Payload)); got != v.ID {
			t.Errorf("the id is %s", got)
		}
	})
}

// theRecord is where the vectors of headers stand.
func theRecord() *job.Raw {
	return &job.Raw{Topic: "emails", TopicID: "0123", Partition: 3, Offset: 42, Time: time.UnixMilli(1767323045678).UTC(),
		Key: []byte("u1"), Value: []byte(`{"user_id":"u1"}`)}
}

func TestJobVectors(t *testing.T) {
	type vector struct {
		Headers [][2]string `json:"headers"`
		Kind    string      `json:"kind"`
		ID      string      `json:"id"`
		Fault   string      `json:"fault"`
	}
	vectors(t, "job", func(t *testing.T, v vector) {
		var headers []job.Header
		for _, h := range v.Headers {
			headers = append(headers, job.Header{Key: h[0], Value: []byte(h[1])})
		}
		var e job.Envelope
		job.Decode(&e, theRecord(), headers, job.TrustJob, "")
		if e.Fault != v.Fault || v.Fault == "" && (e.Kind != v.Kind || e.ID != v.ID) {
			t.Errorf("kind %q, id %q, fault %q", e.Kind, e.ID, e.Fault)
		}
	})
}

// The letter that the page shows is the one that is written.
func TestLetterOfThePage(t *testing.T) {
	var e job.Envelope
	first := time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC)
	m := job.Message{Kind: "email.welcome", ID: "i1", Version: 2, ContentType: "application/json", Headers: []job.Header{{Key: "tenant", Value: []byte("a")}}}
	r := theRecord()
	job.Decode(&e, r, job.ProducerHeaders(nil, &m), job.TrustJob, "")
	e.Identify("email.welcome", "email.welcome")
	e.Hop = 1
	_, _, headers := dlq.Record(&dlq.Filing{Envelope: &e, Disposition: dlq.Explicit, Code: job.CodeDead, Text: "no such user", Attempts: 2,
		First: first, Last: first.Add(10500 * time.Millisecond), Handler: "email.welcome", Instance: "host-1"})
	var got bytes.Buffer
	for _, h := range headers {
		fmt.Fprintf(&got, "%s: %s\n", h.Key, h.Value)
	}
	if want := strings.Join(block(t, "text letter"), "\n") + "\n"; got.String() != want {
		t.Errorf("the letter is\n%s\nthe page says\n%s", got.String(), want)
	}
}

// The page names every code and every disposition there is.
func TestPageListsTheClosedSets(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "wire.md"))
	if err != nil {
		t.Fatal(err)
	}
	for c := job.CodeNone + 1; ; c++ {
		if _, known := job.ParseCode(c.String()); !known {
			break
		}
		if !bytes.Contains(page, []byte("`"+c.String()+"`")) {
			t.Errorf("code %s is missing", c)
		}
	}
	for _, d := range dlq.Dispositions() {
		if !bytes.Contains(page, []byte("`"+d.String()+"`")) {
			t.Errorf("disposition %s is missing", d)
		}
	}
}
