package disk

import (
	"encoding/binary"

	"github.com/waybill-dev/waybill/job"
)

// Keys begin with the number of the segment, 4 bytes big endian, and a byte that says what follows. The manifest comes last, so
// that the last key of all is the manifest in force.
const (
	kindReceipt    = 1 // 4 bytes task, 16 bytes identity: a receipt (value.go)
	kindUnfinished = 2 // the same key, no value: the job has not ended (dedupe.Receipt.Unfinished)
	kindFilter     = 3 // 4 bytes number of the piece: the filter (filter.go)
	kindManifest   = 4 // nothing: the manifest (manifest.go)
	kindFront      = 5 // nothing: a generation of the front (front_saved.go)

	receiptKey = 4 + 1 + 4 + 16
)

type key [receiptKey]byte

func keyOf(no uint32, kind byte, num uint32, id *job.Identity) (k key) {
	binary.BigEndian.PutUint32(k[:], no)
	k[4] = kind
	binary.BigEndian.PutUint32(k[5:], num)
	copy(k[9:], id[:])
	return k
}

func prefix(no uint32, kind byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, no), kind)
}

func filterKey(no uint32, piece int) []byte {
	return binary.BigEndian.AppendUint32(prefix(no, kindFilter), uint32(piece))
}

// split is the inverse of keyOf, for keys without the segment's number and kind.
func split(k []byte) (num uint32, id job.Identity) {
	num = binary.BigEndian.Uint32(k)
	copy(id[:], k[4:])
	return num, id
}
