package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/embedded"
	"github.com/waybill-dev/waybill/internal/realkafka"
)

// A worker that was started as a child of the test is the program itself.
func TestMain(m *testing.M) {
	if os.Getenv("CSVIMPORT_CHILD") != "" {
		if err := run(context.Background(), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(realkafka.Main(m))
}

// worker is a process that imports.
type worker struct {
	cmd *exec.Cmd
	out lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t *testing.T, args ...string) *worker {
	t.Helper()
	w := &worker{cmd: exec.Command(os.Args[0], args...)}
	w.cmd.Env = append(os.Environ(), "CSVIMPORT_CHILD=1")
	w.cmd.Stdout, w.cmd.Stderr = &w.out, &w.out
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.kill)
	return w
}

// kill is SIGKILL: nothing is flushed.
func (w *worker) kill() {
	_ = w.cmd.Process.Kill()
	_ = w.cmd.Wait()
}

func eventually(t *testing.T, what string, w *worker, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s\n%s", what, w.out.String())
		}
	}
}

// A worker is killed in the middle of a file, twice. The next goes on where the checkpoint says: every row is there, and few
// were written twice.
func TestImportSurvivesSIGKILL(t *testing.T) {
	broker, err := embedded.Start(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	survives(t, strings.Join(broker.Addrs(), ","))
}

func TestRealImportSurvivesSIGKILL(t *testing.T) {
	survives(t, strings.Join(realkafka.Shared(t).Addrs(), ","))
}

func survives(t *testing.T, brokers string) {
	const rows = 100_000
	dir := t.TempDir()
	file, path := filepath.Join(dir, "rows.csv"), filepath.Join(dir, "rows.db")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	b := bufio.NewWriter(f)
	fmt.Fprintln(b, "id,value")
	for i := range rows {
		fmt.Fprintf(b, "%d,\"value, %d\"\n", i, i)
	}
	if err := b.Flush(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	i, err := newImporter(path, time.Second) // makes the table, and looks into it
	if err != nil {
		t.Fatal(err)
	}
	defer i.db.Close()
	count := func(query string) (n int) {
		if err := i.db.QueryRow(query).Scan(&n); err != nil && err != sql.ErrNoRows {
			t.Log(err)
		}
		return n
	}
	args := []string{"work", "-brokers", brokers, "-db", path, "-checkpoint", "1ms"}
	w := start(t, args...)
	eventually(t, "the topic is there", w, func() bool { return run(t.Context(), []string{"enqueue", "-brokers", brokers, file}) == nil })
	for _, at := range []int{rows / 4, rows / 2} {
		eventually(t, fmt.Sprint(at, " rows"), w, func() bool { return count("SELECT count(*) FROM rows") >= at })
		w.kill()
		w = start(t, args...)
		eventually(t, "it goes on", w, func() bool { return strings.Contains(w.out.String(), "goes on at row ") })
	}
	eventually(t, "done", w, func() bool { return strings.Contains(w.out.String(), "done, 100000 rows") })
	if n := count("SELECT count(*) FROM rows"); n != rows {
		t.Errorf("%d rows, want %d", n, rows)
	}
	if n := count("SELECT count(*) FROM rows WHERE value <> 'value, ' || id"); n != 0 {
		t.Errorf("%d rows have the value of another", n)
	}
	if n := count("SELECT sum(writes - 1) FROM rows"); n > 2*2*rowsAtOnce {
		t.Errorf("%d rows were written again after two kills, want at most the batches since the last checkpoint", n)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"nonsense"}, {"enqueue"}} {
		if err := run(t.Context(), args); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
