package demo

import "syscall"

// childAttr makes the kernel kill a worker when the thread that started it ends, and puts it in a process group of its
// own, so that Ctrl-C in a terminal reaches the parent alone.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
