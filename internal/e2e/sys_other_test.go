//go:build !linux

package e2e

import "syscall"

// childAttr: elsewhere a worker learns of its parent's end from its standard input alone.
func childAttr() *syscall.SysProcAttr { return nil }
