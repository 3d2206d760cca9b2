package e2e

import "syscall"

// childAttr makes the kernel kill a worker when the thread that started it ends.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
