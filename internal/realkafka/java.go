package realkafka

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
)

// toolsVersion is that of Kafka's command line tools. They are published apart from the
// broker and may lag behind it, which no tool minds.
const toolsVersion = "4.3.1"

// tools asks for the command line tools, less what only Connect needs.
var tools = jarSet{folder: "tools-" + toolsVersion, mainJar: "kafka-tools-" + toolsVersion + ".jar", pom: `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>dev.waybill</groupId><artifactId>realkafka-tools</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>` + toolsVersion + `</version>
      <exclusions>
        <exclusion><groupId>org.apache.kafka</groupId><artifactId>connect-api</artifactId></exclusion>
        <exclusion><groupId>org.apache.kafka</groupId><artifactId>connect-json</artifactId></exclusion>
        <exclusion><groupId>org.apache.kafka</groupId><artifactId>connect-runtime</artifactId></exclusion>
        <exclusion><groupId>org.apache.kafka</groupId><artifactId>connect-transforms</artifactId></exclusion>
      </exclusions></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
`}

// Java returns a command that runs java with Kafka's own client library, the one the
// broker is made with, on its class path: args begin with a class or with the path of a
// source file. It ends with the test. Without Java, or Maven to fetch the jars with, the
// test fails; call it after [ForTest] or [Shared], which skip where there is no Kafka.
func Java(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	return javaCommand(t, broker, args)
}

// Tool is Java for one of Kafka's command line tools, named by its class: what
// kafka-topics.sh runs is org.apache.kafka.tools.TopicCommand.
func Tool(t testing.TB, class string, args ...string) *exec.Cmd {
	t.Helper()
	return javaCommand(t, tools, append([]string{class}, args...))
}

func javaCommand(t testing.TB, jars jarSet, args []string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	cache, err := cacheDir()
	if err != nil {
		t.Fatal(err)
	}
	j, err := findJava(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if j.libs, err = jars.ensure(ctx, cache); err != nil {
		t.Fatal(err)
	}
	// Short programs: the quick compiler and the small collector are all they need.
	flags := j.args("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx128m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
	return exec.CommandContext(t.Context(), filepath.Clean(j.java), append(flags, args...)...)
}
