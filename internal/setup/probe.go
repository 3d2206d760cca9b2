package setup

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// RightsError is every right that is missing.
type RightsError struct {
	Missing []Right
}

// Error names every right that lacks, what each is for, and what to do.
func (e *RightsError) Error() string {
	var b strings.Builder
	b.WriteString("this user lacks rights; grant them (kafka-acls.sh --add, see `waybill setup rights`) and start again:")
	for _, r := range e.Missing {
		fmt.Fprintf(&b, "\n  %s: %s", r, r.For)
	}
	return b.String()
}

// Probe asks the brokers which of the rights the client's user has, without using any, and returns those that are missing:
// needed ones as a *RightsError, spare ones in spare. Topics that do not exist, and brokers that do not say, are passed over.
func Probe(ctx context.Context, cl *kgo.Client, rights []Right) (spare []Right, err error) {
	asked, missing := map[string][]Right{}, []Right(nil)
	req := kmsg.NewPtrMetadataRequest()
	req.IncludeTopicAuthorizedOperations, req.AllowAutoTopicCreation = true, false
	req.Topics = []kmsg.MetadataRequestTopic{}
	for _, r := range rights {
		if r.Group {
			refused, err := groupRefused(ctx, cl, r)
			if err != nil {
				return nil, err
			}
			if refused {
				missing = append(missing, r)
			}
			continue
		}
		if asked[r.Name] == nil {
			t := kmsg.NewMetadataRequestTopic()
			t.Topic = kmsg.StringPtr(r.Name)
			req.Topics = append(req.Topics, t)
		}
		asked[r.Name] = append(asked[r.Name], r)
	}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return nil, fmt.Errorf("ask for rights: %w", err)
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if t.Topic != nil {
			missing = append(missing, lacking(asked[*t.Topic], t.ErrorCode, t.AuthorizedOperations)...)
		}
	}
	needed := &RightsError{}
	for _, r := range missing {
		if r.Spare {
			spare = append(spare, r)
		} else {
			needed.Missing = append(needed.Missing, r)
		}
	}
	if len(needed.Missing) > 0 {
		return spare, needed
	}
	return spare, nil
}

// lacking are the rights to one topic that are not among the operations that a broker named.
func lacking(rights []Right, code int16, ops int32) (out []Right) {
	err := kerr.ErrorForCode(code)
	if err != nil && !errors.Is(err, kerr.TopicAuthorizationFailed) || err == nil && ops == math.MinInt32 {
		return nil
	}
	for _, r := range rights {
		if err != nil || ops&(1<<r.Op) == 0 {
			out = append(out, r)
		}
	}
	return out
}

// groupRefused reports whether the user lacks a right to a group. To ask for the coordinator needs Describe; a heartbeat of
// nobody, which changes nothing, needs Read.
func groupRefused(ctx context.Context, cl *kgo.Client, r Right) (bool, error) {
	var code int16
	var err error
	if r.Op == Read {
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group, req.MemberID, req.Generation = r.Name, "nobody", 0
		var resp *kmsg.HeartbeatResponse
		if resp, err = req.RequestWith(ctx, cl); err == nil {
			code = resp.ErrorCode
		}
	} else {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.CoordinatorKey, req.CoordinatorKeys = r.Name, []string{r.Name}
		var resp *kmsg.FindCoordinatorResponse
		if resp, err = req.RequestWith(ctx, cl); err == nil {
			if code = resp.ErrorCode; len(resp.Coordinators) == 1 {
				code = resp.Coordinators[0].ErrorCode
			}
		}
	}
	if err == nil {
		err = kerr.ErrorForCode(code)
	}
	var answer *kerr.Error
	switch {
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		return true, nil
	case err == nil, errors.As(err, &answer): // it was answered; that nobody is no member is as it should be
		return false, nil
	}
	return false, fmt.Errorf("ask for rights to group %s: %w", r.Name, err)
}
