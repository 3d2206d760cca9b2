package inject

import "context"

type recordsKey struct{}

// WithRecords has each task of the instance that runs under the context hold at most that many unfinished records of its job topic,
// so that a simulation of some dozen jobs reaches what ten thousand would.
func WithRecords(ctx context.Context, most int) context.Context {
	return context.WithValue(ctx, recordsKey{}, most)
}

// Records is how many a task may hold as the context says, usual if it says nothing.
func Records(ctx context.Context, usual int) int {
	if most, ok := ctx.Value(recordsKey{}).(int); ok {
		return most
	}
	return usual
}
