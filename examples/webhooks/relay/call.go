package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/examples/webhooks/hook"
	"github.com/waybill-dev/waybill/job"
)

// MaxRetryAfter is the longest a subscriber can put a delivery off.
const MaxRetryAfter = time.Hour

// caller sends deliveries to one subscriber.
type caller struct {
	subscriber Subscriber
	client     *http.Client
}

// deliver is the handler: one request. Its error says what becomes of the delivery; see the package comment.
func (c *caller) deliver(ctx context.Context, j *job.Job[hook.Delivery]) error {
	event := string(j.Header(hook.EventHeader))
	if !c.subscriber.wants(event) {
		return nil
	}
	r, err := c.request(ctx, event, j)
	if err != nil {
		return job.Dead(err)
	}
	resp, err := c.client.Do(r)
	if err != nil {
		if u := (*url.Error)(nil); errors.As(err, &u) {
			err = u.Err // without the URL, which may hold a password
		}
		return fmt.Errorf("%s did not answer: %w", c.subscriber.Name, err)
	}
	defer resp.Body.Close()
	return verdict(resp, time.Now())
}

// request makes the POST. The transport sends a request with an Idempotency-Key again by itself when a kept-alive
// connection turns out to be dead: that is what the key is for.
func (c *caller) request(ctx context.Context, event string, j *job.Job[hook.Delivery]) (*http.Request, error) {
	// A copy: the transport may still read it for a moment after the handler has returned, when j is no longer ours.
	body := bytes.Clone(j.Args)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.subscriber.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	key := j.IdempotencyKey()
	for name, value := range map[string]string{
		"Content-Type":       "application/json",
		"User-Agent":         "waybill-webhooks",
		hook.HeaderEvent:     event,
		hook.HeaderDelivery:  j.ID,
		hook.HeaderAttempt:   strconv.Itoa(j.Attempt),
		hook.HeaderKey:       key,
		hook.HeaderSignature: hook.Sign([]byte(c.subscriber.Secret), key, event, body),
	} {
		r.Header.Set(name, value)
	}
	return r, nil
}

// verdict turns an answer into the handler's error.
func verdict(resp *http.Response, now time.Time) error {
	text := excerpt(resp.Body)
	status := resp.StatusCode
	if status >= 200 && status < 300 {
		return nil
	}
	err := fmt.Errorf("status %d: %s", status, text)
	switch status {
	case http.StatusGone:
		return job.Discard("the subscriber answered 410")
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if d := retryAfter(resp.Header.Get("Retry-After"), now); d > 0 {
			return job.RetryAfter(d, err)
		}
		return err
	case http.StatusRequestTimeout, http.StatusTooEarly:
		return err
	}
	if status >= 500 {
		return err
	}
	return job.Dead(err)
}

// excerpt reads what an error text may quote, and some more, so that the connection can be used again.
func excerpt(body io.Reader) string {
	const quoted, read = 200, 64 << 10
	var text strings.Builder
	_, _ = io.CopyN(&text, body, quoted) // the status has been said; a body cut short changes nothing
	_, _ = io.CopyN(io.Discard, body, read)
	return strings.ToValidUTF8(strings.TrimSpace(text.String()), "?")
}

// retryAfter reads a Retry-After (RFC 9110, 10.2.3: seconds or a date); 0 is none that says anything.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		if seconds > uint64(MaxRetryAfter/time.Second) {
			return MaxRetryAfter
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), MaxRetryAfter)
}
