package dedupe_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/dedupe"
)

func TestPlace(t *testing.T) {
	for _, p := range []dedupe.Place{{}, {Cluster: "MkU3OEVBNTcwNTJENDM2Qg", Topic: dedupe.TopicID{1, 0xff, 3}}, {Cluster: "a/b"}} {
		got, err := dedupe.ReadPlace(dedupe.AppendPlace(nil, p))
		if err != nil || got != p {
			t.Errorf("%+v reads as %+v, %v", p, got, err)
		}
	}
	id := dedupe.TopicID{7}.String()
	for _, bad := range []string{"", "x", "/", id, "c/" + id + "A", "c/" + id[1:], "c/" + strings.Repeat("=", len(id)), strings.Repeat("c", 2000) + "/" + id} {
		if p, err := dedupe.ReadPlace([]byte(bad)); !errors.Is(err, dedupe.ErrMalformed) || p != (dedupe.Place{}) {
			t.Errorf("%q reads as %+v, %v", bad, p, err)
		}
	}
}
