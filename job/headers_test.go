package job

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestBounded(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"text", "text"},
		{strings.Repeat("x", MaxText), strings.Repeat("x", MaxText)},
		{strings.Repeat("x", MaxText+1), strings.Repeat("x", MaxText)},
		{strings.Repeat("x", MaxText-1) + "é", strings.Repeat("x", MaxText-1)},
		{strings.Repeat("x", MaxText-2) + "é", strings.Repeat("x", MaxText-2) + "é"},
		{"a\xff\xfeb", "a\uFFFDb"},
		{strings.Repeat("\xff", 2*MaxText), "\uFFFD"},
	} {
		if got := Bounded(c.in); got != c.want {
			t.Errorf("Bounded(%.40q, %d bytes) = %.40q, %d bytes", c.in, len(c.in), got, len(got))
		}
	}
}

func FuzzBounded(f *testing.F) {
	f.Add("text", 1)
	f.Add("é", MaxText)
	f.Add("\xff", 3)
	f.Fuzz(func(t *testing.T, s string, n int) {
		if n = min(max(n, 0), 2*MaxText); len(s)*n > 1<<20 {
			return
		}
		s = strings.Repeat(s, n)
		got := Bounded(s)
		if len(got) > MaxText || !utf8.ValidString(got) || Bounded(got) != got {
			t.Fatalf("%d bytes became %d: %.80q", len(s), len(got), got)
		}
		if utf8.ValidString(s) && (!strings.HasPrefix(s, got) || len(s) <= MaxText && got != s || len(s) > MaxText && len(got) < MaxText-3) {
			t.Fatalf("valid text of %d bytes was cut to %d", len(s), len(got))
		}
	})
}

func TestValidate(t *testing.T) {
	for _, c := range []struct{ in, kind, id string }{ // what the errors contain; empty: valid
		{"email.welcome", "", ""},
		{"", "kind is empty", "id is empty"},
		{"a b", "white space", ""},
		{"a\tb", "white space", "control character"},
		{"a\x00b", "control character", "control character"},
		{"a\x7fb", "control character", "control character"},
		{"a\xffb", "not UTF-8", "not UTF-8"},
		{"größe", "", ""},
		{strings.Repeat("k", MaxKind), "", ""},
		{strings.Repeat("k", MaxKind+1), "201 bytes, more than 200", ""},
		{strings.Repeat("k", MaxID), "512 bytes", ""},
		{strings.Repeat("k", MaxID+1), "513 bytes", "513 bytes, more than 512"},
	} {
		for what, err := range map[string]error{c.kind: ValidateKind(c.in), c.id: ValidateID(c.in)} {
			if (err == nil) != (what == "") && c.kind != c.id || err != nil && !strings.Contains(err.Error(), what) {
				t.Errorf("%.40q: %v, want %q", c.in, err, what)
			}
		}
	}
}

func TestTimes(t *testing.T) {
	for in, want := range map[string]string{ // as written again; empty: refused
		"2026-01-02T03:04:05Z":                "2026-01-02T03:04:05Z",
		"2026-01-02T03:04:05.120Z":            "2026-01-02T03:04:05.12Z",
		"2026-01-02T03:04:05.123456789Z":      "2026-01-02T03:04:05.123456789Z",
		"2026-01-02T03:04:05+02:00":           "2026-01-02T01:04:05Z",
		"9999-12-31T23:59:59Z":                "9999-12-31T23:59:59Z",
		"9999-12-31T23:59:59-00:01":           "",
		"0000-01-01T00:00:00Z":                "0000-01-01T00:00:00Z",
		"0000-01-01T00:00:00+00:01":           "",
		"2026-01-02":                          "",
		"2026-01-02 03:04:05Z":                "",
		"1767323045":                          "",
		"":                                    "",
		"2026-02-30T00:00:00Z":                "",
		"2026-01-02T03:04:05Z trailing words": "",
	} {
		got, err := parseTime("at", in)
		if (err != nil) != (want == "") {
			t.Errorf("%q: %v, %v", in, got, err)
		} else if err == nil && (FormatTime(got) != want || got.Location() != time.UTC) {
			t.Errorf("%q: %s, want %s", in, FormatTime(got), want)
		}
	}
	east := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("east", 3600))
	if got := FormatTime(east); got != "2026-01-02T02:04:05Z" {
		t.Errorf("FormatTime = %s", got)
	}
}

func FuzzParseTime(f *testing.F) {
	f.Add("2026-01-02T03:04:05.5+02:00")
	f.Add("9999-12-31T23:59:59-23:59")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parseTime("at", s)
		if err != nil {
			return
		}
		if b, err := parseTime("at", FormatTime(a)); err != nil || b != a {
			t.Fatalf("%q: %v became %v, %v", s, a, b, err)
		}
	})
}

