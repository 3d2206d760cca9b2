package retrytopics

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		TierTopic("emails", "mailer", 10*time.Second):   "emails.mailer.retry.10s",
		TierTopic("emails", "mailer", 90*time.Minute):   "emails.mailer.retry.1h30m",
		DeadLetterTopic("emails", "mailer"):             "emails.mailer.dlq",
		ReceiptTopic("emails", "mailer"):                "emails.mailer.receipts",
		ControlTopic("mailer"):                          "mailer.control",
		StatusTopic("mailer"):                           "mailer.status",
		AuditTopic("mailer"):                            "mailer.audit",
		EngineTopics("e", "g", []time.Duration{2e9})[0]: "e.g.retry.2s",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if names := EngineTopics("e", "g", DefaultTiers); len(names) != 5 || names[3] != "e.g.dlq" || names[4] != "e.g.receipts" {
		t.Errorf("engine topics %q", names)
	}
}

func TestTierText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		10 * time.Second: "10s", 2 * time.Minute: "2m", 30 * time.Minute: "30m", 90 * time.Minute: "1h30m", 48 * time.Hour: "48h",
		100 * time.Millisecond: "100ms", 1500 * time.Millisecond: "1s500ms", time.Hour + time.Millisecond: "1h1ms", 0: "0s", -5: "0s",
	} {
		if got := FormatTier(d); got != want {
			t.Errorf("FormatTier(%v) = %q, want %q", d, got, want)
		}
	}
	for _, bad := range []string{"", "10", "0s", "00s", "010s", "90s", "60m", "1.5s", "1m0s", "1s2m", "-1s", "+1s", "1us", "1000ms", "1d", "10S", " 1s",
		"1h1h", "99999999999999h"} {
		if d, err := ParseTier(bad); err == nil {
			t.Errorf("ParseTier(%q) = %v, want an error", bad, d)
		}
	}
}

func FuzzParseTier(f *testing.F) {
	for _, s := range []string{"10s", "1h30m", "1s500ms", "0s", "1m0s", "9223372036854ms"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseTier(s)
		if err == nil && (FormatTier(d) != s || d < time.Millisecond) {
			t.Errorf("ParseTier(%q) = %v, which renders %q", s, d, FormatTier(d))
		}
	})
}

func TestTierRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(1, 1<<40).Draw(t, "ms")) * time.Millisecond
		if got, err := ParseTier(FormatTier(d)); err != nil || got != d {
			t.Fatalf("%v renders %q, parsed %v, %v", d, FormatTier(d), got, err)
		}
		if got, ok := TierOf(TierTopic("a.b", "c-d", d), "a.b", "c-d"); !ok || got != d {
			t.Fatalf("TierOf = %v, %v, want %v", got, ok, d)
		}
	})
}

func TestTierOfOthers(t *testing.T) {
	for _, name := range []string{"emails", "emails.mailer.retry.", "emails.mailer.retry.90s", "emails.mailer.retry.10s.x", "emails.other.retry.10s",
		"emails.mailer.dlq", "x.emails.mailer.retry.10s", "emails_mailer.retry.10s"} {
		if d, ok := TierOf(name, "emails", "mailer"); ok {
			t.Errorf("TierOf(%q) = %v, want none", name, d)
		}
	}
}

func TestCheckNames(t *testing.T) {
	long := strings.Repeat("x", 240)
	for _, c := range []struct {
		name   string
		group  string
		topics []string
		want   []string // parts of the error; none: no error
	}{
		{"good", "mailer", []string{"emails", "sms", "emails.v2"}, nil},
		{"other group's letters are jobs", "fix", []string{"emails.mailer.dlq"}, nil},
		{"a topic of receipts", "shop", []string{"payment.receipts", "receipts"}, nil},
		{"nothing", "", nil, []string{`Group: "": the name is empty`}},
		{"dots", "..", []string{"."}, []string{`Group: "..": Kafka refuses`, `Topics: ".": Kafka refuses`}},
		{"letters", "mai ler", []string{"é", "a/b"}, []string{`Group: "mai ler": the name contains ' '`, `contains 'é'`, `contains '/'`}},
		{"twice", "g", []string{"a", "a"}, []string{`Topics: "a" is named twice`}},
		{"tier as topic", "g", []string{"a.g.retry.10s"}, []string{`"a.g.retry.10s" is named like a topic that Waybill keeps`}},
		{"strange tier is no tier", "g", []string{"a.g.retry.90s"}, nil},
		{"letters of the group", "g", []string{"b.g.dlq", "b.g.receipts"}, []string{`"b.g.dlq"`, `"b.g.receipts"`}},
		{"control", "g", []string{"g.control", "g.status", "g.audit"}, []string{`"g.control"`, `"g.status"`, `"g.audit"`}},
		{"dot and underscore", "g", []string{"a.b", "a_b"}, []string{`"a_b" collides with "a.b"`}},
		{"engine names collide", "g", []string{"a", "a_g.dlq"}, []string{`its topic "a.g.dlq" collides with "a_g.dlq"`}},
		{"engine with group's", "g", []string{"g_control"}, []string{`"g_control" collides with "g.control"`}},
		{"too long", "mailer", []string{long}, []string{`.mailer.receipts" is 7 bytes too long`}},
		{"much too long", "g", []string{long + long}, []string{`more than 249`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := CheckNames(c.group, c.topics, DefaultTiers)
			if (err != nil) != (len(c.want) > 0) {
				t.Fatalf("error %v, want parts %q", err, c.want)
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q lacks %q", err, part)
				}
			}
		})
	}
}

// What CheckNames lets pass has no two equal names, not even with '_' for '.', and none that Kafka refuses.
func TestCheckNamesIsSound(t *testing.T) {
	part := rapid.StringMatching(`[ab_]{1,2}(\.(g|dlq|retry|10s|control|receipts)){0,3}`)
	rapid.Check(t, func(t *rapid.T) {
		group, topics := part.Draw(t, "group"), rapid.SliceOfN(part, 1, 3).Draw(t, "topics")
		if CheckNames(group, topics, DefaultTiers) != nil {
			return
		}
		seen := map[string]string{}
		all := []string{ControlTopic(group), StatusTopic(group), AuditTopic(group)}
		for _, topic := range topics {
			all = append(append(all, topic), EngineTopics(topic, group, DefaultTiers)...)
		}
		for _, name := range all {
			form := strings.ReplaceAll(name, ".", "_")
			if other, ok := seen[form]; ok {
				t.Fatalf("%q and %q collide", name, other)
			}
			seen[form] = name
			if err := CheckTopic(name); err != nil {
				t.Fatalf("%q: %v", name, err)
			}
		}
	})
}
