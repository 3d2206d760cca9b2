package realkafka

import (
	"errors"
	"syscall"
)

// childAttr puts the child in a process group of its own, so that Ctrl-C in a terminal
// reaches the parent alone. macOS cannot tie a child's life to its parent's.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

func limitFiles(int, uint64) error {
	return errors.New("only Linux limits the files of another process")
}
