package access_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/waybill-dev/waybill/connect"
	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/internal/edge"
	"github.com/waybill-dev/waybill/internal/setup"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/producer"
)

const refused = "the brokers refuse this user or its password: correct SASL.Username, SASL.Password or the file of SASL.PasswordFile"

// A wrong password ends a worker that starts with it, and fails what a producer enqueues; a mechanism that the brokers do not have does so
// too.
func wrongPassword(p *part) {
	p.make()
	p.grant("worker", p.rights(setup.Worker)...)
	for _, x := range []struct {
		sasl connect.SASL
		want string
	}{
		{connect.SASL{Mechanism: connect.ScramSHA256, Username: "worker", Password: "wrong"}, refused},
		{connect.SASL{Mechanism: connect.ScramSHA256, Username: "nobody", Password: "worker"}, refused},
		{connect.SASL{Mechanism: connect.Plain, Username: "worker", Password: "worker"}, "do not offer this mechanism: correct SASL.Mechanism"},
	} {
		refuses(p.g.t, p.rig, x.sasl, x.want)
	}
}

// refuses has a worker and a producer let in nowhere.
func refuses(t *testing.T, r *edge.Rig, sasl connect.SASL, want string) {
	t.Helper()
	if err := r.Launch("w", func(c *consumer.Config) { c.SASL = sasl }).Ended(); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a worker with %s: %v", sasl.Mechanism, err)
	}
	q, err := producer.New(producer.Config{Brokers: r.At.Brokers, TLS: r.At.TLS, SASL: sasl, Topic: r.Topic})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), edge.Patience)
	defer cancel()
	if _, err := q.Enqueue(ctx, edge.Good{}, &job.Options{ID: "refused"}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a producer with %s: %v", sasl.Mechanism, err)
	}
	if err := q.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A password that is changed at the brokers under a worker that runs keeps it out once its connections end; it goes on by itself when the
// file has the new one.
func passwordChanged(p *part) {
	t := p.g.t
	p.make()
	p.grant("rotated", p.rights(setup.Worker)...)
	file := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("rotated")
	var conns edge.Conns
	i := p.rig.Start("w", conns.Hooked, func(c *consumer.Config) {
		c.SASL = connect.SASL{Mechanism: connect.ScramSHA256, Username: "rotated", PasswordFile: file}
	})
	p.rig.Good(3)
	p.rig.Finished()
	altered, err := p.g.admin.AlterUserSCRAMs(t.Context(), nil, []kadm.UpsertSCRAM{{User: "rotated", Mechanism: kadm.ScramSha256, Iterations: 4096, Password: "other"}})
	if err == nil {
		err = altered.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	p.rig.Until(func() string { // the brokers hear of it one after the other, and until then the old one is right
		conns.Cut()
		return says(i, refused)
	})
	p.rig.Good(3)
	write("other")
	p.rig.Good(3)
	p.rig.Finished()
	p.rig.Until(func() string { return ready(i) })
	if err := i.Stop(); err != nil {
		t.Error(err)
	}
}

// says is empty once /ready or a trouble has this text.
func says(i *edge.Instance, want string) string {
	said := fmt.Sprint(i.Ready(), i.Status().Troubles)
	if strings.Contains(said, want) {
		return ""
	}
	return "it does not say " + want + ", but " + said
}

func ready(i *edge.Instance) string {
	if err := i.Ready(); err != nil {
		return err.Error()
	}
	return ""
}
