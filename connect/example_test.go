package connect_test

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/waybill-dev/waybill/connect"
)

// A service keeps its settings beside Waybill's own; the environment has the last word.
func ExampleLoad() {
	dir, err := os.MkdirTemp("", "settings")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "waybill.yaml")
	if err := os.WriteFile(path, []byte(`
brokers: [kafka-1:9092, kafka-2:9092]
sasl: {mechanism: SCRAM-SHA-512, username: mailer, password_file: /run/secrets/kafka}
app:
  mailer: {listen: ":8080", drain: 20s}
`), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	os.Setenv("WAYBILL_APP_MAILER_LISTEN", ":9090")
	defer os.Unsetenv("WAYBILL_APP_MAILER_LISTEN")

	var config struct {
		connect.Settings
		Listen string
		Drain  time.Duration
	}
	if err := connect.Load(path, "app.mailer", &config); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(config.Brokers, config.SASL)
	fmt.Println(config.Listen, config.Drain)
	// Output:
	// [kafka-1:9092 kafka-2:9092] SCRAM-SHA-512 as mailer
	// :9090 20s
}

// All faults come at once, each naming its field.
func ExampleSettings_Validate() {
	fmt.Println(connect.Settings{SASL: connect.SASL{Mechanism: "PLAIN"}}.Validate())
	// Output:
	// Brokers: none given; name at least one host:port
	// SASL.Username: empty
	// SASL.Password: empty; set it or PasswordFile
}
