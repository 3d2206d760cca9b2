//go:build !linux && !darwin

package realkafka

import (
	"errors"
	"os"
	"runtime"
	"syscall"
)

// systemError makes Start refuse: without process signals and file locks the launcher
// could not keep its promises. Attaching to a running cluster still works.
var systemError = errors.New("realkafka: cannot start brokers on " + runtime.GOOS +
	": set WAYBILL_KAFKA to the address of a running cluster instead")

// Never sent, since Start refuses; they only let the rest compile.
const (
	signalTerm   = syscall.SIGTERM
	signalPause  = syscall.SIGTERM
	signalResume = syscall.SIGTERM
)

func childAttr() *syscall.SysProcAttr { return nil }

func tryLock(*os.File) (bool, error) { return false, systemError }

func limitFiles(int, uint64) error { return systemError }
