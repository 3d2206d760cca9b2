package relay

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/job"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		status  int
		after   string
		verdict job.Verdict
		delay   time.Duration
	}{
		"200":                           {status: 200, verdict: job.VerdictDone},
		"204":                           {status: 204, verdict: job.VerdictDone},
		"302":                           {status: 302, verdict: job.VerdictDead},
		"400":                           {status: 400, verdict: job.VerdictDead},
		"401":                           {status: 401, verdict: job.VerdictDead},
		"404":                           {status: 404, verdict: job.VerdictDead},
		"408":                           {status: 408, verdict: job.VerdictRetry},
		"410":                           {status: 410, verdict: job.VerdictDiscard},
		"425":                           {status: 425, verdict: job.VerdictRetry},
		"429":                           {status: 429, verdict: job.VerdictRetry},
		"429 with Retry-After":          {status: 429, after: "7", verdict: job.VerdictRetry, delay: 7 * time.Second},
		"500":                           {status: 500, verdict: job.VerdictRetry},
		"500 with Retry-After":          {status: 500, after: "7", verdict: job.VerdictRetry},
		"503":                           {status: 503, verdict: job.VerdictRetry},
		"503 until a date":              {status: 503, after: now.Add(time.Minute).Format(http.TimeFormat), verdict: job.VerdictRetry, delay: time.Minute},
		"503 until a date gone by":      {status: 503, after: now.Add(-time.Minute).Format(http.TimeFormat), verdict: job.VerdictRetry},
		"503 for a day":                 {status: 503, after: "86400", verdict: job.VerdictRetry, delay: MaxRetryAfter},
		"503 for ever":                  {status: 503, after: "18446744073709551615", verdict: job.VerdictRetry, delay: MaxRetryAfter},
		"503 until the end of time":     {status: 503, after: "Fri, 31 Dec 9999 23:59:59 GMT", verdict: job.VerdictRetry, delay: MaxRetryAfter},
		"503 for nobody knows how long": {status: 503, after: "soon", verdict: job.VerdictRetry},
		"503 for less than nothing":     {status: 503, after: "-5", verdict: job.VerdictRetry},
		"503 for no time":               {status: 503, after: "0", verdict: job.VerdictRetry},
	} {
		t.Run(name, func(t *testing.T) {
			resp := &http.Response{StatusCode: c.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("sorry"))}
			if c.after != "" {
				resp.Header.Set("Retry-After", c.after)
			}
			err := verdict(resp, now)
			if got := job.Classify(err); got.Verdict != c.verdict || got.Delay != c.delay {
				t.Errorf("%v after %v, want %v after %v (%v)", got.Verdict, got.Delay, c.verdict, c.delay, err)
			}
			if err != nil && c.status != 410 && !strings.Contains(err.Error(), "sorry") {
				t.Errorf("%v does not quote the answer", err)
			}
		})
	}
}

func TestExcerptIsBounded(t *testing.T) {
	endless := io.MultiReader(strings.NewReader("\xffbad "), zeros{})
	if text := excerpt(endless); len(text) > 250 || !strings.HasPrefix(text, "?bad") {
		t.Errorf("%d bytes: %q", len(text), text)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "0", "120", "-1", "1e9", now.Format(http.TimeFormat), "99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d := retryAfter(s, now); d < 0 || d > MaxRetryAfter {
			t.Errorf("%q: %v", s, d)
		}
	})
}

func good() Config {
	return Config{
		Consumer:    consumer.Config{Brokers: []string{"localhost:9092"}, Group: "webhooks", Topics: []string{"webhooks"}},
		Subscribers: []Subscriber{{Name: "a", URL: "http://a.example/hook", Secret: "s"}, {Name: "b", URL: "https://b.example", Secret: "s"}},
	}
}

func TestNewNamesEveryFault(t *testing.T) {
	if _, err := New(good()); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Config)
		want   []string
	}{
		"nobody":        {func(c *Config) { c.Subscribers = nil }, []string{"Subscribers: is empty"}},
		"no name":       {func(c *Config) { c.Subscribers[0].Name = "" }, []string{"Subscribers[0].Name"}},
		"a bad name":    {func(c *Config) { c.Subscribers[0].Name = "A.b" }, []string{"Subscribers[0].Name"}},
		"twice":         {func(c *Config) { c.Subscribers[1].Name = "a" }, []string{"Subscribers[1].Name", "another's"}},
		"a bare host":   {func(c *Config) { c.Subscribers[1].URL = "b.example:80" }, []string{"Subscribers[1].URL"}},
		"another thing": {func(c *Config) { c.Subscribers[1].URL = "ftp://b.example" }, []string{"Subscribers[1].URL"}},
		"several": {func(c *Config) { c.Subscribers[0] = Subscriber{}; c.Timeout = -1 },
			[]string{"Subscribers[0].Name", "Subscribers[0].URL", "Subscribers[0].Secret", "Timeout"}},
		"the engine's": {func(c *Config) { c.Consumer.Topics, c.MaxAttempts = nil, -1 }, []string{"subscriber a", "subscriber b", "Topics", "MaxAttempts"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good()
			c.change(&cfg)
			_, err := New(cfg)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v does not name %q", err, want)
				}
			}
		})
	}
}

// What the URL holds is nobody's who reads a letter.
func TestNetworkErrorsDoNotNameTheURL(t *testing.T) {
	c := caller{subscriber: Subscriber{Name: "a", URL: "http://user:hidden@a.example/?token=hidden", Secret: "s"},
		client: &http.Client{Transport: refuse{}}}
	err := c.deliver(t.Context(), delivery("push", "{}"))
	if err == nil || strings.Contains(err.Error(), "hidden") || !errors.Is(err, errRefused) {
		t.Errorf("%v", err)
	}
	if got := job.Classify(err); got.Verdict != job.VerdictRetry {
		t.Errorf("%+v", got)
	}
}

var errRefused = errors.New("connection refused")

type refuse struct{}

func (refuse) RoundTrip(*http.Request) (*http.Response, error) { return nil, errRefused }
