package consumer

import "github.com/waybill-dev/waybill/dedupe/disk"

// WithDisk returns cfg with a change to how receipts are kept on disk.
func WithDisk(cfg Config, change func(*disk.Config)) Config {
	cfg.disk = change
	return cfg
}
