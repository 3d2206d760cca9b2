package job

// PartitionOf is the partition of a job topic with that many partitions in which a key belongs, as Kafka's Java client
// computes it: murmur2 of the key (seed 0x9747b28c), its sign bit cleared, modulo the number of partitions. Order and dedupe
// hold for keys that stand there. A nil key belongs nowhere in particular, and neither does any key of a topic without
// partitions: -1.
func PartitionOf(key []byte, partitions int32) int32 {
	if key == nil || partitions <= 0 {
		return -1
	}
	return int32(murmur2(key)&0x7fffffff) % partitions
}

// murmur2 is the hash in org.apache.kafka.common.utils.Utils: Austin Appleby's MurmurHash2, 32 bits, little endian.
func murmur2(b []byte) uint32 {
	const (
		m uint32 = 0x5bd1e995
		r uint32 = 24
	)
	h := 0x9747b28c ^ uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		k := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
		k *= m
		k ^= k >> r
		h = h*m ^ k*m
	}
	switch len(b) {
	case 3:
		h ^= uint32(b[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(b[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(b[0])) * m
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}
