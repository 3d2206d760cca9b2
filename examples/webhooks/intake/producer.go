package intake

import (
	"github.com/waybill-dev/waybill/examples/webhooks/hook"
	"github.com/waybill-dev/waybill/producer"
)

// NewProducer makes a producer that writes deliveries as the relay reads them.
func NewProducer(c producer.Config) (*producer.Producer, error) {
	c.Codec = hook.Codec // both ends must name one codec; the default would write the bytes as a JSON string
	return producer.New(c)
}
