package producer

import (
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/connect"
)

// The sentinels, for errors.Is.
var (
	// ErrUnknown says that the job may have been written, or may still be: the caller stopped waiting, or the producer was
	// closed, before a broker answered.
	ErrUnknown = errors.New("it is not known whether the job was written")
	// ErrClosed says that the producer was closed.
	ErrClosed = errors.New("the producer is closed")
	// ErrTooLarge says that the job's record is larger than its topic takes.
	ErrTooLarge = errors.New("the job is too large")
)

// JobError is the failure of one job. What it wraps says why; unless that is ErrUnknown the job is not written.
type JobError struct {
	Kind  string
	ID    string // empty when the job failed before it had one
	Topic string // empty when none was found
	Err   error
}

// Error names what is known of the job, and says why it failed.
func (e *JobError) Error() string {
	text := "producer: job"
	for _, part := range []struct{ name, value string }{{" of kind ", e.Kind}, {" with id ", e.ID}, {" for topic ", e.Topic}} {
		if part.value != "" {
			text += part.name + part.value
		}
	}
	return text + ": " + e.Err.Error()
}

// Unwrap is why.
func (e *JobError) Unwrap() error { return e.Err }

// BatchError is what EnqueueMany returns when any job failed.
type BatchError struct {
	Total  int
	Failed []Failure // in the order of the items
}

// Failure is one failed job of a batch.
type Failure struct {
	Index int   // of the item
	Err   error // a *JobError
}

// Error counts the jobs that failed, and tells of the first.
func (e *BatchError) Error() string {
	if len(e.Failed) == 0 {
		return "producer: no job failed"
	}
	first := e.Failed[0]
	return fmt.Sprintf("producer: %d of %d jobs failed; the first, item %d: %v", len(e.Failed), e.Total, first.Index, first.Err)
}

// Unwrap gives errors.Is and errors.As every job's error.
func (e *BatchError) Unwrap() []error {
	errs := make([]error, len(e.Failed))
	for i := range e.Failed {
		errs[i] = e.Failed[i].Err
	}
	return errs
}

// UnsentError is what Close returns when jobs are left that no broker has acknowledged.
type UnsentError struct {
	IDs   []string // in the order they were enqueued
	Cause error    // why Close stopped waiting
}

// Error counts the jobs, names the first ten, and says why Close stopped waiting.
func (e *UnsentError) Error() string {
	const shown = 10
	text := strings.Join(e.IDs[:min(len(e.IDs), shown)], ", ")
	if more := len(e.IDs) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("producer: closed with %d jobs not acknowledged (%s): %v", len(e.IDs), text, e.Cause)
}

// Unwrap is why Close stopped waiting.
func (e *UnsentError) Unwrap() error { return e.Cause }

// explain says, in words for whoever enqueues, why the client failed to write to topic.
func explain(topic string, err error) error {
	switch {
	case errors.Is(err, kgo.ErrClientClosed):
		return fmt.Errorf("%w: %w", ErrUnknown, ErrClosed)
	case errors.Is(err, kerr.MessageTooLarge):
		return fmt.Errorf("%w for topic %s: raise its max.message.bytes, or send a reference to the data: %w", ErrTooLarge, topic, err)
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID):
		return fmt.Errorf("there is no topic %s, or this user may not see it; `waybill setup apply` creates topics: %w", topic, err)
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
		return fmt.Errorf("this user needs the permission to write to topic %s (grant WRITE; the next job asks again): %w", topic, err)
	}
	return connect.Explained(err)
}

// fits refuses a record of size bytes where a batch may have limit.
func fits(size int, limit int32) error {
	if size+batchOverhead <= int(limit) {
		return nil
	}
	return fmt.Errorf("%w: its record needs %d bytes and the topic takes %d; send a reference to the data, or raise max.message.bytes of the topic",
		ErrTooLarge, size+batchOverhead, limit)
}
