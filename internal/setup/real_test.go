package setup

import (
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/waybill-dev/waybill/internal/control"
	"github.com/waybill-dev/waybill/internal/realkafka"
)

func TestMain(m *testing.M) { os.Exit(realkafka.Main(m)) }

// A real broker checks the settings that the in-memory one takes unseen, and reports them all, defaults included.
func TestRealKafka(t *testing.T) {
	c := realkafka.Shared(t)
	adm, err := kadm.NewOptClient(c.ClientOpts()...)
	if err != nil {
		t.Fatal(err)
	}
	defer adm.Close()
	group := "setup-" + uuid.NewString()
	w := Want{Group: group, Topics: []TopicWant{{Name: group + ".jobs", Partitions: 3}}, Tiers: []time.Duration{10 * time.Second, time.Minute}}
	plan := func() Report {
		t.Helper()
		report, err := Plan(t.Context(), adm, c.ClientOpts(), w)
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	report := plan()
	if len(report.Changes) != 8 || report.Partitions != 16 {
		t.Errorf("%d partitions, %v", report.Partitions, report.Changes)
	}
	for range 2 { // the second finds everything made by another
		if err := Apply(t.Context(), adm, c.ClientOpts(), report); err != nil {
			t.Fatal(err)
		}
	}
	if report = plan(); !report.OK() || report.Partitions != 16 {
		t.Errorf("after applying: %d partitions, %v", report.Partitions, report.Changes)
	}
	tier := group + ".jobs." + group + ".retry.10s"
	if _, err := adm.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: kadm.StringPtr("1000")}}, tier); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for report = plan(); report.OK() && time.Now().Before(deadline); report = plan() { // a broker hears of it with a delay
	}
	if len(report.Changes) != 1 || report.Changes[0].Topic != tier {
		t.Fatalf("%v", report.Changes)
	}
	if err := Apply(t.Context(), adm, c.ClientOpts(), report); err != nil {
		t.Fatal(err)
	}
	for report = plan(); !report.OK() && time.Now().Before(deadline); report = plan() {
	}
	if !report.OK() {
		t.Errorf("%v", report.Changes)
	}
	w.Tiers = w.Tiers[:1]
	if report = plan(); !report.OK() || report.Partitions != 16 {
		t.Errorf("with a tier less: %d partitions, %v", report.Partitions, report.Changes)
	}
	layout, err := control.ReadLayout(t.Context(), c.ClientOpts(), group)
	if err != nil || len(layout.Tiers(group+".jobs")) != 2 {
		t.Errorf("layout %+v, %v", layout, err)
	}
}
