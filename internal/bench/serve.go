package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/connect"
)

// roles are what a side can be. A role works until it is done or ctx ends, and returns what its parent is to know.
var roles = map[string]func(ctx context.Context, s *side) (any, error){
	"raw-passes":     rawPasses,
	"waybill-passes": waybillPasses,
	"timed-passes":   timedPasses,
	"latency":        latency,
	"failing":        failingSide,
	"retry":          retrySide,
	"memory":         memorySide,
	"move":           moveSide,
	"crash":          crashSide,
	"store":          storeSide,
	"restore":        restoreSide,
}

// side is what a role works with.
type side struct {
	connection connect.Settings
	opts       []kgo.Opt
	params     json.RawMessage

	mu  sync.Mutex
	out *json.Encoder
}

// read reads the role's parameters.
func (s *side) read(params any) error { return json.Unmarshal(s.params, params) }

// tell tells the parent something before the end. It may be called from any goroutine.
func (s *side) tell(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.report(report{Note: text})
}

func (s *side) report(r report) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Encode(r)
}

// Serve is the whole life of a side's process: it reads its assignment from in, works, and writes its reports to out. When
// in ends, the parent has told it to end, or is gone.
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	lines := bufio.NewReader(in)
	first, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("a side of a measurement is started by `waybill bench`, which tells it on standard input what to do: %w", err)
	}
	go func() { // not joined: it ends with the process it can end
		_, _ = io.Copy(io.Discard, lines)
		stop()
	}()
	s := &side{out: json.NewEncoder(out)}
	result, err := s.work(ctx, first)
	if err != nil {
		return s.report(report{Error: err.Error()})
	}
	text, err := json.Marshal(result)
	if err != nil {
		return err
	}
	return s.report(report{Result: text})
}

func (s *side) work(ctx context.Context, first []byte) (result any, err error) {
	var a assignment
	if err := json.Unmarshal(first, &a); err != nil {
		return nil, fmt.Errorf("assignment: %w", err)
	}
	role, ok := roles[a.Role]
	if !ok {
		return nil, fmt.Errorf("no role %q", a.Role)
	}
	s.connection, s.params = a.Connection, a.Params
	s.connection.SASL.Password = a.Password
	if s.opts, err = s.connection.Opts(); err != nil {
		return nil, err
	}
	if a.Profile == "" {
		return role(ctx, s)
	}
	f, err := os.Create(a.Profile)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	result, err = role(ctx, s)
	pprof.StopCPUProfile()
	return result, errors.Join(err, f.Close())
}

// profile is the file for the next side's profile.
func (e *env) profile(role string) string {
	if e.Profile == "" {
		return ""
	}
	return filepath.Join(e.Profile, fmt.Sprintf("%s-%s-%d.pprof", e.of.Name, role, e.made.Add(1)))
}
