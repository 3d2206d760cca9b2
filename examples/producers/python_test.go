package producers

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// pythonEnv names a Python that has what python/requirements.txt asks for, or is "none".
const pythonEnv = "WAYBILL_PYTHON"

// python is a Python that can run the example: the one that pythonEnv names, or a virtual environment in the user's cache
// folder, which is made if need be. It is empty where there shall be none.
func python(t *testing.T) string {
	t.Helper()
	switch given := os.Getenv(pythonEnv); given {
	case "":
	case "none":
		return ""
	default:
		return given
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	wanted, err := os.ReadFile("python/requirements.txt")
	if err != nil {
		t.Fatal(err)
	}
	run := func(program string, args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s\nthe Python producer needs Python 3 with venv (Debian: apt-get install python3-venv) and a package index to fetch confluent-kafka from; %s=none leaves it out",
				program, args, err, out, pythonEnv)
		}
		return string(out)
	}
	// An environment belongs to one Python and to one list of packages.
	version := run("python3", "-c", "import sys; print(sys.version, sys.executable)")
	sum := sha256.Sum256(append(wanted, version...))
	dir := filepath.Join(cache, "waybill", "python-"+hex.EncodeToString(sum[:6]))
	inside := filepath.Join(dir, "bin", "python")
	if exec.CommandContext(t.Context(), inside, "-c", "import confluent_kafka").Run() == nil {
		return inside
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), "python-making-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(fresh)
	run("python3", "-m", "venv", fresh)
	run(filepath.Join(fresh, "bin", "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "python/requirements.txt")
	if err := os.RemoveAll(dir); err != nil { // one that does not work
		t.Fatal(err)
	}
	if err := os.Rename(fresh, dir); err != nil && exec.CommandContext(t.Context(), inside, "-c", "import confluent_kafka").Run() != nil {
		t.Fatal(err) // and nobody else has made it meanwhile
	}
	return inside
}
