package dedupe

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// Place is what a receipt log tells of: partitions of one incarnation of a job topic in one cluster. Offsets in the log mean
// nothing anywhere else, while its receipts are true of the jobs that they name wherever these are. The zero Place says nothing.
type Place struct {
	Cluster string  `json:"cluster,omitempty"` // id, empty when the cluster has none
	Topic   TopicID `json:"topic"`             // the job topic
}

// PlaceHeader is the name of the header of an ownership record that says of which place the log is its writer's. A header, so
// that who does not know of it reads the record as ever.
const PlaceHeader = "waybill-of"

// maxPlace bounds what is read as a Place.
const maxPlace = 1024

// AppendPlace appends the value of the header: the cluster's id, a slash and the topic's id as TopicID.String has it.
func AppendPlace(dst []byte, p Place) []byte {
	dst = append(append(dst, p.Cluster...), '/')
	return append(dst, p.Topic.String()...)
}

// ReadPlace is the inverse of AppendPlace. What does not read is ErrMalformed.
func ReadPlace(value []byte) (p Place, err error) {
	cluster, topic, ok := cutLast(string(value))
	id, err := base64.RawURLEncoding.Strict().DecodeString(topic)
	if !ok || err != nil || len(id) != len(p.Topic) || len(value) > maxPlace {
		return Place{}, fmt.Errorf("%w: header %s is not a cluster's id, a slash and a topic's id", ErrMalformed, PlaceHeader)
	}
	return Place{cluster, TopicID(id)}, nil
}

func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+1:], true
}
