package docs

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// The shapes of the vectors of docs/log.md.
type (
	logVector struct {
		Value   string         `json:"value"`
		Fault   string         `json:"fault,omitempty"`
		Owner   *ownerVector   `json:"owner,omitempty"`
		Segment *segmentVector `json:"segment,omitempty"`
	}
	ownerVector struct {
		Instance   string `json:"instance"`
		Process    string `json:"process"`
		Member     string `json:"member"`
		Group      string `json:"group"`
		Generation int32  `json:"generation"`
		Intake     int64  `json:"intake"`
	}
	segmentVector struct {
		Epoch     int64            `json:"epoch"`
		Frontiers []frontierVector `json:"frontiers,omitempty"`
		Receipts  []receiptVector  `json:"receipts,omitempty"`
		Marks     []receiptVector  `json:"marks,omitempty"`
		Release   string           `json:"release"`
		Forget    []string         `json:"forget,omitempty"`
	}
	frontierVector struct {
		Topic  string `json:"topic"`
		Offset int64  `json:"offset"`
	}
	receiptVector struct {
		State    string `json:"state"`
		Identity string `json:"identity"`
		KeyHash  string `json:"key_hash"`
		Digest   string `json:"digest"`
		Origin   int64  `json:"origin"`
		Attempt  uint32 `json:"attempt"`
		Hop      uint32 `json:"hop,omitempty"`
		Gen      uint32 `json:"gen,omitempty"`
		Code     string `json:"code,omitempty"`
		Repeats  bool   `json:"repeats,omitempty"`
		Result   string `json:"result,omitempty"`
	}
)

func receiptVectors(rs []dedupe.Receipt) (out []receiptVector) {
	for i := range rs {
		r := &rs[i]
		v := receiptVector{State: r.State.String(), Identity: r.Identity.String(), KeyHash: fmt.Sprintf("%016x", r.KeyHash), Digest: fmt.Sprintf("%016x", r.Digest),
			Origin: r.Origin, Attempt: r.Attempt, Hop: r.Hop, Gen: r.Gen, Repeats: r.Repeats, Result: hex.EncodeToString(r.Result)}
		if r.Code != job.CodeNone {
			v.Code = r.Code.String()
		}
		out = append(out, v)
	}
	return out
}

// vectorOf is how docs/log.md writes what a value says.
func vectorOf(value []byte) logVector {
	v := logVector{Value: hex.EncodeToString(value)}
	e, err := dedupe.Decode(value)
	version := new(dedupe.VersionError)
	switch {
	case errors.As(err, &version):
		v.Fault = fmt.Sprintf("version %d", version.Version)
	case err != nil:
		v.Fault = "damaged"
	case e.Owner != nil:
		o := e.Owner
		v.Owner = &ownerVector{o.Instance, o.Process, o.Member, o.Group, o.Generation, o.Intake}
	default:
		s := &segmentVector{Epoch: e.Segment.Epoch, Receipts: receiptVectors(e.Segment.Receipts), Marks: receiptVectors(e.Segment.Marks), Release: e.Segment.Release.String()}
		for _, f := range e.Segment.Frontiers {
			s.Frontiers = append(s.Frontiers, frontierVector{hex.EncodeToString(f.Topic[:]), f.Offset})
		}
		for _, j := range e.Segment.Forget {
			s.Forget = append(s.Forget, j.String())
		}
		v.Segment = s
	}
	return v
}

// The vectors of the receipt log say what the codec makes of their bytes, and the codec writes those bytes.
func TestLogVectors(t *testing.T) {
	vectors(t, "log", func(t *testing.T, v logVector) {
		value, err := hex.DecodeString(v.Value)
		if err != nil {
			t.Fatal(err)
		}
		want, _ := json.Marshal(v)
		if got, _ := json.Marshal(vectorOf(value)); string(got) != string(want) {
			t.Errorf("it says\n%s\nthe page\n%s", got, want)
		}
		e, err := dedupe.Decode(value)
		if err != nil {
			return
		}
		written := []byte(nil)
		if e.Owner != nil {
			written = dedupe.AppendOwner(nil, e.Owner)
		} else {
			written = dedupe.AppendSegment(nil, e.Segment)
		}
		if hex.EncodeToString(written) != v.Value {
			t.Errorf("it is written as %x", written)
		}
	})
}
