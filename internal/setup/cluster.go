package setup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/internal/control"
	"github.com/waybill-dev/waybill/retrytopics"
)

func number(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// Look asks a cluster for the topics a group needs and those of tiers it had; those that do not exist are left out. The tiers of a job
// topic that the layout does not know are found by their names: without the control topic nothing else remembers them, and
// there may be jobs in them.
func Look(ctx context.Context, adm *kadm.Client, w Want, layout control.Layout) (Have, error) {
	names := []string{retrytopics.ControlTopic(w.Group), retrytopics.StatusTopic(w.Group), retrytopics.AuditTopic(w.Group)}
	for _, t := range w.Topics {
		names = append(append(names, t.Name), retrytopics.EngineTopics(t.Name, w.Group, allTiers(w.Tiers, layout.Tiers(t.Name)))...)
	}
	byName, err := tiersByName(ctx, adm, w, layout)
	if err != nil {
		return nil, err
	}
	for _, name := range byName {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	topics, err := adm.ListTopics(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	have := Have{}
	var found []string
	for _, name := range names {
		t, ok := topics[name]
		if !ok || errors.Is(t.Err, kerr.UnknownTopicOrPartition) {
			continue
		}
		if t.Err != nil {
			return nil, fmt.Errorf("topic %s: %w", name, t.Err)
		}
		e := Existing{Partitions: int32(len(t.Partitions)), Configs: map[string]string{}}
		for _, p := range t.Partitions {
			e.Replication = int16(len(p.Replicas))
		}
		have[name] = e
		found = append(found, name)
	}
	if len(found) == 0 {
		return have, nil
	}
	configs, err := adm.DescribeTopicConfigs(ctx, found...)
	if err != nil {
		return nil, fmt.Errorf("describe topics: %w", err)
	}
	for _, rc := range configs {
		if errors.Is(rc.Err, kerr.UnknownTopicOrPartition) { // the client's or a broker's metadata were behind a deletion
			delete(have, rc.Name)
			continue
		}
		if rc.Err != nil {
			return nil, fmt.Errorf("describe topic %s (needs DESCRIBE_CONFIGS): %w", rc.Name, rc.Err)
		}
		for _, kv := range rc.Configs {
			have[rc.Name].Configs[kv.Key] = kv.MaybeValue()
		}
	}
	return have, nil
}

// tiersByName are the topics that are tiers of job topics the layout does not know.
func tiersByName(ctx context.Context, adm *kadm.Client, w Want, layout control.Layout) (names []string, err error) {
	var unknown []string
	for _, t := range w.Topics {
		if _, known := layout.Topics[t.Name]; !known {
			unknown = append(unknown, t.Name)
		}
	}
	if len(unknown) == 0 {
		return nil, nil
	}
	all, err := adm.ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	for name := range all {
		for _, topic := range unknown {
			if _, ok := retrytopics.TierOf(name, topic, w.Group); ok {
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// Plan says what differs. opts are for the client that reads the control topic. Faults of w itself are an error, all at
// once.
func Plan(ctx context.Context, adm *kadm.Client, opts []kgo.Opt, w Want) (Report, error) {
	w = w.withDefaults()
	if err := w.validate(); err != nil {
		return Report{}, err
	}
	layout, err := control.ReadLayout(ctx, opts, w.Group)
	if err != nil {
		return Report{}, err
	}
	have, err := Look(ctx, adm, w, layout)
	if err != nil {
		return Report{}, err
	}
	return Compare(w, have, layout), nil
}

// Apply mends what can be mended and writes the layout. What another instance created meanwhile is fine; where it has other
// partitions than the plan says the error is ErrChanged, and nothing was made that depends on it. What only a person
// can mend is left, and is an error of Verify.
func Apply(ctx context.Context, adm *kadm.Client, opts []kgo.Opt, r Report) error {
	var errs []error
	created := false
	for _, c := range r.Changes {
		var err error
		switch c.Action {
		case Create:
			if err = create(ctx, adm, c.spec); errors.Is(err, ErrChanged) {
				return err // what depends on it would be made wrong
			}
			created = true
		case Alter:
			err = alter(ctx, adm, c.spec)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if created {
		if err := settle(ctx, adm, r); err != nil {
			return err
		}
	}
	if r.layoutNew {
		if _, err := control.WriteLayout(ctx, opts, r.group, r.Layout); err != nil {
			return err
		}
	}
	return nil
}

func create(ctx context.Context, adm *kadm.Client, s *spec) error {
	configs := map[string]*string{}
	for _, c := range s.configs {
		configs[c.key] = kadm.StringPtr(c.value)
	}
	_, err := adm.CreateTopic(ctx, s.partitions, s.replication, configs, s.name)
	if errors.Is(err, kerr.TopicAlreadyExists) {
		return existing(ctx, adm, s)
	}
	if err != nil {
		return fmt.Errorf("create topic %s: %w", s.name, err)
	}
	return nil
}

// ErrChanged is the error of a plan that is no longer true: plan again.
var ErrChanged = errors.New("the topic was created meanwhile with other partitions")

// existing holds a topic that somebody created after the plan was made, or shortly before, when the brokers' metadata did not show it,
// against the plan.
func existing(ctx context.Context, adm *kadm.Client, s *spec) error {
	if err := appear(ctx, adm, []string{s.name}); err != nil {
		return err
	}
	topics, err := adm.ListTopics(ctx, s.name)
	if err != nil {
		return fmt.Errorf("look at topic %s: %w", s.name, err)
	}
	if n := int32(len(topics[s.name].Partitions)); s.exact && n != s.partitions {
		return fmt.Errorf("create topic %s with %d partitions: %w (%d)", s.name, s.partitions, ErrChanged, n)
	}
	return nil
}

func alter(ctx context.Context, adm *kadm.Client, s *spec) error {
	var configs []kadm.AlterConfig
	for _, c := range s.configs {
		configs = append(configs, kadm.AlterConfig{Op: kadm.SetConfig, Name: c.key, Value: kadm.StringPtr(c.value)})
	}
	resp, err := adm.AlterTopicConfigs(ctx, configs, s.name)
	if err == nil {
		_, err = resp.On(s.name, nil)
	}
	if err != nil {
		return fmt.Errorf("alter topic %s: %w", s.name, err)
	}
	return nil
}

// settle waits until the brokers' metadata shows what was created: creation is acked by the controller before that.
func settle(ctx context.Context, adm *kadm.Client, r Report) error {
	var names []string
	for _, c := range r.Changes {
		if c.Action == Create {
			names = append(names, c.Topic)
		}
	}
	return appear(ctx, adm, names)
}

// appear waits until the brokers know the topics.
func appear(ctx context.Context, adm *kadm.Client, names []string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	every := time.NewTicker(50 * time.Millisecond)
	defer every.Stop()
	for {
		topics, err := adm.ListTopics(ctx, names...)
		if err == nil && topics.Error() == nil && len(topics) == len(names) {
			return nil
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return fmt.Errorf("the new topics %v did not appear within 30 s, or the wait for them was ended: %w", names, errors.Join(ctx.Err(), err, topics.Error()))
		}
	}
}
