package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// upgradeEnv names the revision that a rolling upgrade begins with.
const upgradeEnv = "WAYBILL_UPGRADE_FROM"

// pinned is the revision it begins with otherwise: what was last delivered. Its workers must speak with the story as those
// of this commit do (assignment, status, ledger).
const pinned = "4e7713b47ae422d7e25d983726cd40e43aeee542"

// earlier builds this test program as it was at an earlier commit, and returns its path and the commit. Without a history to
// take that from, as in an unpacked archive, the test is skipped.
func earlier(t *testing.T) (program, commit string) {
	t.Helper()
	if prefix, err := output(t, "git", "rev-parse", "--show-prefix"); err != nil || prefix != "internal/e2e/" {
		t.Skipf("no earlier commit to upgrade from: not in a git repository of this module: %q, %v", prefix, err)
	}
	commit = earlierCommit(t)
	tree := t.TempDir()
	packed := filepath.Join(tree, "packed.tar")
	program = filepath.Join(tree, "e2e.test")
	root, err := output(t, "git", "rev-parse", "--show-toplevel")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for _, c := range []struct {
		dir  string
		args []string
	}{
		{root, []string{"git", "archive", "--format=tar", "-o", packed, commit}},
		{tree, []string{"tar", "-xf", packed}},
		// -trimpath: the folder is another one each time, and what is built there is not.
		{tree, []string{"go", "test", "-c", "-trimpath", "-o", program, "./internal/e2e"}},
	} {
		cmd := exec.CommandContext(t.Context(), c.args[0], c.args[1:]...)
		cmd.Dir = c.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(c.args, " "), err, out)
		}
	}
	t.Logf("commit %.10s was built in %v", commit, time.Since(began).Round(time.Millisecond))
	return program, commit
}

// earlierCommit is the one that upgradeEnv names, else the pinned one if this one comes from it, else the one before.
func earlierCommit(t *testing.T) string {
	t.Helper()
	resolve := func(revision string) (string, error) {
		return output(t, "git", "rev-parse", "--verify", "--quiet", revision+"^{commit}")
	}
	if given := os.Getenv(upgradeEnv); given != "" {
		commit, err := resolve(given)
		if err != nil {
			t.Fatalf("%s=%q names no commit of this repository: %v", upgradeEnv, given, err)
		}
		return commit
	}
	if _, err := output(t, "git", "merge-base", "--is-ancestor", pinned, "HEAD"); err == nil {
		return pinned
	}
	commit, err := resolve("HEAD~1")
	if err != nil {
		t.Skipf("no earlier commit to upgrade from: the history holds neither %.10s nor a commit before this one", pinned)
	}
	return commit
}

// output is what a program prints, in the folder of this package.
func output(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).Output()
	return strings.TrimSpace(string(out)), err
}
