package job

import (
	"bytes"
	"errors"
	"fmt"
)

// MaxResult bounds the result of a job (Message.SetResult), in bytes.
const MaxResult = 256

// ErrResultTooLarge is what SetResult says of more than MaxResult bytes.
var ErrResultTooLarge = errors.New("job: the result is too large")

// SetResult says what the job came to: at most MaxResult bytes, copied, that its receipt keeps for as long as the receipt is
// remembered, such as the id of what the handler made. The last call of an attempt counts, and only if the attempt succeeds
// with it; nil, or nothing, takes it back. More than MaxResult bytes are refused with an ErrResultTooLarge and change
// nothing: store what is large elsewhere and set where it is.
//
// A job with a result has a receipt whatever its kind's Guarantee. One attempt must not call it from several goroutines at
// a time, nor after the handler has returned.
func (m *Message) SetResult(result []byte) error {
	if len(result) > MaxResult {
		return fmt.Errorf("%w: %d bytes, at most %d; store it elsewhere and set where it is", ErrResultTooLarge, len(result), MaxResult)
	}
	m.Result = nil
	if len(result) > 0 {
		m.Result = bytes.Clone(result)
	}
	return nil
}