func TestDelays(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-1: "0", 0: "0", 1: "1", time.Millisecond: "1", time.Millisecond + 1: "2", 10 * time.Second: "10000",
		math.MaxInt64: "9223372036854", math.MaxInt64 - 775808: "9223372036854", math.MinInt64: "0",
	} {
		got := strconv.FormatInt(delayMillis(d), 10)
		if got != want {
			t.Errorf("%d is written as %s, want %s", d, got, want)
		}
		if _, err := parseDelay(got); err != nil {
			t.Errorf("%d is written as %s: %v", d, got, err)
		}
	}
	for _, s := range []string{"", "-1", "+1", "1s", "1.5", "0x1", "9223372036855", "18446744073709551616", " 1"} {
		if d, err := parseDelay(s); err == nil || d != 0 {
			t.Errorf("parseDelay(%q) = %v, %v", s, d, err)
		}
	}
}

func FuzzDelay(f *testing.F) {
	f.Add(int64(1500001))
	f.Add(int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, n int64) {
		d := time.Duration(n)
		got, err := parseDelay(strconv.FormatInt(delayMillis(d), 10))
		longest := time.Duration(maxDelay) * time.Millisecond
		if err != nil || got < min(d, longest) || got < 0 || d >= 0 && got-d >= time.Millisecond {
			t.Fatalf("%d became %d, %v", d, got, err)
		}
	})
}

func TestOrigin(t *testing.T) {
	o := Origin{Topic: "emails", Partition: 3, Offset: 1 << 40, Time: time.UnixMilli(1767323045678).UTC()}
	if o.String() != "emails/3/1099511627776/1767323045678" {
		t.Errorf("String() = %s", o)
	}
	if got, err := ParseOrigin(o.String()); err != nil || got != o {
		t.Errorf("ParseOrigin = %+v, %v", got, err)
	}
	zero := Origin{Topic: "t"}
	if got, err := ParseOrigin(zero.String()); err != nil || !got.Time.Equal(zero.Time) {
		t.Errorf("a zero time: %+v, %v", got, err)
	}
	for _, s := range []string{"", "a", "a/1/2", "a/1/2/3/4", "/1/2/3", "a/-1/2/3", "a/1/-2/3", "a/x/2/3", "a/1/x/3", "a/1/2/x",
		"a/2147483648/2/3", "a/1/9223372036854775808/3", "a/1/2/", strings.Repeat("a", 250) + "/1/2/3"} {
		if got, err := ParseOrigin(s); err == nil || got != (Origin{}) {
			t.Errorf("ParseOrigin(%q) = %+v, %v", s, got, err)
		}
	}
}

func FuzzParseOrigin(f *testing.F) {
	f.Add("emails/3/1099511627776/1767323045678")
	f.Add("a/0/0/-62135596800000")
	f.Add("a/+1/-0/-9223372036854775808")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseOrigin(s)
		if err != nil {
			if a != (Origin{}) {
				t.Fatalf("%q: %+v beside %v", s, a, err)
			}
			return
		}
		if b, err := ParseOrigin(a.String()); err != nil || b != a {
			t.Fatalf("%q: %+v became %+v, %v", s, a, b, err)
		}
		if a.Topic == "" || a.Partition < 0 || a.Offset < 0 {
			t.Fatalf("%q: %+v", s, a)
		}
	})
}

func TestErrorHeader(t *testing.T) {
	long := strings.Repeat("x", 2*MaxText)
	for _, c := range []struct {
		in   string
		code Code
		text string
	}{
		{"handler_error: refused", CodeHandlerError, "refused"},
		{"deadline: a: b", CodeDeadline, "a: b"},
		{"panic", CodePanic, ""},
		{"panic: ", CodePanic, ""},
		{"of_tomorrow: text", CodeNone, "of_tomorrow: text"},
		{"", CodeNone, ""},
		{"panic: " + long, CodePanic, long[:MaxText]},
		{long, CodeNone, long[:MaxText]},
		{"panic: a\xff", CodePanic, "a\uFFFD"},
	} {
		if code, text := parseError(c.in); code != c.code || text != c.text {
			t.Errorf("%.40q: %v, %.40q", c.in, code, text)
		}
	}
	if got := errorHeader(CodePanic, long); got != "panic: "+long[:MaxText] {
		t.Errorf("a long text: %d bytes", len(got))
	}
}

func FuzzErrorHeader(f *testing.F) {
	f.Add(byte(1), "a: b")
	f.Add(byte(2), "\xff")
	f.Fuzz(func(t *testing.T, c byte, text string) {
		code := Code(c%byte(codeEnd-1)) + 1
		gotCode, gotText := parseError(errorHeader(code, text))
		if gotCode != code || gotText != Bounded(text) {
			t.Fatalf("%v, %q became %v, %q", code, text, gotCode, gotText)
		}
	})
}

// errorHeader is the error as it stands on a copy.
func errorHeader(c Code, text string) string {
	hs := CopyHeaders(nil, &Envelope{Message: Message{Kind: "k", ID: "i"}, WireKind: "k"}, &Stamp{Code: c, Text: text})
	return string(hs[len(hs)-1].Value)
}
