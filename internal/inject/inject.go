// Package inject carries into an instance what only a simulation may change of it, by the context that Run is given. Users have
// no access to it, and no part of the engine behaves differently without it.
package inject

import (
	"context"

	"github.com/waybill-dev/waybill/dedupe/disk"
)

type diskKey struct{}

// WithDisk has the instance that runs under the context change how it keeps receipts on disk: to flush after some receipts, say,
// and not after a hundred thousand.
func WithDisk(ctx context.Context, change func(*disk.Config)) context.Context {
	return context.WithValue(ctx, diskKey{}, change)
}

// Disk changes cfg as the context says, if it says anything.
func Disk(ctx context.Context, cfg *disk.Config) {
	if change, ok := ctx.Value(diskKey{}).(func(*disk.Config)); ok {
		change(cfg)
	}
}
