//go:build unix

package side

import (
	"syscall"
	"time"
)

// processorTime is what this process has used so far, user and system, with the threads of C libraries.
func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
