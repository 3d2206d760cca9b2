package realkafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	kafkaVersion = "4.4.0"
	kafkaJar     = "kafka_2.13-" + kafkaVersion + ".jar"
	minJava      = 17
	cacheEnv     = "WAYBILL_KAFKA_CACHE"
	pollInterval = 50 * time.Millisecond
)

// jarSet is a folder of jars that Maven fills.
type jarSet struct {
	folder  string // in the cache
	mainJar string // stands for all of them
	pom     string
}

// broker asks for the broker and for a logger that prints; Maven finds the rest.
var broker = jarSet{folder: "libs", mainJar: kafkaJar, pom: `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>dev.waybill</groupId><artifactId>realkafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>` + kafkaVersion + `</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
`}

// javaRuntime is how to run a class of Kafka.
type javaRuntime struct {
	java     string // path of the executable
	version  string // what it says about itself
	libs     string // folder of the jars
	archive  string // class-data archive to start from; "" for none
	training string // class-data archive to write at the end; "" for none
}

// args are the arguments every class of Kafka is run with, its name and its own
// arguments still to follow.
func (j javaRuntime) args(flags ...string) []string {
	args := []string{
		// Flags below are of the usual virtual machine; another may lack one.
		"-XX:+IgnoreUnrecognizedVMOptions",
		// A file in the system's temporary directory that killed processes leave behind.
		"-XX:-UsePerfData",
	}
	if j.archive != "" {
		args = append(args, "-XX:SharedArchiveFile="+j.archive)
	}
	args = append(args, flags...)
	return append(args, "-cp", filepath.Join(j.libs, "*"))
}

// findRuntime checks Java and makes sure that the jars and the class-data archive are
// there. cache is the cache folder.
func findRuntime(ctx context.Context, cache string) (javaRuntime, error) {
	j, err := findJava(ctx)
	if err != nil {
		return javaRuntime{}, err
	}
	if j.libs, err = ensureJars(ctx, cache); err != nil {
		return javaRuntime{}, err
	}
	return withArchive(ctx, cache, j)
}

// cacheDir returns the folder for jars and port locks, which may not exist yet.
func cacheDir() (string, error) {
	dir := os.Getenv(cacheEnv)
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("realkafka: no place to keep Kafka's jars: %w; set %s to a folder", err, cacheEnv)
		}
		dir = filepath.Join(base, "waybill", "kafka-"+kafkaVersion)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("realkafka: %w", err)
	}
	if strings.ContainsRune(dir, os.PathListSeparator) {
		return "", fmt.Errorf("realkafka: the cache folder %q holds a %q, which Java takes for a list: set %s to another folder", dir, os.PathListSeparator, cacheEnv)
	}
	return dir, nil
}

// findJava returns JAVA_HOME's java, else the one in PATH, if it is new enough.
func findJava(ctx context.Context) (javaRuntime, error) {
	var j javaRuntime
	if home := os.Getenv("JAVA_HOME"); home != "" {
		j.java = filepath.Join(home, "bin", "java")
	} else {
		found, err := exec.LookPath("java")
		if err != nil {
			return j, fmt.Errorf("realkafka: java is not in PATH and JAVA_HOME is not set: install Java %d or later", minJava)
		}
		j.java = found
	}
	out, err := runTool(ctx, "", j.java, "-version")
	if err != nil {
		return j, fmt.Errorf("realkafka: cannot ask java for its version: %w; check JAVA_HOME and PATH", err)
	}
	j.version = out
	major, err := javaMajor(out)
	if err != nil {
		return j, fmt.Errorf("realkafka: %s: %w", j.java, err)
	}
	if major < minJava {
		return j, fmt.Errorf("realkafka: %s is Java %d, Kafka %s needs %d or later: point JAVA_HOME at a newer one", j.java, major, kafkaVersion, minJava)
	}
	return j, nil
}

var javaVersion = regexp.MustCompile(`version "(\d+)(?:\.(\d+))?`)

