package producer

import (
	"os"
	"path/filepath"
	"testing"
)

func TestLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "waybill.yaml")
	text := "brokers: [a:1, b:2]\nsasl: {mechanism: PLAIN, username: u, password: p}\nproducer: {topic: emails, routes: {order.charge: orders}, max_buffered: 7}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("WAYBILL_PRODUCER_TOPIC", "letters")
	c, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Brokers) != 2 || c.SASL.Username != "u" || c.Topic != "letters" || c.Routes["order.charge"] != "orders" || c.MaxBuffered != 7 {
		t.Errorf("loaded %+v", c)
	}
	if err := os.WriteFile(file, []byte("producer: {topci: emails}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file); err == nil {
		t.Error("a misspelt key was accepted")
	}
}
