package edge

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/waybill-dev/waybill/consumer"
)

// Instance is a consumer that runs in this process.
type Instance struct {
	*consumer.Consumer
	Name string
	r    *Rig
	logs *observer.ObservedLogs
	end  context.CancelFunc
	done chan struct{}
	err  error // of Run, once done is closed
}

// Launch runs an instance and does not wait for it; it is stopped at the end of the test if it still runs.
func (r *Rig) Launch(name string, change ...func(*consumer.Config)) *Instance {
	r.T.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	i := &Instance{Name: name, r: r, logs: logs, done: make(chan struct{})}
	cfg := r.Config(name, append([]func(*consumer.Config){func(c *consumer.Config) { c.Logger = zap.New(core) }}, change...)...)
	var err error
	if i.Consumer, err = consumer.New(cfg); err != nil {
		r.T.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	i.end = end
	go func() {
		defer close(i.done)
		i.err = i.Run(ctx)
	}()
	r.T.Cleanup(func() {
		end()
		<-i.done
		if r.T.Failed() {
			r.T.Logf("%s:\n%s", name, strings.Join(i.Logged(""), "\n"))
		}
	})
	return i
}

// Start is Launch for an instance that owns every task when Start returns.
func (r *Rig) Start(name string, change ...func(*consumer.Config)) *Instance {
	r.T.Helper()
	i := r.Launch(name, change...)
	r.Until(func() string {
		select {
		case <-i.done:
			r.T.Fatalf("%s ended by itself: %v", name, i.err)
		default:
		}
		running := 0
		for _, t := range i.Status().Tasks {
			if t.Phase == "running" {
				running++
			}
		}
		if running < int(r.Partitions) {
			return fmt.Sprintf("%s runs %d of %d tasks", name, running, r.Partitions)
		}
		return ""
	})
	return i
}

// Stop is SIGTERM; it returns what Run did.
func (i *Instance) Stop() error {
	i.end()
	<-i.done
	return i.err
}

// Ended waits until Run has returned by itself, and returns its error.
func (i *Instance) Ended() error {
	i.r.T.Helper()
	i.r.Until(func() string {
		select {
		case <-i.done:
			return ""
		default:
			return i.Name + " still runs"
		}
	})
	return i.err
}

// Alive reports whether Run has not returned.
func (i *Instance) Alive() bool {
	select {
	case <-i.done:
		return false
	default:
		return true
	}
}

// Logged are the log lines that hold text, each as level, message, fields.
func (i *Instance) Logged(text string) (out []string) {
	for _, e := range i.logs.All() {
		line := fmt.Sprint(e.Time.Format(time.TimeOnly), " ", e.Level, " ", e.Message, " ", e.ContextMap())
		if strings.Contains(line, text) {
			out = append(out, line)
		}
	}
	return out
}

// Pauses are the reasons for which partitions are paused, "topic/partition: reason", in the order of the status.
func (i *Instance) Pauses() (out []string) {
	for _, t := range i.Status().Tasks {
		for _, s := range t.Sources {
			for _, p := range s.Pauses {
				out = append(out, fmt.Sprintf("%s/%d: %s", s.Topic, t.Partition, p.Reason))
			}
		}
	}
	return out
}
