package realkafka

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// childAttr makes the kernel kill the child when the thread that started it ends, and
// puts it in a process group of its own, so that Ctrl-C in a terminal reaches the
// parent alone and brokers are shut down in order.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// limitFiles limits the size of files that a process may write.
func limitFiles(pid int, bytes uint64) error {
	return unix.Prlimit(pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil)
}
