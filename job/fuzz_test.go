package job

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"
)

// Fuzzed headers are text, "name=value" a line: most mutations of the seeds stay headers.

func addSeeds(f *testing.F) {
	for _, s := range []string{
		"", "a=b\n", goldenJob, goldenJob + goldenStamp, "waybill-kind=k\nwaybill-id=i\n" + goldenStamp,
		"waybill-kind=k\nwaybill-id=i\nwaybill-hop=0\nwaybill-delay=0\nwaybill-origin=t/0/0/0\n",
		"waybill-kind=k\nwaybill-id=i\nwaybill-hop=1\nwaybill-delay=9223372036854\nwaybill-origin=t/+1/2/-3\nwaybill-error=x\n",
		"ce_specversion=1.0\nce_type=com.example.made\nce_source=/shop\nce_id=7\n",
		"waybill-kind=k\nwaybill-id=i\nwaybill-at=9999-12-31T23:59:59-23:59\nwaybill-expires=0001-01-01T00:00:00Z\n",
	} {
		f.Add(s, []byte("key"), []byte("payload"), int64(1767323045678))
		f.Add(s, []byte(nil), []byte(nil), int64(0))
	}
}

func fuzzed(headers string, key, value []byte, ms int64, trust Trust) (*Envelope, *Raw) {
	raw := &Raw{Topic: "emails", TopicID: "0123", Partition: 3, Offset: 42, Time: time.UnixMilli(ms).UTC(), Key: key, Value: value}
	e := new(Envelope)
	Decode(e, raw, parse(headers), trust, "")
	return e, raw
}

// sound is what holds for every decoded record, good or bad.
func sound(t *testing.T, headers string, e *Envelope, raw *Raw) {
	t.Helper()
	if err := ValidateKind(e.Kind); err != nil || e.WireKind != e.Kind {
		t.Fatalf("kind %q, on the wire %q: %v", e.Kind, e.WireKind, err)
	}
	if err := ValidateID(e.ID); err != nil {
		t.Fatalf("id: %v", err)
	}
	if e.Fault != "" && (e.ID != placeID(raw) || e.Hop != 0 || e.Generation != 0 || Bounded(e.Fault) != e.Fault) {
		t.Fatalf("a fault, but not its own identity: %+v", e)
	}
	if e.Attempt < 1 || e.Delay < 0 || e.Version < 0 || e.Digest != DigestOf(raw.Value) || !bytes.Equal(e.Key, raw.Key) {
		t.Fatalf("out of bounds: %+v", e)
	}
	if _, err := ParseOrigin(e.Origin.String()); err != nil {
		t.Fatalf("origin: %v", err)
	}
	var users []Header
	for _, h := range parse(headers) {
		if !Owned(h.Key) {
			users = append(users, h)
		}
	}
	if !reflect.DeepEqual(users, e.Headers) {
		t.Fatalf("user headers %q, want %q", e.Headers, users)
	}
}

// copied is e after a hop under s, read again.
func copied(t *testing.T, e *Envelope, raw *Raw, s *Stamp) *Envelope {
	t.Helper()
	hs := CopyHeaders(nil, e, s)
	next := new(Envelope)
	Decode(next, raw, hs, TrustCopy, "")
	if next.Fault != "" {
		t.Fatalf("the copy of a good record is malformed: %s\n%s", next.Fault, lines(hs))
	}
	return next
}

func FuzzDecodeJob(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, headers string, key, value []byte, ms int64) {
		e, raw := fuzzed(headers, key, value, ms, TrustJob)
		sound(t, headers, e, raw)
		if e.Attempt != 1 || e.Hop != 0 || e.Generation != 0 || e.Delay != 0 || e.LastError != "" || e.LastCode != CodeNone ||
			!e.FirstFailure.IsZero() || e.Origin != (Origin{raw.Topic, raw.Partition, raw.Offset, raw.Time}) {
			t.Fatalf("engine headers count on the job topic: %+v", e)
		}
		if e.Fault != "" {
			return
		}
		next := copied(t, e, raw, &Stamp{Hop: 1, Delay: 10 * time.Second, At: e.At, Origin: e.Origin})
		if next.Hop != 1 || next.Delay != 10*time.Second {
			t.Fatalf("the stamp is lost: %+v", next)
		}
		next.Hop, next.Delay = 0, 0
		if !reflect.DeepEqual(next, e) {
			t.Fatalf("a hop changes the job:\n%+v\n%+v", e, next)
		}
		// without a fault the producer's headers alone say the same again
		again := new(Envelope)
		Decode(again, raw, ProducerHeaders(nil, &e.Message), TrustJob, "")
		if !reflect.DeepEqual(again, e) {
			t.Fatalf("ProducerHeaders change the job:\n%+v\n%+v", e, again)
		}
	})
}

// Decode, CopyHeaders, Decode is the identity.
func FuzzDecodeCopy(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, headers string, key, value []byte, ms int64) {
		e, raw := fuzzed(headers, key, value, ms, TrustCopy)
		sound(t, headers, e, raw)
		if e.Fault != "" {
			return
		}
		if e.LastCode == CodeNone {
			e.LastError = "" // a text without a code of ours is not handed on
		}
		s := &Stamp{
			Hop: e.Hop, Gen: e.Generation, Attempts: e.Attempt - 1, Delay: e.Delay, At: e.At, First: e.FirstFailure,
			Origin: e.Origin, Code: e.LastCode, Text: e.LastError,
		}
		if next := copied(t, e, raw, s); !reflect.DeepEqual(next, e) {
			t.Fatalf("a copy of a copy differs:\n%+v\n%+v\n%s", e, next, strings.TrimSpace(headers))
		}
	})
}
