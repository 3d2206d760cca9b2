package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages are all Markdown files of the module, by their path from its root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(name) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		found[filepath.ToSlash(name)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

var (
	fenced = regexp.MustCompile("(?ms)^```.*?^```")
	coded  = regexp.MustCompile("`[^`\n]*`")
	link   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
)

// links are the targets of a page's links inside the module, as paths from its root.
func links(name, text string) (out []string) {
	text = coded.ReplaceAllString(fenced.ReplaceAllString(text, ""), "")
	for _, m := range link.FindAllStringSubmatch(text, -1) {
		target, _, _ := strings.Cut(m[1], "#")
		if target == "" || strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
			continue
		}
		out = append(out, filepath.ToSlash(filepath.Join(filepath.Dir(name), target)))
	}
	return out
}

func TestLinksResolve(t *testing.T) {
	for name, text := range pages(t) {
		for _, target := range links(name, text) {
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s links to %s: %v", name, target, err)
			}
		}
	}
}

// Whoever begins with the README or with DESIGN.md finds every page, by links alone.
func TestEveryPageIsReached(t *testing.T) {
	all := pages(t)
	reached := map[string]bool{}
	next := []string{"README.md", "DESIGN.md"}
	for len(next) > 0 {
		name := next[0]
		next = next[1:]
		if text, ok := all[name]; !ok || reached[name] {
			// a link to a folder shows its README
			if _, ok := all[name+"/README.md"]; ok {
				next = append(next, name+"/README.md")
			}
			continue
		} else {
			reached[name] = true
			next = append(next, links(name, text)...)
		}
	}
	for name := range all {
		if !reached[name] && name != "CHANGELOG.md" {
			t.Errorf("%s: no link leads there from README.md or DESIGN.md", name)
		}
	}
	if len(reached) < 5 {
		t.Errorf("only %d pages were found", len(reached))
	}
}
