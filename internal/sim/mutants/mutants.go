package mutants

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Mutant is one planted bug.
type Mutant struct {
	Name  string
	File  string // from the root of the module
	Old   string // stands there once
	New   string
	By    Simulation
	Seeds int // how many are run at most; 0: as many as By says
}

// Simulation is who must catch a bug.
type Simulation struct {
	Name string
	Pkg  string
	Test string
	Runs string // the flag that says how many
	Most int
	Args []string
}

// The simulations, and the exploration of the task machine.
var (
	Task    = Simulation{Name: "task simulation", Pkg: "./consumer/internal/task", Test: "^TestSimulation$", Runs: "-task.runs", Most: 20_000}
	Explore = Simulation{Name: "exploration", Pkg: "./consumer/internal/task", Test: "^TestExplore$", Runs: "-task.explore", Most: 10_000, Args: []string{"-test.failfast"}}
	Whole   = Simulation{Name: "whole simulation", Pkg: "./internal/sim", Test: "^TestSeeds$", Runs: "-seeds", Most: 300, Args: []string{"-stop"}}
)

// Verdict is what became of a planted bug.
type Verdict struct {
	Mutant string        `json:"mutant"`
	By     string        `json:"by"`
	Caught bool          `json:"caught"`
	Seed   string        `json:"seed,omitempty"`
	Reason string        `json:"reason,omitempty"`
	Build  time.Duration `json:"build_ns"`
	Run    time.Duration `json:"run_ns"`
}

// Apply returns the mutated text of the file.
func (m *Mutant) Apply(root string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(root, m.File))
	if err != nil {
		return nil, fmt.Errorf("mutant %q: %w", m.Name, err)
	}
	if n := bytes.Count(text, []byte(m.Old)); n != 1 {
		return nil, fmt.Errorf("mutant %q: its old text stands %d times in %s, and must stand there once: the engine has changed, so plant the bug anew\n%s", m.Name, n, m.File, m.Old)
	}
	return bytes.Replace(text, []byte(m.Old), []byte(m.New), 1), nil
}

// Build compiles the simulation with the bug in it, below dir, and returns the test binary.
func (m *Mutant) Build(ctx context.Context, root, dir string) (string, error) {
	text, err := m.Apply(root)
	if err != nil {
		return "", err
	}
	file, overlay, bin := filepath.Join(dir, "mutated.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "sim.test")
	list, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(root, m.File): file}})
	if err != nil {
		return "", err
	}
	if err := errors.Join(os.WriteFile(file, text, 0o600), os.WriteFile(overlay, list, 0o600)); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-overlay", overlay, "-o", bin, m.By.Pkg)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("mutant %q does not compile: %w\n%s", m.Name, err, out)
	}
	return bin, nil
}

// finding is how the simulations say which seed broke what, and the exploration after which steps. Nothing else counts as a
// catch: not a step that was never taken, nor a test that did not run.
var finding = regexp.MustCompile(`(?m)^\s*\S+_test\.go:\d+: (?:seed )?(\d+|scene .*, \d+ steps): (.*)$`)

// Try builds and runs one.
func (m *Mutant) Try(ctx context.Context, root, dir string) (Verdict, error) {
	v := Verdict{Mutant: m.Name, By: m.By.Name}
	began := time.Now()
	bin, err := m.Build(ctx, root, dir)
	if err != nil {
		return v, err
	}
	v.Build = time.Since(began)
	most := m.By.Most
	if m.Seeds > 0 {
		most = m.Seeds
	}
	args := append([]string{"-test.run", m.By.Test, "-test.timeout", "30m", m.By.Runs, fmt.Sprint(most)}, m.By.Args...)
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Dir = filepath.Join(root, m.By.Pkg)
	began = time.Now()
	out, err := cmd.CombinedOutput()
	v.Run = time.Since(began)
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return v, err
	}
	if found := finding.FindSubmatch(out); found != nil && err != nil {
		v.Caught, v.Seed, v.Reason = true, string(found[1]), firstLine(string(found[2]))
	} else if err != nil {
		v.Reason = "failed without a seed: " + tail(string(out))
	}
	return v, nil
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s[:min(len(s), 200)]
}

func tail(s string) string { return s[max(0, len(s)-1500):] }
