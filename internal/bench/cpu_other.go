//go:build !unix

package bench

import "time"

// processorTime is not known here; figures about it are missed.
func processorTime() time.Duration { return 0 }
