package hook

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"github.com/waybill-dev/waybill/job"
)

// Kind is the one kind of all deliveries. The relay treats every event alike, so an event nobody has heard of yet needs no
// new code; a service whose events have different handlers would make each event a kind.
const Kind = "webhook.delivery"

// EventHeader is the job header that names the event.
const EventHeader = "webhook-event"

// Delivery is the body of a webhook exactly as it came in: what subscribers receive is the same to the byte.
type Delivery []byte

// Kind names it.
func (Delivery) Kind() string { return Kind }

// Codec carries a delivery as it is. Unlike job.Bytes it says that the bytes are JSON, which the tools print readably.
var Codec job.Codec = verbatim{job.Bytes}

type verbatim struct{ job.Codec }

func (verbatim) ContentType() string { return "application/json" }

// event is what may name an event: what fits into a URL's path, a header and a signature without escapes.
var event = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}$`)

// Options says how a delivery is enqueued. Its id is the sender's name for it, so that one sent twice is one job; when id is
// empty the producer makes one. The error says, for whoever sent it, what is wrong with the delivery.
func Options(name, id string, d Delivery) (*job.Options, error) {
	var errs []error
	if !event.MatchString(name) {
		errs = append(errs, fmt.Errorf("event: %q is no event's name; use 1 to 100 letters, digits, dots, underscores and hyphens", name[:min(len(name), 100)]))
	}
	if id != "" {
		if err := job.ValidateID(id); err != nil {
			errs = append(errs, err)
		}
	}
	if !json.Valid(d) {
		errs = append(errs, errors.New("body: is not JSON"))
	}
	return &job.Options{ID: id, Key: d.orderKey(), Headers: []job.Header{{Key: EventHeader, Value: []byte(name)}}}, errors.Join(errs...)
}

// orderKey keeps the deliveries of one repository in order, else those of one organization. Nil orders nothing.
func (d Delivery) orderKey() []byte {
	var about struct {
		Repository struct {
			FullName string `json:"full_name"`
		}
		Organization struct{ Login string }
	}
	if json.Unmarshal(d, &about) != nil { // another sender's shape
		return nil
	}
	for _, name := range []string{about.Repository.FullName, about.Organization.Login} {
		if name != "" {
			return []byte(name)
		}
	}
	return nil
}
