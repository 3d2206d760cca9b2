package realkafka

import "syscall"

// childAttr puts the child in a process group of its own, so that Ctrl-C in a terminal
// reaches the parent alone. macOS cannot tie a child's life to its parent's.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
