//go:build !unix

package side

import "time"

// processorTime is not known here; the figures about it are zero.
func processorTime() time.Duration { return 0 }
