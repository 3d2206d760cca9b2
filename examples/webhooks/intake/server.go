package intake

import (
	"context"
	"crypto/hmac"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/examples/webhooks/hook"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/producer"
)

// Enqueuer is what the intake needs of a *producer.Producer.
type Enqueuer interface {
	Enqueue(ctx context.Context, args job.Args, opts *job.Options) (producer.Enqueued, error)
}

// Server answers webhook senders.
type Server struct {
	Jobs Enqueuer // required
	// Secret is what senders sign bodies with, as GitHub does (X-Hub-Signature-256). Defaults to none: everybody may send.
	Secret string
	// MaxBody is the largest body taken, in bytes. Defaults to 900 KiB: a topic takes 1 MiB unless it was raised.
	MaxBody int64
	// AckTimeout is how long Kafka may take before the sender is told 503. Defaults to 5 s: GitHub waits 10.
	AckTimeout time.Duration
	// Logger defaults to none.
	Logger *zap.Logger
}

func (s Server) withDefaults() Server {
	if s.MaxBody == 0 {
		s.MaxBody = 900 << 10
	}
	if s.AckTimeout == 0 {
		s.AckTimeout = 5 * time.Second
	}
	if s.Logger == nil {
		s.Logger = zap.NewNop()
	}
	return s
}

// Accepted is the body of a 202, and of a 503: a sender that repeats a delivery under the same id enqueues one job.
type Accepted struct {
	ID        string `json:"id"`
	Topic     string `json:"topic,omitempty"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Error     string `json:"error,omitempty"`
}

// Handler serves
//
//	POST /hooks/{event}  any sender; the id is the header Idempotency-Key, or is made
//	POST /hooks          GitHub; event and id are the headers X-GitHub-Event and X-GitHub-Delivery
//	GET  /healthz
//
// and answers 202 when the job is durable, 400, 401, 413 or 415 for what will never be taken, and 503 when Kafka did not
// answer in time: send it again under the same id.
func (s Server) Handler() http.Handler {
	s = s.withDefaults()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /hooks", s.take)
	mux.HandleFunc("POST /hooks/{event}", s.take)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	return mux
}

func (s *Server) take(w http.ResponseWriter, r *http.Request) {
	body, refused := s.read(w, r)
	if refused != nil {
		refused.write(w)
		return
	}
	opts, err := hook.Options(first(r.PathValue("event"), r.Header.Get("X-GitHub-Event")),
		first(r.Header.Get("X-GitHub-Delivery"), r.Header.Get(hook.HeaderKey)), body)
	if err != nil {
		(&refusal{http.StatusBadRequest, err.Error()}).write(w)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.AckTimeout)
	defer cancel()
	e, err := s.Jobs.Enqueue(ctx, hook.Delivery(body), opts)
	switch {
	case errors.Is(err, producer.ErrTooLarge):
		(&refusal{http.StatusRequestEntityTooLarge, "the delivery is larger than the topic takes"}).write(w)
	case err != nil:
		s.Logger.Warn("a delivery was not acked", zap.String("id", e.ID), zap.Error(err))
		w.Header().Set("Retry-After", "5")
		answer(w, http.StatusServiceUnavailable, Accepted{ID: e.ID, Partition: -1, Offset: -1, Error: "Kafka did not answer; send it again under this id"})
	default:
		answer(w, http.StatusAccepted, Accepted{ID: e.ID, Topic: e.Topic, Partition: e.Partition, Offset: e.Offset})
	}
}

// refusal is an answer to what will never be taken.
type refusal struct {
	status int
	text   string
}

func (r *refusal) write(w http.ResponseWriter) { http.Error(w, r.text, r.status) }

func (s *Server) read(w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return nil, &refusal{http.StatusUnsupportedMediaType, "send application/json"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.MaxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", s.MaxBody)}
	case err != nil:
		return nil, &refusal{http.StatusBadRequest, "the body did not arrive"}
	case s.Secret != "" && !genuine(s.Secret, r.Header.Get("X-Hub-Signature-256"), body):
		return nil, &refusal{http.StatusUnauthorized, "X-Hub-Signature-256 does not match"}
	}
	return body, nil
}

// genuine checks what GitHub signs: the body alone.
func genuine(secret, signature string, body []byte) bool {
	sum, err := hex.DecodeString(strings.TrimPrefix(signature, "sha256="))
	return err == nil && hmac.Equal(sum, hook.MAC([]byte(secret), body))
}

func answer(w http.ResponseWriter, status int, a Accepted) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(a) // a sender that has gone asks again
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
