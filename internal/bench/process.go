package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/connect"
)

// assignment is the first line of a side's standard input: it may hold a password, so it is no argument and no variable
// of the environment.
type assignment struct {
	Role       string           `json:"role"`
	Connection connect.Settings `json:"connection"`
	Password   string           `json:"password"` // which Connection leaves out
	Profile    string           `json:"profile"`  // file, empty for none
	Params     json.RawMessage  `json:"params"`
}

// report is a line of a side's standard output. The last one has a result or an error.
type report struct {
	Note   json.RawMessage `json:"note,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
}

// process is a side as its parent sees it. One goroutine owns it: it starts the child, reads what it reports and reaps it.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	errors bytes.Buffer // what it wrote to standard error; to be read after done
	done   chan struct{}

	// Written by the owner, to be read after done.
	result json.RawMessage
	err    error
}

// stopGrace is how long a side may take to end when it was told to.
const stopGrace = 30 * time.Second

// start begins a side. What it tells meanwhile is handed to note, which may be nil, on the goroutine of the process. The
// side ends by itself, by stop, or with ctx; wait must be called in any case.
func (e *env) start(ctx context.Context, role string, params any, note func(json.RawMessage)) (*process, error) {
	a := assignment{Role: role, Connection: e.Connection, Password: e.Connection.SASL.Password, Profile: e.profile(role)}
	var err error
	if a.Params, err = json.Marshal(params); err != nil {
		return nil, fmt.Errorf("side %s: %w", role, err)
	}
	first, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("side %s: %w", role, err)
	}
	p := &process{done: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, e.Side[0], e.Side[1:]...)
	p.cmd.Stderr = &p.errors
	p.cmd.Cancel = func() error { p.stop(); return nil }
	p.cmd.WaitDelay = stopGrace
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("side %s: %w", role, err)
	}
	go p.own(role, stdout, note)
	if _, err := p.stdin.Write(append(first, '\n')); err != nil { // it has ended; wait says why
		p.stop()
	}
	return p, nil
}

// own reads until the side says its last and reaps it.
func (p *process) own(role string, stdout io.Reader, note func(json.RawMessage)) {
	defer close(p.done)
	var last report
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var r report
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			last.Error = fmt.Sprintf("said what is no report: %.200s", lines.Text())
			continue
		}
		if r.Note != nil {
			if note != nil {
				note(r.Note)
			}
			continue
		}
		last = r
	}
	werr := errors.Join(lines.Err(), p.cmd.Wait())
	p.result = last.Result
	switch said := strings.TrimSpace(p.errors.String()); {
	case last.Error != "":
		p.err = fmt.Errorf("side %s: %s", role, last.Error)
	case last.Result == nil:
		p.err = errors.Join(fmt.Errorf("side %s ended without a result: %s", role, said), werr)
	}
}

// stop tells the side to end and report.
func (p *process) stop() { _ = p.stdin.Close() } // it can only fail where the side has ended

// wait waits for the end and reads the result.
func (p *process) wait(result any) error {
	<-p.done
	p.stop()
	if p.err != nil {
		return p.err
	}
	return json.Unmarshal(p.result, result)
}

// side runs one side to its end. Text that it tells is progress.
func (e *env) side(ctx context.Context, role string, params, result any) error {
	p, err := e.start(ctx, role, params, func(note json.RawMessage) {
		var said string
		if json.Unmarshal(note, &said) == nil {
			e.say("%s: %s", role, said)
		}
	})
	if err != nil {
		return err
	}
	if err := p.wait(result); err != nil {
		return errors.Join(ctx.Err(), err)
	}
	return nil
}
