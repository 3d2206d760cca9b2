package disk

import (
	"errors"
	"runtime"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/dedupe"
)

// Config is where and how a DB keeps receipts. Dir is required.
type Config struct {
	// Dir is a directory of this instance alone. It is made if it is missing; its parent must exist or be creatable.
	Dir string
	// Cluster is the id of the Kafka cluster whose logs are kept here. A directory of another one is moved aside. Empty: not
	// compared.
	Cluster string
	// Bucket is the width of expiry buckets. A directory of another width is moved aside. Defaults to an hour.
	Bucket time.Duration
	// Reserve is how many bytes of the file system stay free: below it nothing is written (see DB.Full). Defaults to 256 MiB.
	Reserve uint64
	// Free says how many bytes the file system of a directory has free. Defaults to asking it.
	Free func(dir string) (bytes uint64, err error)
	// FlushAt is how many receipts gather in memory before they are written, about 85 bytes each. Defaults to 98,304.
	FlushAt int
	// Crowd is how many segments there may be before those of whole flushes are merged, too. Each has a file open, and is asked for a
	// job that may be known. Defaults to 192.
	Crowd int
	// MergeAt is how many receipts a segment has from which it is left as it is in a crowd. Defaults to 16 x FlushAt.
	MergeAt int
	// Turn is taken for as long as the DB writes in the background. Defaults to none.
	Turn dedupe.Turn
	// Logger defaults to none.
	Logger *zap.Logger

	fs vfs.FS // for tests
}

func (cfg Config) withDefaults() Config {
	if cfg.Bucket <= 0 {
		cfg.Bucket = time.Hour
	}
	if cfg.Reserve == 0 {
		cfg.Reserve = 256 << 20
	}
	if cfg.FlushAt <= 0 {
		cfg.FlushAt = 3 << 15
	}
	if cfg.Crowd <= 0 {
		cfg.Crowd = 192
	}
	if cfg.MergeAt <= 0 {
		cfg.MergeAt = 16 * cfg.FlushAt
	}
	if cfg.Turn == nil {
		cfg.Turn = anyTime{}
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.fs == nil {
		cfg.fs = vfs.Default
	}
	if cfg.Free == nil {
		fs := cfg.fs
		cfg.Free = func(dir string) (uint64, error) {
			u, err := fs.GetDiskUsage(dir)
			return u.AvailBytes, err
		}
	}
	return cfg
}

// anyTime is a Turn of as many places as there are takers.
type anyTime struct{}

func (anyTime) Take() { runtime.Gosched() }
func (anyTime) Give() {}

// Key names a task by what its log is, not by names that a topic made anew may have again.
type Key struct {
	Job       dedupe.TopicID // of the job topic
	Log       dedupe.TopicID // of the receipt log
	Partition int32
}

// The errors of Open that need somebody to act. What can be mended by reading the logs again is no error of Open.
var (
	// ErrInUse says that another DB, of this process or another, has the directory.
	ErrInUse = errors.New("the directory is in use by another instance: give each instance a directory of its own")
	// ErrFull says that the file system has less free space than the reserve.
	ErrFull = errors.New("the disk is full")
)

// ErrDiverged says that the log is not the one of which the store remembers the beginning: its tail was lost and written
// anew. The store must be forgotten (DB.Forget) and made from the log.
var ErrDiverged = errors.New("the receipt log is not what it was: its tail was lost and written anew")
