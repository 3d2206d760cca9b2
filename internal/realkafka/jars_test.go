//go:build linux || darwin

package realkafka

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestJavaMajor(t *testing.T) {
	for out, want := range map[string]int{
		`openjdk version "17.0.15" 2025-04-15`:                 17,
		"Picked up _JAVA_OPTIONS: -Xmx1g\njava version \"21\"": 21,
		`openjdk version "25-ea" 2025-09-16`:                   25,
		`java version "1.8.0_391"`:                             8,
	} {
		got, err := javaMajor(out)
		if err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", out, got, err, want)
		}
	}
	if _, err := javaMajor("sh: not java"); err == nil {
		t.Error("no error for output without a version")
	}
}

// script writes an executable shell script.
func script(t *testing.T, path, body string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

// onlyInPath makes dir the whole PATH, beside the system's basic tools.
func onlyInPath(t *testing.T, dir string) {
	t.Helper()
	t.Setenv("JAVA_HOME", "")
	t.Setenv("PATH", dir)
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not hold %q", err, part)
		}
	}
}

func TestFindJava(t *testing.T) {
	dir := t.TempDir()
	onlyInPath(t, dir)
	_, err := findJava(t.Context())
	wantError(t, err, "java is not in PATH", "install Java 17")

	script(t, filepath.Join(dir, "java"), `echo 'openjdk version "11.0.2"' >&2`)
	_, err = findJava(t.Context())
	wantError(t, err, "is Java 11", "needs 17 or later")

	home := t.TempDir()
	script(t, filepath.Join(home, "bin", "java"), `echo 'openjdk version "21.0.1"' >&2`)
	t.Setenv("JAVA_HOME", home)
	j, err := findJava(t.Context())
	if err != nil || j.java != filepath.Join(home, "bin", "java") {
		t.Errorf("got %q, %v: want JAVA_HOME's java to win", j.java, err)
	}

	script(t, filepath.Join(home, "bin", "java"), `echo broken install; exit 3`)
	_, err = findJava(t.Context())
	wantError(t, err, "broken install", "exit status 3", "check JAVA_HOME")
}

// fakeMaven makes the wanted jar, and a line in a log file for each call.
const fakeMaven = `
for a in "$@"; do case "$a" in -DoutputDirectory=*) out="${a#-DoutputDirectory=}";; esac; done
/bin/mkdir -p "$out"
echo call >> "$CALLS"
/bin/sleep 0.2
: > "$out/` + kafkaJar + `"`

func TestEnsureJarsFetchesOnce(t *testing.T) {
	dir, cache := t.TempDir(), filepath.Join(t.TempDir(), "deep", "cache")
	onlyInPath(t, dir)
	calls := filepath.Join(dir, "calls")
	t.Setenv("CALLS", calls)
	script(t, filepath.Join(dir, "mvn"), fakeMaven)

	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			libs, err := ensureJars(t.Context(), cache)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := os.Stat(filepath.Join(libs, kafkaJar)); err != nil {
				t.Errorf("returned before the jars were there: %v", err)
			}
		})
	}
	wg.Wait()
	got, err := os.ReadFile(calls)
	if err != nil || string(got) != "call\n" {
		t.Errorf("Maven's calls: %q, %v: want one", got, err)
	}
	if _, err := os.Stat(filepath.Join(cache, "fetching")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("scratch folder left behind: %v", err)
	}

	if err := os.Remove(filepath.Join(dir, "mvn")); err != nil {
		t.Fatal(err)
	}
	if _, err := ensureJars(t.Context(), cache); err != nil {
		t.Errorf("a full cache still wants Maven: %v", err)
	}
}

func TestEnsureJarsErrors(t *testing.T) {
	dir, cache := t.TempDir(), t.TempDir()
	onlyInPath(t, dir)
	_, err := ensureJars(t.Context(), cache)
	wantError(t, err, "mvn is not in PATH", "install Maven", cacheEnv)

	script(t, filepath.Join(dir, "mvn"), "echo Could not resolve; exit 1")
	_, err = ensureJars(t.Context(), cache)
	wantError(t, err, "Could not resolve", "exit status 1")

	script(t, filepath.Join(dir, "mvn"), "exit 0")
	_, err = ensureJars(t.Context(), cache)
	wantError(t, err, "is missing")

	// A mvn that hangs ends with the caller's patience, and a second try finds no trace.
	script(t, filepath.Join(dir, "mvn"), "exec /bin/sleep 600")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = ensureJars(ctx, cache)
	wantError(t, err, "deadline exceeded")

	if err := os.Mkdir(filepath.Join(cache, "libs"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = ensureJars(t.Context(), cache)
	wantError(t, err, "holds no "+kafkaJar, "remove it")
}

func TestEnsureJarsWaitsForLock(t *testing.T) {
	cache := t.TempDir()
	lock, err := waitLock(t.Context(), filepath.Join(cache, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*pollInterval)
	defer cancel()
	_, err = ensureJars(ctx, cache)
	wantError(t, err, "another process", "deadline exceeded")
}

func TestCacheDir(t *testing.T) {
	t.Setenv(cacheEnv, "/somewhere")
	if dir, err := cacheDir(); err != nil || dir != "/somewhere" {
		t.Errorf("got %q, %v", dir, err)
	}
	t.Setenv(cacheEnv, "/a:b")
	_, err := cacheDir()
	wantError(t, err, "takes for a list")
	t.Setenv(cacheEnv, "")
	if dir, err := cacheDir(); err != nil || !strings.HasSuffix(dir, filepath.Join("waybill", "kafka-4.4.0")) {
		t.Errorf("got %q, %v", dir, err)
	}
}

func TestLeasePorts(t *testing.T) {
	cache := t.TempDir()
	a, err := leasePorts(cache, 30)
	if err != nil {
		t.Fatal(err)
	}
	b, err := leasePorts(cache, 30)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, l := range append(a, b...) {
		if seen[l.port] || l.port < firstPort || l.port > lastPort {
			t.Errorf("port %d given twice or out of range", l.port)
		}
		seen[l.port] = true
	}
	releasePorts(b)
	again, ok, err := leasePort(filepath.Join(cache, "ports"), b[0].port)
	if err != nil || !ok {
		t.Fatalf("released port %d cannot be leased: %v", b[0].port, err)
	}
	releasePorts(append(a, again))
}

func TestHaveArchive(t *testing.T) {
	j := javaRuntime{java: "/jdk/bin/java", version: "17"}
	cache := t.TempDir()
	path := archivePath(cache, j)
	if other := archivePath(cache, javaRuntime{java: j.java, version: "21"}); other == path {
		t.Error("two versions of Java share an archive")
	}
	for _, tc := range []struct {
		content    string
		write      bool
		done, used bool
	}{
		{"", false, false, false},
		{"", true, true, false}, // this Java makes none
		{"image", true, true, true},
	} {
		if tc.write {
			if err := os.WriteFile(path, []byte(tc.content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got := j
		done, err := haveArchive(&got, path)
		if err != nil || done != tc.done || (got.archive == path) != tc.used {
			t.Errorf("file %q (written %v): done %v, archive %q, %v", tc.content, tc.write, done, got.archive, err)
		}
	}
}
