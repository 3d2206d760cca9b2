//go:build linux || darwin

package realkafka

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// helperEnv makes this test binary a parent that another test kills.
const helperEnv = "WAYBILL_REALKAFKA_TEST_HELPER"

// helper plays the part helperEnv asks for: it starts children, prints their process ids
// on one line and hangs until it is killed. It reports false when it has no part to play.
func helper() bool {
	switch os.Getenv(helperEnv) {
	case "sleep":
		p, err := startProcess(exec.Command("sleep", "600"), func() {})
		if err != nil {
			fmt.Println(err)
			return true
		}
		// A goroutine that ends on a locked thread ends the thread. None of these may be
		// the one the child's life hangs on.
		for range 20 {
			go func() { runtime.LockOSThread() }()
		}
		fmt.Println(p.cmd.Process.Pid)
	case "cluster":
		c, err := Start(context.Background(), Options{Dir: os.Getenv("HELPER_DIR")})
		if err != nil {
			fmt.Println(err)
			return true
		}
		pid, err := c.PID(1)
		fmt.Println(pid, err)
	default:
		return false
	}
	time.Sleep(10 * time.Minute) // until killed; not a synchronisation
	return true
}

// testOrphans starts this binary as a parent, kills it, and waits for its child to go.
func testOrphans(t *testing.T, part string, pause bool) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends children with their parent")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), helperEnv+"="+part, "HELPER_DIR="+t.TempDir())
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, readErr := bufio.NewReader(stdout).ReadString('\n')
	word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	child, err := strconv.Atoi(word)
	if err != nil || child <= 1 {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Fatalf("the helper said %q (%v)", line, readErr)
	}
	if err := syscall.Kill(child, 0); err != nil {
		t.Errorf("child %d is not there while its parent lives: %v", child, err)
	}
	if pause {
		if err := syscall.Kill(child, syscall.SIGSTOP); err != nil {
			t.Error(err)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // says that it was killed
	waitFor(t, 10*time.Second, func() error {
		if gone(child) {
			return nil
		}
		return fmt.Errorf("child %d outlives its parent", child)
	})
}

// gone reports whether no process has the id, or only a dead one that the system's init
// has not collected yet.
func gone(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(stat), ") Z ")
}

// waitFor polls until check succeeds.
func waitFor(t *testing.T, limit time.Duration, check func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("after %v: %v", limit, err)
		}
	}
}

func TestChildDiesWithKilledParent(t *testing.T)       { testOrphans(t, "sleep", false) }
func TestPausedChildDiesWithKilledParent(t *testing.T) { testOrphans(t, "sleep", true) }

func TestBrokerDiesWithKilledParent(t *testing.T) {
	ownBroker(t)
	testOrphans(t, "cluster", false)
}
