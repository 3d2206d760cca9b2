package job

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"github.com/cespare/xxhash/v2"
)

// Identity is the 128-bit name of a job: a truncated SHA-256 of (kind, key, id). A cryptographic hash, because ids are
// chosen by whoever may produce, and a collision would swallow somebody else's job.
type Identity [16]byte

// String is the identity as 32 hex digits.
func (i Identity) String() string { return hex.EncodeToString(i[:]) }

// IdentityOf hashes (kind, key, id), each preceded by its length so that no two triples share an encoding. A nil and an
// empty key are different keys.
func IdentityOf(kind string, key []byte, id string) Identity {
	var stack [256]byte
	b := stack[:0]
	b = binary.AppendUvarint(b, uint64(len(kind)))
	b = append(b, kind...)
	if key == nil {
		b = append(b, 0)
	} else {
		b = binary.AppendUvarint(b, uint64(len(key))+1)
		b = append(b, key...)
	}
	b = append(b, id...)
	sum := sha256.Sum256(b)
	return Identity(sum[:16])
}

// DigestOf is the 64-bit digest by which a second record of one identity is told to carry the same payload or another.
// It guards against mistakes, not against an adversary who owns the identity anyway. A nil payload digests to 0.
func DigestOf(payload []byte) uint64 {
	if payload == nil {
		return 0
	}
	return xxhash.Sum64(payload) | 1
}

// KeyHash is the 64-bit hash by which keys are ordered inside a task. A collision makes two keys share an order, nothing worse.
func KeyHash(key []byte) uint64 { return xxhash.Sum64(key) }
