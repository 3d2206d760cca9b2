//go:build linux || darwin

package realkafka

import (
	"errors"
	"os"
	"syscall"
)

// systemError is nil where the launcher works.
var systemError error

const (
	signalTerm   = syscall.SIGTERM
	signalPause  = syscall.SIGSTOP
	signalResume = syscall.SIGCONT
)

// tryLock takes an exclusive lock on f without waiting; false when another process, or
// another open file of this one, holds it. Closing f, or the process's death, frees it.
func tryLock(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}
