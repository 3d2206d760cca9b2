package consumer

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/connect"
)

// checkOpts refuses the options that Waybill owns, because its promises rest on them. Options of groups are known by their
// type; for the others two clients are made that connect to nothing, one without the user's, and compared.
func checkOpts(cfg Config) error {
	if len(cfg.Opts) == 0 {
		return nil
	}
	var errs []error
	var rest []kgo.Opt
	for i, o := range cfg.Opts {
		switch o.(type) {
		case nil:
			errs = append(errs, fmt.Errorf("Opts[%d]: nil", i))
		case kgo.GroupOpt:
			errs = append(errs, fmt.Errorf("Opts[%d]: options of groups belong to Waybill; Config has a field for what may be set", i))
		default:
			rest = append(rest, o)
		}
	}
	ours := []kgo.Opt{kgo.SeedBrokers(cfg.Brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner())}
	plain, err := kgo.NewClient(ours...)
	if err != nil { // Brokers: is it that alone, the options are looked at all the same
		ours[0] = kgo.SeedBrokers("localhost")
		plain, err = kgo.NewClient(ours...)
	}
	if err != nil {
		return errors.Join(errs...) // the connection's own settings are at fault: Validate says how
	}
	defer plain.Close()
	given, err := kgo.NewClient(append(ours, rest...)...)
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("Opts: %w", err))...)
	}
	defer given.Close()
	owned := make([]connect.Owned, len(ownedOpts))
	for i, o := range ownedOpts {
		owned[i] = connect.Owned{Name: o.name, Option: o.option, Want: plain.OptValues(o.option), Instead: o.instead}
	}
	errs = append(errs, connect.CheckOwned(given, owned))
	if opt := kgo.WithDecompressor; reflect.TypeOf(given.OptValue(opt)) != reflect.TypeOf(plain.OptValue(opt)) { // no two are equal
		errs = append(errs, errors.New("Opts: kgo.WithDecompressor belongs to Waybill; it bounds what a batch may become in memory, set Config.MaxBatch"))
	}
	return errors.Join(errs...)
}

const (
	reads  = "what is read, and from where, follows from Topics and Tiers"
	writes = "a job is settled when its copy, letter or receipt is acked by every replica, and not before"
)

// ownedOpts are the options a user must not set.
var ownedOpts = []struct {
	name    string
	option  any
	instead string
}{
	{"SeedBrokers", kgo.SeedBrokers, "set Config.Brokers"},
	{"RequestTimeoutOverhead", kgo.RequestTimeoutOverhead, "the lease on the group rests on it"},
	{"WithContext", kgo.WithContext, "a client lives as long as Run needs it; cancel Run's context"},
	{"AllowAutoTopicCreation", kgo.AllowAutoTopicCreation, "topics are made by Setup"},
	{"ConsumeTopics", kgo.ConsumeTopics, reads},
	{"ConsumeRegex", kgo.ConsumeRegex, reads},
	{"ConsumePartitions", kgo.ConsumePartitions, reads},
	{"ConsumeResetOffset", kgo.ConsumeResetOffset, "set Config.Start; a group that has a place is never reset"},
	{"ConsumeStartOffset", kgo.ConsumeStartOffset, "set Config.Start; each partition begins where its receipt log says"},
	{"DisableFetchCRCValidation", kgo.DisableFetchCRCValidation, "a damaged receipt must be found out"},
	{"FetchMaxWait", kgo.FetchMaxWait, "set Config.FetchWait"},
	{"FetchIsolationLevel", kgo.FetchIsolationLevel, "jobs of aborted transactions do not exist"},
	{"KeepControlRecords", kgo.KeepControlRecords, "they are no jobs"},
	{"KeepRetryableFetchErrors", kgo.KeepRetryableFetchErrors, "it is always on"},
	{"MaxDecompressBatchBytes", kgo.MaxDecompressBatchBytes, "set Config.MaxBatch"},
	{"RequiredAcks", kgo.RequiredAcks, writes},
	{"DisableIdempotentWrite", kgo.DisableIdempotentWrite, writes},
	{"AllowIdempotentProduceCancellation", kgo.AllowIdempotentProduceCancellation, "what is given up could still land after what was written later"},
	{"StopProducerOnDataLossDetected", kgo.StopProducerOnDataLossDetected, "a partition would take no copies and receipts until a restart"},
	{"MaxBufferedRecords", kgo.MaxBufferedRecords, "Waybill bounds what is on its way, and must not block in Produce; set Config.Memory"},
	{"MaxBufferedBytes", kgo.MaxBufferedBytes, "Waybill bounds what is on its way, and must not block in Produce; set Config.Memory"},
	{"TransactionalID", kgo.TransactionalID, writes},
	{"ManualFlushing", kgo.ManualFlushing, writes},
	{"RecordPartitioner", kgo.RecordPartitioner, "a copy keeps its partition"},
	{"DefaultProduceTopicAlways", kgo.DefaultProduceTopicAlways, "every record names its topic"},
	{"ProducerBatchMaxBytes", kgo.ProducerBatchMaxBytes, "it follows from the topics' max.message.bytes"},
}
