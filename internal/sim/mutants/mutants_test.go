package mutants

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var (
	allFlag     = flag.Bool("all", false, "plant every bug, not a sample")
	onlyFlag    = flag.String("only", "", "plant those whose names contain this")
	exploreFlag = flag.Bool("explore", false, "have the exploration of the task machine look for what the task simulation catches")
	jsonFlag    = flag.String("json", "", "write the verdicts to this file, a line each")
)

// sample runs with the ordinary tests: quick to build and quick to catch.
var sample = map[string]bool{"hop ignored": true, "commit before the log's ack": true}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestTexts: the engine still has what the bugs replace.
func TestTexts(t *testing.T) {
	names := map[string]bool{}
	for i := range all {
		if names[all[i].Name] {
			t.Errorf("there are two mutants %q", all[i].Name)
		}
		names[all[i].Name] = true
		if _, err := all[i].Apply(root(t)); err != nil {
			t.Error(err)
		}
	}
	for name := range sample {
		if !names[name] {
			t.Errorf("the sample names %q, which is no mutant", name)
		}
	}
}

// TestMutants: every planted bug is caught.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles and runs mutated engines")
	}
	var out *json.Encoder
	if *jsonFlag != "" {
		f, err := os.Create(*jsonFlag)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		out = json.NewEncoder(f)
	}
	for i := range all {
		m := &all[i]
		if *onlyFlag != "" && !strings.Contains(m.Name, *onlyFlag) || *onlyFlag == "" && !*allFlag && !sample[m.Name] {
			continue
		}
		t.Run(strings.ReplaceAll(m.Name, " ", "_"), func(t *testing.T) {
			m := *m
			if *exploreFlag && m.By.Name == Task.Name {
				m.By, m.Seeds = Explore, 0
			}
			v, err := m.Try(t.Context(), root(t), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if out != nil {
				if err := out.Encode(v); err != nil {
					t.Error(err)
				}
			}
			if !v.Caught {
				t.Fatalf("%s: not caught by the %s in %.1f s %s", m.Name, v.By, v.Run.Seconds(), v.Reason)
			}
			t.Logf("%s: caught by the %s, seed %s, built in %.1f s, ran %.1f s: %s", m.Name, v.By, v.Seed, v.Build.Seconds(), v.Run.Seconds(), v.Reason)
		})
	}
}