// javaMajor reads the output of "java -version". Up to Java 8 versions began with "1.".
func javaMajor(out string) (int, error) {
	m := javaVersion.FindStringSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("cannot read a Java version out of %q", out)
	}
	digits := m[1]
	if digits == "1" && m[2] != "" {
		digits = m[2]
	}
	return strconv.Atoi(digits)
}

// ensureJars returns the folder of the broker's jars; see jarSet.ensure.
func ensureJars(ctx context.Context, cache string) (string, error) { return broker.ensure(ctx, cache) }

// ensure returns the folder of the jars, fetching them with Maven if need be. Any
// number of processes may call it at once: one fetches, the others wait for it.
func (s jarSet) ensure(ctx context.Context, cache string) (string, error) {
	libs := filepath.Join(cache, s.folder)
	if ok, err := s.have(libs); ok || err != nil {
		return libs, err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("realkafka: cache: %w; set %s to a folder that can be written", err, cacheEnv)
	}
	lock, err := waitLock(ctx, filepath.Join(cache, "lock"))
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if ok, err := s.have(libs); ok || err != nil {
		return libs, err
	}
	return libs, s.fetch(ctx, cache, libs)
}

// have reports whether libs is complete: it only ever appears by a rename of a
// finished folder, so the main jar stands for all.
func (s jarSet) have(libs string) (bool, error) {
	if _, err := os.Stat(filepath.Join(libs, s.mainJar)); err == nil {
		return true, nil
	}
	if _, err := os.Stat(libs); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("realkafka: cache: %w", err)
	}
	return false, fmt.Errorf("realkafka: %s exists but holds no %s: remove it, or set %s to another folder", libs, s.mainJar, cacheEnv)
}

// waitLock takes the lock file at path, waiting until ctx ends.
func waitLock(ctx context.Context, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("realkafka: cache lock: %w", err)
	}
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		ok, err := tryLock(f)
		if ok {
			return f, nil
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("realkafka: cache lock %s: %w", path, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("realkafka: another process has been fetching Kafka's jars all the while (it holds %s): %w", path, context.Cause(ctx))
		}
	}
}

// fetch fills a scratch folder and renames it to libs. The caller holds the lock.
func (s jarSet) fetch(ctx context.Context, cache, libs string) error {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return fmt.Errorf("realkafka: mvn is not in PATH: install Maven to fetch Kafka %s into %s, or set %s to a folder that has it", kafkaVersion, cache, cacheEnv)
	}
	scratch := filepath.Join(cache, "fetching")
	// Whoever left it died while holding the lock.
	if err := os.RemoveAll(scratch); err != nil {
		return fmt.Errorf("realkafka: cache: %w", err)
	}
	if err := os.MkdirAll(scratch, 0o755); err != nil {
		return fmt.Errorf("realkafka: cache: %w", err)
	}
	defer os.RemoveAll(scratch)
	if err := os.WriteFile(filepath.Join(scratch, "pom.xml"), bytes.TrimSpace([]byte(s.pom)), 0o644); err != nil {
		return fmt.Errorf("realkafka: cache: %w", err)
	}
	target := filepath.Join(scratch, "libs")
	out, err := runTool(ctx, scratch, mvn, "-B", "-q", "-Dstyle.color=never", "dependency:copy-dependencies",
		"-DincludeScope=runtime", "-DoutputDirectory="+target)
	if err != nil {
		return fmt.Errorf("realkafka: Maven could not fetch Kafka %s: %w", kafkaVersion, err)
	}
	if _, err := os.Stat(filepath.Join(target, s.mainJar)); err != nil {
		return fmt.Errorf("realkafka: Maven reported success but %s is missing; it printed:\n%s", s.mainJar, lastLines([]byte(out), 20))
	}
	if err := os.Rename(target, libs); err != nil {
		return fmt.Errorf("realkafka: cache: %w", err)
	}
	return nil
}
